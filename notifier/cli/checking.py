"""`notifier check`: is each relay what the settings say that it is?"""

import asyncio
from collections.abc import Callable

import msgspec
from msgspec import Struct

from notifier.errors import NotifierError
from notifier.settings import CAPTURE, Settings
from notifier.smtp.probe import Finding, probe


class CheckFailed(NotifierError):
    """A relay would not take mail from us now."""


class Look(Struct, frozen=True):
    """What was found of one relay, step by step."""

    relay: str
    findings: list[Finding]


def check(settings: Settings, *, say: Callable[[str], None], as_json: bool = False) -> None:
    """Raises CheckFailed once all relays have been asked."""
    if as_json:
        asyncio.run(_check_for_machines(settings, say))
    else:
        asyncio.run(_check(settings, say))


async def _check_for_machines(settings: Settings, say: Callable[[str], None]) -> None:
    found = [
        Look(spec.name, [each async for each in probe(spec, sender=settings.default_from)])
        for spec in settings.relays
    ]
    say(msgspec.json.format(msgspec.json.encode(found), indent=2).decode())
    names = [each.relay for each in found if not all(finding.ok for finding in each.findings)]
    if names:
        raise CheckFailed(f"not fit to send: {', '.join(names)}")


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
