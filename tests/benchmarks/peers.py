"""What is measured: notifier, and what people would use instead, each started and ended here."""

import contextlib
import importlib.util
import shutil
import socket
import urllib.request

from tests.benchmarks.processes import PYTHON, Family, until
from tests.process import environment, free_port

SERVE = ("uvicorn", "--log-level", "warning", "--no-access-log")


class Peer(contextlib.AbstractContextManager):
    """A queue of mail on a fresh folder, from entering to leaving."""

    name = ""
    share = 1.0  # of the messages of a run, so that a slow peer's run takes no longer
    path = "/mails"
    batch = 0  # messages a request; 0: each by itself
    smtp = False  # handed in by SMTP, not by HTTP
    delivers = True
    body = ""  # another than the client's own
    headers = ()  # fields of each request

    def __init__(self, folder, sink):
        self.folder = folder
        self.relay = f"127.0.0.1:{sink.port}"
        self.port = free_port()
        self.family = Family()
        self.log = folder / "log"
        self.log.touch()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}{self.path}"

    @classmethod
    def missing(cls):
        """What this machine lacks to run it; empty: nothing."""
        return ""

    def __enter__(self):
        try:
            self.start()
            until(lambda: listens(self.port), self.last_output)
        except BaseException:
            self.family.end()
            raise
        return self

    def __exit__(self, *exc_info):
        self.family.end()

    def start(self):
        raise NotImplementedError

    def settle(self, count):
        """Wait for what is still to be done when these messages have been delivered."""

    def run(self, *arguments, env=None):
        return self.family.start(*arguments, log=self.log, env=env)

    def last_output(self):
        """What its processes have said last, to show why it does nothing."""
        return f"{self.name}: {self.log.read_text()[-2000:]}"


class Notifier(Peer):
    name = "notifier"
    path = "/v1/messages"

    def __init__(self, folder, sink, **settings):
        super().__init__(folder, sink)
        self.environment = environment(
            **{"relays": sink.url, "data_dir": folder / "data", "port": self.port} | settings
        )

    def start(self):
        self.run(PYTHON, "-m", "notifier", "serve", env=self.environment)
        self.start_seconds = until(self.ready, self.last_output, pause=0.01)

    def ready(self):
        try:
            with urllib.request.urlopen(self.at("/readyz"), timeout=2) as answer:
                return answer.status == 200
        except OSError:
            return False

    def at(self, path):
        return f"http://127.0.0.1:{self.port}{path}"


class NotifierBatch(Notifier):
    name = "notifier, batches of 100"
    path = "/v1/messages/batch"
    batch = 100


class Broker(Peer):
    """Something with a Redis of its own, which writes to disk once a second, as is usual."""

    needs = ()

    @classmethod
    def missing(cls):
        packages = [each for each in cls.needs if importlib.util.find_spec(each) is None]
        programs = [] if shutil.which("redis-server") else ["redis-server"]
        return ", ".join(packages + programs)

    def start(self):
        port = free_port()
        options = {"port": port, "bind": "127.0.0.1", "dir": self.folder, "save": ""}
        options |= {"appendonly": "yes", "appendfsync": "everysec"}
        pairs = (each for name, value in options.items() for each in (f"--{name}", str(value)))
        self.run("redis-server", *pairs)
        until(lambda: listens(port), self.last_output)
        self.env = {"BENCH_REDIS": f"redis://127.0.0.1:{port}/0", "BENCH_RELAY": self.relay}
        self.start_apps()

    def start_apps(self):
        raise NotImplementedError

    def serve(self, app):
        self.run(PYTHON, "-m", *SERVE, app, "--port", str(self.port), env=self.env)


class Celery(Broker):
    name = "FastAPI + Celery + Redis"
    share = 0.15
    needs = ("fastapi", "celery", "redis")
    app = "tests.benchmarks.apps.celery_app"
    reuse = False

    def start_apps(self):
        self.env |= {"BENCH_REUSE": "1"} if self.reuse else {}
        celery = (PYTHON, "-m", "celery", "-A", f"{self.app}:celery", "worker")
        self.run(*celery, "--loglevel", "ERROR", env=self.env)
        self.serve(f"{self.app}:app")


class CeleryReuse(Celery):
    name = "the same, connections kept"
    share = 0.15
    reuse = True


class Saq(Broker):
    name = "Litestar + SAQ + Redis"
    share = 0.1
    needs = ("litestar", "saq", "redis")
    app = "tests.benchmarks.apps.saq_app"

    def start_apps(self):
        self.run(PYTHON, "-m", "saq", f"{self.app}.settings", env=self.env)
        self.serve(f"{self.app}:app")


def listens(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False
