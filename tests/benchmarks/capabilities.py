"""notifier with what most applications switch on."""

import contextlib

from tests.api_keys import made
from tests.applications import add_callback
from tests.benchmarks.callbacks import applications
from tests.benchmarks.load import LIMIT_SECONDS
from tests.benchmarks.peers import Notifier
from tests.benchmarks.processes import until


class Keyed(Notifier):
    """Each message comes with an API key and an idempotency key, and leaves with a token."""

    name = "notifier with API key, idempotency key, return path"
    share = 0.5

    def __init__(self, folder, sink, **settings):
        super().__init__(folder, sink, **{"return_path": "bounces+*@example.org"} | settings)
        data = folder / "data"
        data.mkdir()
        fields = made(data) | {"Idempotency-Key": "order-NUMBER"}
        self.headers = [f"{name}: {value}" for name, value in fields.items()]


class WithCallbacks(Keyed):
    """Also, the application gets a callback for each message. Its own CPU is not counted."""

    name = "notifier with all that, and callbacks"
    share = 0.2

    def start(self):
        self.stack = contextlib.ExitStack()
        ports, self.late = self.stack.enter_context(applications())
        add_callback(self.folder / "data", "billing", f"http://127.0.0.1:{ports[0]}/")
        super().start()

    def settle(self, count):
        sent = 0

        def all_sent():
            nonlocal sent
            sent += len(self.late())
            return sent >= count

        until(all_sent, self.last_output, seconds=LIMIT_SECONDS, pause=0.05)

    def __exit__(self, *exc_info):
        super().__exit__(*exc_info)
        self.stack.close()
