"""`notifier check`: is each relay what the settings say that it is?"""

import asyncio
from collections.abc import Callable

from notifier.errors import NotifierError
from notifier.settings import CAPTURE, Settings
from notifier.smtp.probe import probe


class CheckFailed(NotifierError):
    """A relay would not take mail from us now."""


def check(settings: Settings, *, say: Callable[[str], None]) -> None:
    """Raises CheckFailed once all relays have been asked."""
    asyncio.run(_check(settings, say))


async def _check(settings: Settings, say: Callable[[str], None]) -> None:
    failed = []
    for spec in settings.relays or (CAPTURE,):
        if spec == CAPTURE:
            say("capture: the built-in mailbox; mail goes no further. Set NOTIFIER_RELAYS to send.")
            continue
        say(f"{spec.name}: {spec.host}:{spec.port}, {spec.tls}")
        async for finding in probe(spec, sender=settings.default_from):
            say(f"  {'ok  ' if finding.ok else 'FAIL'}  {finding.step}: {finding.said}")
            if not finding.ok:
                failed.append(spec.name)
                say(f"        {finding.remedy}")
    if failed:
        raise CheckFailed(f"not fit to send: {', '.join(dict.fromkeys(failed))}")
