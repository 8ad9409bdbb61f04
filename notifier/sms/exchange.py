"""One request to a provider, and how far it has come."""

from datetime import UTC, datetime
from typing import Any

from notifier.attempts import Stage
from notifier.sms.answers import Answer, Verdict, judge, silence
from notifier.sms.providerspec import ProviderSpec


class Exchange:
    """What is known of a request, whenever it is cut off."""

    def __init__(self) -> None:
        self.sent = False  # the provider may have some of it
        self.stage = Stage.CONNECT
        self.answer: Answer | None = None
        self.trouble = ""
        self.ours = False  # what went wrong is of our making, and says nothing of the provider
        self._stream: Any = None  # connected, and not yet in the care of the client

    def give_up(self, reason: str) -> None:
        self.trouble, self.ours = reason, True

    async def trace(self, event: str, info: dict[str, Any]) -> None:
        """As the `trace` extension of httpcore tells it."""
        match event.rpartition(".")[0].rpartition(".")[2], event.rpartition(".")[2]:
            case "connect_tcp", "complete":
                self._stream = info["return_value"]
            case "start_tls", "started":
                self.stage = Stage.TLS
            case "send_request_headers", "started":
                self.sent = True
                self._stream = None

    async def hang_up(self) -> None:
        """Close a connection that was cut off in its handshake, which the client forgets."""
        if self._stream is not None:
            await self._stream.aclose()

    def verdict(self, spec: ProviderSpec) -> Verdict:
        repeatable = spec.idempotency_header is not None
        if self.answer is not None:
            return judge(
                self.answer,
                codes=spec.codes,
                repeatable=repeatable,
                now=datetime.now(UTC),
                expected=spec.expected,
            )
        return silence(self.trouble, sent=self.sent, stage=self.stage, repeatable=repeatable)
