"""A collector of spans, by OTLP over HTTP: it takes them, refuses them, or never answers."""

import contextlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


class Exports(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        collector = self.server.collector
        collector.asked.set()
        if collector.hangs:
            collector.let_go.wait(60)
        elif collector.status == 200 and self.path == "/v1/traces":
            collector.take(ExportTraceServiceRequest.FromString(body))
        with contextlib.suppress(OSError):  # whoever asked has gone
            self.send_response(collector.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

    def log_message(self, *_):
        pass


class Collector:
    """Keeps the spans that it takes, and what they say of the process that sent them."""

    def __init__(self):
        self.spans = []
        self.resource = {}
        self.status = 200
        self.hangs = False
        self.asked = threading.Event()
        self.let_go = threading.Event()

    def take(self, request):
        for each in request.resource_spans:
            self.resource = values(each.resource.attributes)
            for scope in each.scope_spans:
                self.spans += scope.spans

    def __enter__(self):
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Exports)
        self._server.daemon_threads = True
        self._server.collector = self
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        return self

    def __exit__(self, *exc_info):
        self.let_go.set()
        self._server.shutdown()
        self._thread.join(10)
        self._server.server_close()


def values(attributes):
    """The attributes of a span as it is on the wire."""
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}
