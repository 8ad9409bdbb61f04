"""Settings of proxies in front of the service, and of the people whom they sign in."""

import ipaddress
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, TypeAlias

from msgspec import Meta

from notifier.scopes import KeyScope
from notifier.settings.capabilities import Capabilities
from notifier.settings.parsers import Parser
from notifier.settings.sources import variable

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
Groups: TypeAlias = tuple[tuple[str, frozenset[KeyScope]], ...]

MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")  # IPv4 in IPv6: RFC 4291, section 2.5.5.2
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")  # RFC 9110, section 5.6.2
# They say something else to the service, or to its HTTP server.
_OTHERS = frozenset(
    {
        *("authorization", "connection", "content-length", "content-type", "cookie", "host"),
        *("idempotency-key", "origin", "sec-fetch-site", "traceparent", "transfer-encoding"),
        *("x-api-key", "x-forwarded-for", "x-forwarded-proto"),
    }
)


def _read_networks(text: str) -> tuple[Network, ...]:
    return tuple(dict.fromkeys(_read_network(each.strip()) for each in text.split(",")))


def _read_network(text: str) -> Network:
    try:
        network = ipaddress.ip_network(text)
    except ValueError as error:
        reason = f": {error}" if "host bits" in str(error) else ""
        raise ValueError(
            f"{text!r} is not an address or a network{reason}; write 192.0.2.1 or 10.1.0.0/16"
        ) from None
    if isinstance(network, ipaddress.IPv6Network) and network.subnet_of(MAPPED):
        mapped = network.network_address.ipv4_mapped
        network = ipaddress.ip_network(f"{mapped}/{network.prefixlen - MAPPED.prefixlen}")
    if network.prefixlen == 0:
        raise ValueError(f"{text!r} is every address; write those of the proxies alone")
    return network


def _write_networks(networks: tuple[Network, ...]) -> str:
    return ",".join(
        str(each.network_address if each.num_addresses == 1 else each) for each in networks
    )


def _read_header(text: str) -> str:
    if not _TOKEN.fullmatch(text):
        raise ValueError(f"{text!r} is not the name of a header; write X-Forwarded-User")
    if text.lower() in _OTHERS:
        raise ValueError(f"{text!r} cannot name the person who calls; write X-Forwarded-User")
    return text


def _read_groups(text: str) -> Groups:
    groups: dict[str, frozenset[KeyScope]] = {}
    for each in text.split(","):
        name, _, scopes = each.rpartition(":")
        name = name.strip()
        if not name:
            raise ValueError(f"{each.strip()!r} is not a group and its scopes; write ops:manage")
        if name in groups:
            raise ValueError(f"the group {name!r} is there twice; write ops:manage send")
        groups[name] = frozenset(_read_scope(word, name) for word in scopes.split())
        if not groups[name]:
            raise ValueError(f"the group {name!r} has no scope; write {name}:manage")
    return tuple(groups.items())


def _read_scope(word: str, group: str) -> KeyScope:
    try:
        return KeyScope(word)
    except ValueError:
        known = ", ".join(KeyScope)
        raise ValueError(
            f"{word!r} of the group {group!r} is not a scope; the scopes are {known}"
        ) from None


def write_groups(groups: Groups) -> str:
    return ",".join(
        f"{name}:{' '.join(scope for scope in KeyScope if scope in scopes)}"
        for name, scopes in groups
    )


def _read_link(text: str) -> str:
    if re.fullmatch(r"(https?://[^\s/]|/(?!/))[!-~]*", text):
        return text
    raise ValueError(f"{text!r} is not a link; write /oauth2/sign_out or https://HOST/PATH")


NETWORKS = Parser(_read_networks, _write_networks)
HEADER = Parser(_read_header)
GROUPS = Parser(_read_groups, write_groups)
LINK = Parser(_read_link)


class SignIn(Capabilities, frozen=True, kw_only=True):
    """The fields of Settings about that. A Struct has one base, so they follow one another."""

    trusted_proxies: Annotated[
        tuple[Any, ...],  # of Network
        NETWORKS,
        Meta(
            description="Addresses and networks of trusted proxies, comma-separated: "
            "`10.0.0.2,192.168.7.0/24`. The service believes what they report: a caller's address "
            "(`X-Forwarded-For`), TLS (`X-Forwarded-Proto`), and with `NOTIFIER_SIGN_IN_HEADER` "
            "the person. Default: loopback addresses, for the first two alone."
        ),
    ] = ()
    sign_in_header: Annotated[
        str,
        HEADER,
        Meta(
            description="Header in which a trusted proxy names the person whom it has signed in, "
            "such as `X-Forwarded-User`; see [the company's login](access.md#the-companys-login). "
            "Such a person may `read`. Default: none."
        ),
    ] = ""
    sign_in_groups_header: Annotated[
        str,
        HEADER,
        Meta(
            description="Header in which the proxy lists the person's groups, comma-separated, "
            "such as `X-Forwarded-Groups`. Default: none."
        ),
    ] = ""
    sign_in_groups: Annotated[
        tuple[Any, ...],  # Groups
        GROUPS,
        Meta(
            description="What groups allow besides `read`, comma-separated: "
            "`ops:manage,mail team:send manage`. Default: nothing."
        ),
    ] = ()
    sign_out_url: Annotated[
        str,
        LINK,
        Meta(
            description="Link by which the monitor's pages sign a person out at the proxy, such as "
            "`/oauth2/sign_out`. Default: no link."
        ),
    ] = ""


def contradictions_of_sign_in(values: Mapping[str, Any]) -> Iterator[str]:
    """What is missing for a sign-in, or contradicts it."""
    header, groups_header = values.get("sign_in_header"), values.get("sign_in_groups_header")
    name, groups_name = variable("sign_in_header"), variable("sign_in_groups_header")
    for each in ("sign_in_groups_header", "sign_out_url"):
        if values.get(each) and not header:
            yield f"{variable(each)} has no effect without {name}; set {name}, too"
    if values.get("sign_in_groups") and not groups_header:
        yield f"{variable('sign_in_groups')} has no effect without {groups_name}; set it, too"
    if groups_header and not values.get("sign_in_groups"):
        yield f"{groups_name} has no effect without {variable('sign_in_groups')}; set it, too"
    if not header:
        return
    if not values.get("trusted_proxies"):
        yield (
            f"{name} is believed only from the addresses in {variable('trusted_proxies')}, which is"
            " not set; name the proxy that signs people in, such as 127.0.0.1"
        )
    if groups_header and groups_header.lower() == header.lower():
        yield f"{groups_name} and {name} are the same header; the groups need one of their own"
    if values.get("anonymous") == "anywhere":
        yield (
            f"{variable('anonymous')} is anywhere, but with {name} nobody is anonymous;"
            " remove one of them"
        )
