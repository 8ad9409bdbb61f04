"""
Spans of OpenTelemetry, for whoever has installed the extra `otel` and names a collector by the
standard variables, of which the SDK reads most itself. A fault in tracing must not stop mail:
whatever is wrong with it is a line in the log.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import structlog

from notifier.relayspec import RelaySpec

if TYPE_CHECKING:  # the SDK takes its time to load, and few need it
    from notifier.tracing.spans import Spans

SPOKEN = "http/protobuf"

log = structlog.get_logger()


def begin(environ: Mapping[str, str], relays: Sequence[RelaySpec]) -> "Spans | None":
    """Begin to export spans, if the environment says so. None: there is nobody to make them for."""
    if not _asked_for(environ):
        return None
    spoken = _of_traces(environ, "PROTOCOL") or SPOKEN
    if spoken != SPOKEN:
        log.warning(
            "tracing_off", reason=f"OTEL_EXPORTER_OTLP_PROTOCOL: only {SPOKEN} is supported"
        )
        return None
    try:
        from notifier.tracing.spans import Spans

        spans = Spans.to_collector(relays)
    except ImportError as error:
        why = f"the extra is not installed: pip install 'notifier[otel]' ({error})"
        log.warning("tracing_off", reason=why)
        return None
    except Exception as error:  # noqa: BLE001 - the SDK raises whatever it trips over
        log.warning("tracing_off", reason=f"the SDK rejects the OTEL_ variables: {error}")
        return None
    address = urlsplit(_of_traces(environ, "ENDPOINT")).netloc
    log.info("tracing", collector=address.rpartition("@")[2])
    return spans


def _asked_for(environ: Mapping[str, str]) -> bool:
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    exporters = environ.get("OTEL_TRACES_EXPORTER") or "otlp"
    return bool(_of_traces(environ, "ENDPOINT")) and "otlp" in exporters


def _of_traces(environ: Mapping[str, str], what: str) -> str:
    """The variable for traces goes before the one for everything."""
    return environ.get(f"OTEL_EXPORTER_OTLP_TRACES_{what}") or environ.get(
        f"OTEL_EXPORTER_OTLP_{what}", ""
    )
