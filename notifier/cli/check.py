"""`notifier check`: whether each relay, and the mailbox of reports, work as the settings say."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping

import click
from msgspec import Struct
from msgspec.structs import replace

from notifier.attempts import Envelope
from notifier.cli.display import json_text
from notifier.compose import address
from notifier.errors import ConfigurationError, NotifierError
from notifier.findings import Finding
from notifier.keys import Keys
from notifier.oauth import Section
from notifier.oauth.refreshing import FetchedAnew
from notifier.preflight import grants, mailbox_grant
from notifier.relayspec import RelaySpec, Tls
from notifier.settings import CAPTURE, Settings, variable
from notifier.smtp.probe import probe
from notifier.smtp.remedies import remedy
from notifier.verp import Verp


class CheckFailed(NotifierError):
    """At least one relay does not accept mail now, or the mailbox cannot be read."""


class Checked(Struct, frozen=True):
    """The findings at one relay, step by step."""

    relay: str
    host: str
    port: int
    tls: Tls
    ok: bool
    findings: list[Finding]


MAILBOX = "report_mailbox"  # in place of the name of a relay
NO_ID = "0" * 32  # where a return path names a message
PROTECTION = {Tls.NONE: "without TLS", Tls.STARTTLS: "with STARTTLS", Tls.IMPLICIT: "with TLS"}


def check(settings: Settings, *, say: Callable[[str], None], as_json: bool = False) -> None:
    """Check all of them, then raise CheckFailed if one of them failed."""
    found = asyncio.run(_check(settings, (lambda _: None) if as_json else say))
    if as_json:
        say(json_text(found))
    else:
        for text in (*_sign_in(settings), *_unfulfilled(settings)):
            say(text)
        if settings.relays and settings.default_from is None:
            say("No sender was tried, because NOTIFIER_DEFAULT_FROM is not set.")
    failed = [each.relay for each in found if not each.ok]
    relays = [name for name in failed if name != MAILBOX]
    faults = [f"these relays do not take mail now: {', '.join(relays)}"] if relays else []
    if MAILBOX in failed:
        faults.append("the mailbox of reports cannot be read now")
    if faults:
        raise CheckFailed("; ".join(faults))


async def _check(settings: Settings, say: Callable[[str], None]) -> list[Checked]:
    found, granted = [], grants(settings)
    for spec in settings.relays or (CAPTURE,):
        if spec == CAPTURE:
            say("capture: the built-in mailbox; no mail leaves. Set NOTIFIER_RELAYS to send.")
            continue
        place = f"{spec.host}:{spec.port}"
        name = "" if spec.name == place else f"{spec.name}: "
        say(f"{name}{place}, {PROTECTION[spec.tls]}")
        steps = _findings(spec, _sender(settings, spec), granted)
        found.append(await _checked(spec.name, spec.host, spec.port, spec.tls, steps, say))
    if (mailbox := settings.report_mailbox) is not None:
        say(f"mailbox of reports: {mailbox.place}")
        tls, steps = Tls.IMPLICIT if mailbox.tls else Tls.NONE, _mailbox_findings(settings)
        found.append(await _checked(MAILBOX, mailbox.host, mailbox.port, tls, steps, say))
    return found


async def _checked(
    relay: str,
    host: str,
    port: int,
    tls: Tls,
    steps: AsyncIterator[Finding],
    say: Callable[[str], None],
) -> Checked:
    findings = []
    async for finding in steps:
        say(_line(finding))
        findings.append(finding)
    return Checked(relay, host, port, tls, all(each.ok for each in findings), findings)


async def _mailbox_findings(settings: Settings) -> AsyncIterator[Finding]:
    from notifier.reports.mailbox import probe as probe_mailbox

    spec, grant = settings.report_mailbox, mailbox_grant(settings)
    if spec is not None:
        tokens = None if grant is None else FetchedAnew(grant)
        async for finding in probe_mailbox(spec, tokens):
            yield finding


def _sign_in(settings: Settings) -> Iterator[str]:
    """By which proxies people are signed in, and what they may do."""
    if not settings.sign_in_header:
        return
    texts = dict(settings.describe())
    yield (
        f"sign-in: {settings.sign_in_header} from {texts[variable('trusted_proxies')]} names a"
        " person, who may read"
    )
    if settings.sign_in_groups:
        groups = texts[variable("sign_in_groups")]
        yield f"  groups in {settings.sign_in_groups_header} allow more: {groups}"
    if not settings.allowed_hosts:
        yield (
            f"  {variable('allowed_hosts')} is not set, so the proxy must call by an "
            "address or as localhost; any other `Host` gets 421"
        )


def _unfulfilled(settings: Settings) -> Iterator[str]:
    """Warnings of what the conditions of the relays leave out."""
    warning = click.style("warning", fg="yellow")
    named = [(spec.name, key) for spec in settings.relays for key in spec.keys]
    known = {key.name for key in Keys.read(settings.keys_file).all()} if named else set()
    for relay, key in named:
        if key not in known:
            yield f"{warning}: {relay}: keys={key} names no API key in {settings.keys_file}"
    if settings.relays and all(spec.conditional for spec in settings.relays):
        yield (
            f"{warning}: every relay has conditions: a message that meets none of them is refused"
            " with 422. Add a relay without conditions to take it."
        )


async def _findings(
    spec: RelaySpec, sender: Envelope | None, granted: Mapping[str, Section]
) -> AsyncIterator[Finding]:
    """The finding of each step. A relay with OAuth gets a new token."""
    tokens = FetchedAnew(granted[spec.name]) if spec.name in granted else None
    if spec.graph is not None and tokens is not None:
        from notifier.graph.carrier import probe as probe_graph

        async for finding in probe_graph(spec, tokens):
            yield replace(finding, remedy=remedy(finding.remedy, spec))
        return
    async for finding in probe(spec, sender=sender, tokens=tokens):
        yield finding


def _sender(settings: Settings, spec: RelaySpec) -> Envelope | None:
    """The envelope of a message that names no sender, as this relay gets it."""
    if settings.default_from is None:
        return None
    try:
        sender = address(settings.default_from)
    except ValueError as error:
        raise ConfigurationError(f"{variable('default_from')}: {error}") from error
    if path := spec.return_path or settings.return_path:
        return Envelope(Verp(b"").address(path, NO_ID, sender.spec), ())
    return Envelope(sender.spec, (), sender.smtputf8)


def _line(finding: Finding) -> str:
    """A finding for a person; on a terminal in colour."""
    mark = click.style("ok  ", fg="green") if finding.ok else click.style("FAIL", fg="red")
    lines = [f"  {mark}  {finding.step}: {finding.said}"]
    if finding.warning:
        lines.append(f"        {click.style('warning', fg='yellow')}: {finding.warning}")
    if finding.remedy:
        lines.append(f"        {finding.remedy}")
    return "\n".join(lines)
