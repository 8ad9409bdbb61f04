"""`notifier check`: is each relay what the settings say that it is?"""

import asyncio
from collections.abc import Callable

import click
import msgspec
from msgspec import Struct

from notifier.attempts import Envelope
from notifier.compose import address
from notifier.errors import ConfigurationError, NotifierError
from notifier.relayspec import Tls
from notifier.settings import CAPTURE, Settings, variable
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
    found, sender = [], _sender(settings)
    for spec in settings.relays:
        if spec != CAPTURE:
            findings = [each async for each in probe(spec, sender=sender)]
            ok = all(each.ok for each in findings)
            found.append(Look(spec.name, spec.host, spec.port, spec.tls, ok, findings))
    say(msgspec.json.format(msgspec.json.encode(found), indent=2).decode())
    return [each.relay for each in found if not each.ok]


async def _check(settings: Settings, say: Callable[[str], None]) -> list[str]:
    failed, sender = [], _sender(settings)
    for spec in settings.relays or (CAPTURE,):
        if spec == CAPTURE:
            say("capture: the built-in mailbox; mail goes no further. Set NOTIFIER_RELAYS to send.")
            continue
        place = f"{spec.host}:{spec.port}"
        name = "" if spec.name == place else f"{spec.name}: "
        say(f"{name}{place}, {PROTECTION[spec.tls]}")
        async for finding in probe(spec, sender=sender):
            say(_told(finding))
            if not finding.ok:
                failed.append(spec.name)
    if settings.relays and sender is None:
        say("No sender was tried: NOTIFIER_DEFAULT_FROM is not set.")
    return failed


def _sender(settings: Settings) -> Envelope | None:
    """The envelope of a message that names no sender, as it is made of it when it is sent."""
    if settings.default_from is None:
        return None
    try:
        sender = address(settings.default_from)
    except ValueError as error:
        raise ConfigurationError(f"{variable('default_from')}: {error}") from error
    return Envelope(sender.spec, (), sender.smtputf8)


def _told(finding: Finding) -> str:
    """In colour, where that can be shown."""
    mark = click.style("ok  ", fg="green") if finding.ok else click.style("FAIL", fg="red")
    lines = [f"  {mark}  {finding.step}: {finding.said}"]
    if finding.warning:
        lines.append(f"        {click.style('warning', fg='yellow')}: {finding.warning}")
    if finding.remedy:
        lines.append(f"        {finding.remedy}")
    return "\n".join(lines)
