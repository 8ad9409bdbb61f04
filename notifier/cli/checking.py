"""`notifier check`: is each relay what the settings say that it is?"""

import asyncio
from collections.abc import Callable

import click
import msgspec
from msgspec import Struct

from notifier.errors import NotifierError
from notifier.relayspec import Tls
from notifier.settings import CAPTURE, Settings
from notifier.smtp.probe import Finding, probe


class CheckFailed(NotifierError):
    """A relay would not take mail from us now."""


class Look(Struct, frozen=True):
    """What was found of one relay, step by step."""

    relay: str
    host: str
    port: int
    tls: Tls
    ok: bool
    findings: list[Finding]


PROTECTION = {Tls.NONE: "without TLS", Tls.STARTTLS: "with STARTTLS", Tls.IMPLICIT: "with TLS"}


def check(settings: Settings, *, say: Callable[[str], None], as_json: bool = False) -> None:
    """Raises CheckFailed once all relays have been asked."""
    failed = asyncio.run((_check_for_machines if as_json else _check)(settings, say))
    if failed:
        raise CheckFailed(f"not fit to send: {', '.join(failed)}")


async def _check_for_machines(settings: Settings, say: Callable[[str], None]) -> list[str]:
    found = []
    for spec in settings.relays:
        if spec != CAPTURE:
            findings = [each async for each in probe(spec, sender=settings.default_from)]
            ok = all(each.ok for each in findings)
            found.append(Look(spec.name, spec.host, spec.port, spec.tls, ok, findings))
    say(msgspec.json.format(msgspec.json.encode(found), indent=2).decode())
    return [each.relay for each in found if not each.ok]


async def _check(settings: Settings, say: Callable[[str], None]) -> list[str]:
    failed = []
    for spec in settings.relays or (CAPTURE,):
        if spec == CAPTURE:
            say("capture: the built-in mailbox; mail goes no further. Set NOTIFIER_RELAYS to send.")
            continue
        place = f"{spec.host}:{spec.port}"
        name = "" if spec.name == place else f"{spec.name}: "
        say(f"{name}{place}, {PROTECTION[spec.tls]}")
        async for finding in probe(spec, sender=settings.default_from):
            say(_told(finding))
            if not finding.ok:
                failed.append(spec.name)
                say(f"        {finding.remedy}")
    if settings.relays and settings.default_from is None:
        say("No sender was tried: NOTIFIER_DEFAULT_FROM is not set.")
    return failed


def _told(finding: Finding) -> str:
    """In colour, where that can be shown."""
    mark = click.style("ok  ", fg="green") if finding.ok else click.style("FAIL", fg="red")
    return f"  {mark}  {finding.step}: {finding.said}"
