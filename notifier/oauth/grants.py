"""Which section, and so which token, each relay needs."""

from collections.abc import Iterable, Mapping

from msgspec.structs import replace

from notifier.errors import ConfigurationError
from notifier.oauth.sections import GOOGLE_SMTP, MICROSOFT_GRAPH, MICROSOFT_SMTP, Kind, Section
from notifier.relayspec import RelaySpec


def grants_of(
    relays: Iterable[RelaySpec], sections: Mapping[str, Section] | None
) -> Mapping[str, Section]:
    """
    The section of each relay that has one, with what the relay adds to it, by the relay's name.
    Relays with equal ones share a token. `sections`: None, there is no file.
    Raises ConfigurationError with every fault.
    """
    found: dict[str, Section] = {}
    faults: list[str] = []
    for relay in relays:
        if relay.oauth is None:
            continue
        if sections is None:
            faults.append(
                f"relay {relay.name}: oauth={relay.oauth} names a section, but "
                "NOTIFIER_OAUTH, the file of the sections, is not set"
            )
        elif (section := sections.get(relay.oauth)) is None:
            there = ", ".join(sections) or "none"
            faults.append(
                f"relay {relay.name}: NOTIFIER_OAUTH has no section [{relay.oauth}]; "
                f"its sections: {there}"
            )
        elif fault := _disagrees(relay, section):
            faults.append(f"relay {relay.name}: {fault}")
        else:
            found[relay.name] = grant_for(relay, section)
    if faults:
        raise ConfigurationError(*faults)
    return found


def grant_for(relay: RelaySpec, section: Section) -> Section:
    """The section with what a relay adds to it."""
    microsoft = MICROSOFT_SMTP if relay.graph is None else MICROSOFT_GRAPH
    scopes = {"microsoft": microsoft, "google": GOOGLE_SMTP}
    scope = section.scope or scopes.get(section.preset, "")
    subject = section.subject
    if section.kind is Kind.SERVICE_ACCOUNT and not subject:
        subject = relay.username or ""
    return replace(section, scope=scope, subject=subject)


def grant_to_read(user: str, section: Section) -> Section:
    """The section for a mailbox that is read by IMAP: its scope is that of SMTP."""
    return grant_for(RelaySpec(name="", host="", port=0, username=user), section)


def _disagrees(relay: RelaySpec, section: Section) -> str:
    """How a Graph URL and its section contradict each other; empty: they do not."""
    graph = relay.graph
    if graph is None or section.preset != "microsoft":
        return ""
    for name, here, there in (
        ("tenant", graph.tenant, section.tenant),
        ("client", graph.client, section.client_id),
    ):
        if here != there:
            return f"its {name} is {here}, but {name} of the section [{section.name}] is {there}"
    return ""
