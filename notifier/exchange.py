"""How far one HTTP request has come, also when it is cut off."""

from typing import Any

from notifier.attempts import Stage


class Exchange:
    """Hand `trace` to the client as its extension of that name, and `hang_up` when it is over."""

    def __init__(self) -> None:
        self.sent = False  # the other side may have some of it
        self.stage = Stage.CONNECT
        self.trouble = ""
        self.ours = False  # we ended it ourselves; it says nothing of the other side
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
