"""
OpenTelemetry spans, if the extra `otel` is installed and the standard variables name a collector. A
fault in tracing is logged and never stops mail.

The SDK reads most of the variables itself. `spans` makes the spans, `exporting` sends them.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import structlog

from notifier.relayspec import RelaySpec

if TYPE_CHECKING:  # the SDK is slow to import, and few need it
    from notifier.tracing.spans import Spans

PROTOCOL = "http/protobuf"

log = structlog.get_logger()


def begin(environ: Mapping[str, str], relays: Sequence[RelaySpec]) -> "Spans | None":
    """Start to export spans if the environment asks for it. None: it does not, or it failed."""
    if not _requested(environ):
        return None
    spoken = _of_traces(environ, "PROTOCOL") or PROTOCOL
    if spoken != PROTOCOL:
        log.warning(
            "tracing_off", reason=f"OTEL_EXPORTER_OTLP_PROTOCOL: only {PROTOCOL} is supported"
        )
        return None
    try:
        from notifier.tracing.spans import Spans

        spans = Spans.to_collector(relays)
    except ImportError as error:
        why = f"the extra is not installed: pip install 'notifier[otel]' ({error})"
        log.warning("tracing_off", reason=why)
        return None
    except Exception as error:  # noqa: BLE001 - the SDK raises anything
        log.warning("tracing_off", reason=f"the SDK rejects the OTEL_ variables: {error}")
        return None
    address = urlsplit(_of_traces(environ, "ENDPOINT")).netloc
    log.info("tracing", collector=address.rpartition("@")[2])
    return spans


def _requested(environ: Mapping[str, str]) -> bool:
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    exporters = environ.get("OTEL_TRACES_EXPORTER") or "otlp"
    return bool(_of_traces(environ, "ENDPOINT")) and "otlp" in exporters


def _of_traces(environ: Mapping[str, str], what: str) -> str:
    """The value of a variable: the one for traces alone goes before the one for all signals."""
    return environ.get(f"OTEL_EXPORTER_OTLP_TRACES_{what}") or environ.get(
        f"OTEL_EXPORTER_OTLP_{what}", ""
    )
