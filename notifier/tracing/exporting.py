"""The way to the collector. That it is closed is told once, and once that it is open again."""

import logging
import re
from collections.abc import Sequence

import structlog
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

LONGEST_REASON = 300  # characters
_QUERY = re.compile(r"\?\S*")  # of a URL; it may hold a secret

log = structlog.get_logger()


class Heard(logging.Handler):
    """What the SDK logs of a batch that it cannot send: the first word says it best."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.first = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.first = self.first or record.getMessage()


class Exporter(SpanExporter):
    """
    Sends by another exporter, and counts what was taken. The SDK would log some lines for each
    batch that was not, and one for each span that finds the queue full: from here on they end here.
    """

    def __init__(self, exporter: SpanExporter) -> None:
        self.taken = 0
        self._exporter = exporter
        self._failing = False
        self._heard = Heard()
        self._theirs = logging.getLogger("opentelemetry")
        self._theirs.addHandler(self._heard)
        self._theirs.propagate = False
        # Of a full queue it would tell on our thread, at each span.
        logging.getLogger("opentelemetry.sdk").setLevel(logging.ERROR)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self._heard.first = ""
        try:
            result = self._exporter.export(spans)
        except Exception as error:  # noqa: BLE001 - the thread must go on
            self._heard.first, result = repr(error), SpanExportResult.FAILURE
        if result is SpanExportResult.SUCCESS:
            self.taken += len(spans)
            if self._failing:
                log.warning("spans_taken_again")
            self._failing = False
        elif not self._failing:
            reason = _QUERY.sub("?***", self._heard.first)[:LONGEST_REASON]
            log.warning("spans_not_taken", reason=reason)
            self._failing = True
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._exporter.force_flush(timeout_millis)
