"""Exporting to the collector. Its failure is logged once, and so is its recovery."""

import logging
import re
from collections.abc import Sequence

import structlog
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

LONGEST_REASON = 300  # characters
_QUERY = re.compile(r"\?\S*")  # of a URL; it may hold a secret

log = structlog.get_logger()


class FirstWarning(logging.Handler):
    """Keeps the first of the SDK's warnings about a batch, because it says most."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.first = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.first = self.first or record.getMessage()


class Exporter(SpanExporter):
    """
    Sends through another exporter and counts what was accepted. It replaces the SDK's own log
    lines: several for each failed batch, and one for each span that found the queue full.
    """

    def __init__(self, exporter: SpanExporter) -> None:
        self.taken = 0
        self._exporter = exporter
        self._failing = False
        self._warning = FirstWarning()
        self._sdk_log = logging.getLogger("opentelemetry")
        self._sdk_log.addHandler(self._warning)
        self._sdk_log.propagate = False
        # It would log a full queue on our thread, for each span.
        logging.getLogger("opentelemetry.sdk").setLevel(logging.ERROR)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self._warning.first = ""
        try:
            result = self._exporter.export(spans)
        except Exception as error:  # noqa: BLE001 - the thread must go on
            self._warning.first, result = repr(error), SpanExportResult.FAILURE
        if result is SpanExportResult.SUCCESS:
            self.taken += len(spans)
            if self._failing:
                log.warning("spans_taken_again")
            self._failing = False
        elif not self._failing:
            reason = _QUERY.sub("?***", self._warning.first)[:LONGEST_REASON]
            log.warning("spans_not_taken", reason=reason)
            self._failing = True
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._exporter.force_flush(timeout_millis)
