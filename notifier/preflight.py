"""Read and check what the settings point at before anything is opened, with all faults at once."""

from collections.abc import Callable, Mapping
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from notifier.compose import address
from notifier.errors import ConfigurationError
from notifier.journal import Journal, journal_at
from notifier.keys import Keys
from notifier.oauth import Section, grant_to_read, grants_of, read_sections
from notifier.relayspec import Tls, is_loopback
from notifier.reports.providers.event import Provider
from notifier.reports.sources import ReportSourcesSpec
from notifier.settings import Settings, variable
from notifier.sms import Carriers
from notifier.smtp import Relay
from notifier.supervisor import Supervisor
from notifier.templates import Templates

if TYPE_CHECKING:  # the HTTP client loads slowly, and few need it
    from notifier.sms.provider import ProviderSpec

T = TypeVar("T")


class Preflight(Struct, frozen=True):
    """The files and URLs that the settings name, read and checked."""

    journal: Journal
    keys: Keys
    templates: Templates
    carriers: Carriers
    provider: "ProviderSpec | None"  # None: there is no SMS provider
    grants: Mapping[str, Section]  # by the names of the relays that log in with a token
    report_sources: ReportSourcesSpec

    @classmethod
    def read(cls, settings: Settings, supervisor: Supervisor | None = None) -> "Preflight":
        """Raises ConfigurationError with every fault of every one."""
        faults: list[str] = []
        _senders(settings, faults)
        _certificates(settings, faults)
        found = (
            _try(
                faults,
                partial(
                    journal_at,
                    settings.journal,
                    data_dir=settings.data_dir,
                    lease=settings.lease,
                    supervisor=supervisor,
                ),
            ),
            _try(faults, lambda: _keys(settings), variable("api_keys")),
            _try(faults, lambda: Templates(_path(settings.templates)), variable("templates")),
            _try(faults, lambda: Carriers.read(_path(settings.carriers))),
        )
        report_sources = ReportSourcesSpec(
            listen=settings.report_listen,
            mailbox=settings.report_mailbox,
            grant=_try(faults, lambda: mailbox_grant(settings)),
            providers=_try(faults, lambda: _events(settings), variable("report_secrets")) or {},
        )
        provider = _try(faults, lambda: _provider(settings, report_sources.providers))
        granted = _try(faults, lambda: grants(settings))
        _report_sources(settings, faults)
        journal, keys, templates, carriers = found
        _submission(settings, keys, faults)
        if faults or journal is None or keys is None or templates is None or carriers is None:
            raise ConfigurationError(*faults)
        return cls(journal, keys, templates, carriers, provider, granted or {}, report_sources)


def _try(faults: list[str], read: Callable[[], T], setting: str = "") -> T | None:
    """What `read` returns. None: it failed, and its faults are added to the others."""
    try:
        return read()
    except ConfigurationError as error:
        faults += [f"{setting}: {fault}" if setting else fault for fault in error.faults]
        return None


def _keys(settings: Settings) -> Keys:
    keys = Keys.read(settings.keys_file)
    if settings.api_keys is not None:
        keys.require()
    return keys


def _path(text: str | None) -> Path | None:
    return Path(text) if text else None


def _senders(settings: Settings, faults: list[str]) -> None:
    """
    Check the senders as strictly as in messages: otherwise each message without a sender would be
    refused.
    """
    addresses = {
        "default_from": settings.default_from,
        "sms_from": settings.sms_from,
        "alert_to": settings.alert_to,
    }
    for name, sender in addresses.items():
        try:
            if sender is not None:
                address(sender)
        except ValueError as error:
            faults.append(f"{variable(name)}: {error}")


def _certificates(settings: Settings, faults: list[str]) -> None:
    for spec in settings.relays:
        if spec.ca is not None:
            _try(faults, partial(Relay, spec))


def _submission(settings: Settings, keys: Keys | None, faults: list[str]) -> None:
    """The addresses where mail is taken by SMTP: their certificates, and who could send there."""
    name = variable("smtp_listen")
    for each in settings.smtp_listen:
        _try(faults, each.context, name)
        if is_loopback(each.host):
            continue
        where = f"{name}: {each.host}:{each.port} is not a loopback address"
        if each.tls is Tls.NONE:
            faults.append(f"{where}, so it needs TLS: add ?tls=starttls&certificate=FILE&key=FILE")
        if keys is not None and not keys.configured:
            faults.append(f"{where}, and there is no key; make one with `notifier keys add`")


def grants(settings: Settings) -> Mapping[str, Section]:
    """
    What each relay with `oauth=` gets its token by. The file is read whenever it is named.
    Raises ConfigurationError with every fault.
    """
    return grants_of(settings.relays, _sections(settings))


def mailbox_grant(settings: Settings) -> Section | None:
    """What the mailbox of reports gets its token by; None: it has a password."""
    spec = settings.report_mailbox
    if spec is None or spec.oauth is None:
        return None
    section = (_sections(settings) or {}).get(spec.oauth)
    if section is None:
        raise ConfigurationError(
            f"{variable('report_mailbox')}: oauth={spec.oauth} is not a section of the"
            f" file {variable('oauth')}"
        )
    return grant_to_read(spec.username, section)


def _sections(settings: Settings) -> Mapping[str, Section] | None:
    """The sections of NOTIFIER_OAUTH. None: it names no file. Raises ConfigurationError."""
    path = _path(settings.oauth)
    if path is None:
        return None
    try:
        sections = read_sections(path)
    except ConfigurationError as error:
        raise ConfigurationError(*(f"{variable('oauth')}: {it}" for it in error.faults)) from None
    return {name: replace(section, proxy=settings.proxy) for name, section in sections.items()}


def _events(settings: Settings) -> Mapping[str, Provider]:
    if settings.report_secrets is None:
        return {}
    from notifier.reports.providers.secrets import read_providers

    return read_providers(Path(settings.report_secrets), settings.proxy)


def _report_sources(settings: Settings, faults: list[str]) -> None:
    for place in settings.report_listen:
        _try(faults, place.context, variable("report_listen"))
    if settings.report_mailbox is not None and find_spec("aioimaplib") is None:
        faults.append(
            f"{variable('report_mailbox')}: IMAP needs a library that is not "
            "installed; run pip install 'notifier[imap]'"
        )


def _provider(settings: Settings, events: Mapping[str, Provider]) -> "ProviderSpec | None":
    if settings.sms_provider is None:
        return None
    from notifier.sms.provider import read_provider

    spec = read_provider(
        settings.sms_provider,
        body=settings.sms_provider_body,
        headers=settings.sms_provider_headers,
        idempotency_header=settings.sms_provider_idempotency_header,
        success=settings.sms_provider_success,
        callback=getattr(events.get("twilio"), "callback", None),
    )
    return replace(spec, proxy=settings.proxy)
