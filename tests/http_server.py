"""An HTTP server that answers as the test's script says, connection after connection."""

import contextlib
import socket
import threading

LOST = b""  # the connection is closed in place of an answer


def answer(status, body=b"{}", *headers, kind="application/json"):
    """One answer as octets."""
    lines = [f"HTTP/1.1 {status} Text", f"Content-Type: {kind}", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, *headers, "", ""]).encode() + body


class ScriptedServer:
    """Answers each request with the next one of its answers; the last one is repeated."""

    def __init__(self, *answers, tls=None):
        self._answers = list(answers)
        self.requests = []  # (request line, header fields in lower case, body)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._tls = tls
        port = self._listener.getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{port}"
        threading.Thread(target=self._serve, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self._listener.close()

    def _serve(self):
        while True:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            # A client that does not trust us, or has gone, is no concern of ours.
            with (
                contextlib.suppress(OSError),
                self._secured(peer) as secured,
                secured.makefile("rb") as stream,
            ):
                self._converse(secured, stream)

    def _secured(self, peer):
        return peer if self._tls is None else self._tls.wrap_socket(peer, server_side=True)

    def _converse(self, peer, stream):
        while line := stream.readline():
            headers = {}
            while (field := stream.readline().decode().strip()) != "":
                name, _, value = field.partition(":")
                headers[name.lower()] = value.strip()
            body = stream.read(int(headers.get("content-length", 0)))
            self.requests.append((line.decode().strip(), headers, body))
            reply = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
            if reply == LOST:
                return
            peer.sendall(reply)
