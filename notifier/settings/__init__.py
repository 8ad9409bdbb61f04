"""
All settings, read once from a file and the environment. All faults are reported at once.

`sources` finds the text of each setting, `parsers` turns it into a value, and `relays` does so for
relays, with the table of `relay_parameters`. `capabilities` has the settings beside those of
sending, and `sign_in` those about proxies that say who calls. `contradictions` finds settings that
do not fit each other, or the keys.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_type_hints

import msgspec
from msgspec import Meta, Struct

from notifier.errors import ConfigurationError
from notifier.proxies import Proxy
from notifier.relayspec import RelaySpec
from notifier.retries import RetryPolicy
from notifier.settings.contradictions import check_access, contradictions, may_be_anonymous
from notifier.settings.parsers import (
    ADDRESS,
    DURATION,
    EHLO_NAME,
    HOST,
    HOSTS,
    HTTP_PROXY,
    JOURNAL,
    LINE,
    PASSWORD,
    PUBLIC_PATH,
    REGION,
    REGIONS,
    RETURN_PATH,
    SCHEDULE,
    SECRET,
    SIZE,
    WEB_ADDRESS,
    Parser,
    choice,
    whole,
)
from notifier.settings.relays import CAPTURE, RELAYS, read_tables
from notifier.settings.sign_in import SignIn
from notifier.settings.sources import Sources, variable

__all__ = ["CAPTURE", "FIELDS", "Settings", "check_access", "may_be_anonymous", "variable"]


class Settings(SignIn, frozen=True, kw_only=True):
    """One field for each variable: `workers` is NOTIFIER_WORKERS. Durations are in seconds."""

    host: Annotated[str, HOST, Meta(description="Address to listen on.")] = "127.0.0.1"
    port: Annotated[
        int, whole(0, 65535), Meta(description="Port to listen on; 0 takes a free one.")
    ] = 8014
    relays: Annotated[
        tuple[RelaySpec, ...],
        RELAYS,
        Meta(
            description="Relay URLs in failover order, comma-separated: `smtp://` (no TLS), "
            "`smtp+starttls://` (required, never downgraded) or `smtps://`, then "
            "`user:password@host:port?parameter=value`; `graph://TENANT/CLIENT?mailbox=&oauth=` is "
            "Microsoft Graph; `capture:` is the built-in mailbox. [Relays](relays.md) lists the "
            "parameters, and tells how to write relays as `[[relay]]` tables of the TOML file."
        ),
    ] = ()
    relay_password: Annotated[
        str | None,
        PASSWORD,
        Meta(description="Password for relays whose URL has a user but no password."),
    ] = None
    oauth: Annotated[
        str | None,
        LINE,
        Meta(
            description="TOML file of the OAuth 2 sections that the `oauth=` of relays names; see "
            "[logins with OAuth 2](oauth.md). Default: none."
        ),
    ] = None
    proxy: Annotated[
        Proxy | None,
        HTTP_PROXY,
        Meta(
            description="HTTP proxy for the service's own HTTP requests, "
            "`http://user:password@host:port`: tokens, Microsoft Graph, the SMS provider, "
            "callbacks, alerts. Requests to this machine do not use it. Relays have `proxy=` in "
            "their URL. Default: none."
        ),
    ] = None
    ehlo_name: Annotated[
        str | None,
        EHLO_NAME,
        Meta(
            description="Name that the service gives to relays in EHLO. Default: the full name "
            "of the host, "
            "else its address, as in `[192.0.2.1]`."
        ),
    ] = None
    return_path: Annotated[
        str | None,
        RETURN_PATH,
        Meta(
            description="Address to which failed deliveries are reported: the envelope sender of "
            "all mail. A `*` in it, as in `bounces+*@example.org`, stands for a token that names "
            "message and recipient; see [return paths](return-paths.md). Default: the sender of "
            "each message."
        ),
    ] = None
    data_dir: Annotated[
        str, LINE, Meta(description="Folder of the journal and of captured mail.")
    ] = "./data"
    journal: Annotated[
        str,
        JOURNAL,
        Meta(
            description="Where the journal is: `sqlite:` is a file in the data folder, "
            "`postgresql://user:password@host/database` serves several replicas."
        ),
    ] = "sqlite:"
    lease: Annotated[
        float,
        DURATION,
        Meta(
            description="Time without a sign of life after which other replicas on PostgreSQL take "
            "over what a replica was sending."
        ),
    ] = 15.0
    workers: Annotated[
        int,
        whole(1, 1000),
        Meta(
            description="Messages that are sent or recorded at the same time. Eight times "
            "the connections of a relay keep it busy: one message under way, the next behind its "
            "dot, and six whose outcomes are written together. Each further route "
            "(relays, gateways, SMS provider, simulator) gets one worker more, and each chain of "
            "relays as many again, so that no route waits for another."
        ),
    ] = 128
    queue_size: Annotated[
        int,
        whole(1, 100_000),
        Meta(
            description="Messages claimed ahead of the workers for each route; the others wait in "
            "the journal. After a `kill -9` each claimed message counts as uncertain."
        ),
    ] = 64
    max_backlog: Annotated[
        int,
        whole(1, 10**9),
        Meta(description="Number of waiting messages from which on a POST is answered with `429`."),
    ] = 1_000_000
    max_body: Annotated[int, SIZE, Meta(description="Largest body of a request.")] = 15_000_000
    default_from: Annotated[
        str | None, ADDRESS, Meta(description="Sender of messages that name no sender.")
    ] = None
    sms_from: Annotated[
        str | None, ADDRESS, Meta(description="Sender of text messages that leave by mail.")
    ] = None
    retry_schedule: Annotated[
        tuple[float, ...],
        SCHEDULE,
        Meta(description="Waits between attempts, each varied by ±20 %; the last one repeats."),
    ] = RetryPolicy().schedule
    expire_after: Annotated[
        float, DURATION, Meta(description="Time after which an unsent message expires.")
    ] = 48 * 3600.0
    grace: Annotated[
        float,
        DURATION,
        Meta(description="Time after SIGTERM in which messages that are being sent may finish."),
    ] = 20.0
    wait_limit: Annotated[
        float, DURATION, Meta(description="Longest time that `/send-async/` waits for the outcome.")
    ] = 30.0
    keep_alive: Annotated[
        float,
        DURATION,
        Meta(
            description="Time that a client's connection may be idle between requests. It must be "
            "longer than the idle time of a load balancer in front (mostly 60 s)."
        ),
    ] = 75.0
    api_keys: Annotated[
        str | None,
        LINE,
        Meta(description="File of the API keys. Default: `keys.toml` in the data folder."),
    ] = None
    anonymous: Annotated[
        Literal["loopback", "anywhere", "never"],
        choice("loopback", "anywhere", "never"),
        Meta(
            description="Who may call while there is no API key: `loopback`, `anywhere` or `never`."
        ),
    ] = "loopback"
    allowed_hosts: Annotated[
        tuple[str, ...],
        HOSTS,
        Meta(
            description="Further host names, comma-separated, by which the service may be called "
            "while there is no API key, and by people whom a proxy signs in. `localhost`, loopback "
            "addresses and `NOTIFIER_HOST` are always allowed."
        ),
    ] = ()
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"],
        choice("debug", "info", "warning", "error"),
        Meta(description="Lowest level that is logged: `debug`, `info`, `warning` or `error`."),
    ] = "info"
    log_format: Annotated[
        Literal["auto", "console", "json"],
        choice("auto", "console", "json"),
        Meta(description="`console`, `json`, or `auto`: `console` on a terminal, else `json`."),
    ] = "auto"
    log_dir: Annotated[
        str | None,
        LINE,
        Meta(
            description="Folder for log files, one for each level, rotated. Default: none, stderr "
            "alone."
        ),
    ] = None
    templates: Annotated[
        str | None, LINE, Meta(description="Folder of message templates. Default: none.")
    ] = None
    carriers: Annotated[
        str | None,
        LINE,
        Meta(description="TOML file that changes or extends the list of carriers. Default: none."),
    ] = None
    sms_region: Annotated[
        str | None, REGION, Meta(description="Region of phone numbers without `+`, such as `US`.")
    ] = None
    sms_countries: Annotated[
        tuple[str, ...],
        REGIONS,
        Meta(description="Regions that may be texted, such as `US,CA`. Default: all."),
    ] = ()
    sms_provider: Annotated[
        str | None,
        SECRET,
        Meta(
            description="SMS provider: `twilio://sid:token@?from=+1...`, or an `https://` URL that "
            "takes JSON."
        ),
    ] = None
    sms_provider_body: Annotated[
        str | None,
        SECRET,
        Meta(
            description="JSON to post to the provider, with `{to}`, `{text}` and `{id}` to be "
            "filled in."
        ),
    ] = None
    sms_provider_headers: Annotated[
        str | None,
        SECRET,
        Meta(description="JSON object of further request headers for the provider."),
    ] = None
    sms_provider_idempotency_header: Annotated[
        str | None,
        LINE,
        Meta(description="Header by which the provider recognizes a repeated request."),
    ] = None
    sms_provider_success: Annotated[
        str | None,
        LINE,
        Meta(
            description="What a success is in the provider's JSON: a JSON pointer and a value, "
            "`/messages/0/status=0`. Default: a 2xx whose body does not say that it failed."
        ),
    ] = None
    alert_url: Annotated[
        str | None, WEB_ADDRESS, Meta(description="URL to which alerts are posted as JSON.")
    ] = None
    alert_to: Annotated[
        str | None,
        ADDRESS,
        Meta(description="Address to which alerts are mailed, directly and not through the queue."),
    ] = None
    alert_after: Annotated[
        float,
        DURATION,
        Meta(
            description="Time that a relay must be down, or a due message must wait, until an "
            "alert is raised."
        ),
    ] = 600.0
    public_path: Annotated[
        str,
        PUBLIC_PATH,
        Meta(description="Path prefix behind a reverse proxy, such as `/notifier`."),
    ] = ""

    @classmethod
    def read(
        cls,
        environ: Mapping[str, str],
        *,
        config: Path | None = None,
        further: Callable[[Self], Sequence[str]] = lambda _: (),
    ) -> Self:
        """
        Defaults, then the TOML file (`config`, or the one that NOTIFIER_CONFIG names), then
        files of secrets and the environment. Raises ConfigurationError with every fault. `further`
        finds more faults in the settings that could be read.
        """
        sources = Sources(
            [field.name for field in FIELDS],
            [field.name for field in FIELDS if field.parser.secret],
        )
        named = environ.get("NOTIFIER_CONFIG", "").strip()
        if config is not None:
            sources.read_toml(config, named_by="--config")
        elif named:
            sources.read_toml(Path(named), named_by="NOTIFIER_CONFIG")
        sources.read_environment(environ)
        values, faults = _read(sources)
        faults += contradictions(values)
        if faults:
            raise ConfigurationError(*faults, *further(cls(**values)))
        return cls(**values)

    def __repr__(self) -> str:
        """The settings without secrets, which must not reach a log by accident."""
        return f"Settings({', '.join(f'{name}={text}' for name, text in self.describe())})"

    @property
    def keys_file(self) -> Path:
        return Path(self.api_keys or f"{self.data_dir}/keys.toml")

    def describe(self) -> list[tuple[str, str]]:
        """Every variable and its value in force, without secrets."""
        return [
            (variable(field.name), field.parser.text(getattr(self, field.name))) for field in FIELDS
        ]


class Field(Struct, frozen=True):
    """One setting."""

    name: str
    parser: Parser
    default: str
    description: str


def _fields() -> tuple[Field, ...]:
    hints = get_type_hints(Settings, include_extras=True)
    found = []
    own = Settings.__annotations__  # in front of those of other parts
    fields = sorted(msgspec.structs.fields(Settings), key=lambda each: each.name not in own)
    for field in fields:
        parser, meta = hints[field.name].__metadata__
        found.append(Field(field.name, parser, parser.text(field.default), meta.description))
    return tuple(found)


FIELDS = _fields()


def _read(sources: Sources) -> tuple[dict[str, Any], list[str]]:
    values: dict[str, Any] = {}
    faults = list(sources.faults)
    if sources.relays is not None and "relays" not in sources.given:
        try:
            values["relays"] = read_tables(*sources.relays)
        except ValueError as error:
            faults += str(error).split("\n")
    for field in FIELDS:
        given = sources.given.get(field.name)
        if given is None:
            continue
        try:
            text = given.text if field.parser is PASSWORD else given.text.strip()
            values[field.name] = field.parser.read(text)
        except ValueError as error:
            faults += [
                f"{given.place}: {fault}{_hint(given.text)}" for fault in str(error).split("\n")
            ]
    return values, faults


def _hint(text: str) -> str:
    if text.startswith("tcp://"):
        return " (Kubernetes sets it for a service of this name; see enableServiceLinks)"
    return ""
