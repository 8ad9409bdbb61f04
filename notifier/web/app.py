"""The Litestar application around a service."""

from collections.abc import Callable

from litestar import Litestar

from notifier.metrics import Requests
from notifier.service import Notifier
from notifier.web.api.batch import Batches
from notifier.web.api.bulk import Bulk
from notifier.web.api.details import Views
from notifier.web.api.events import Events
from notifier.web.api.messages import Messages
from notifier.web.api.operations import Levers
from notifier.web.api.templates import TemplateViews
from notifier.web.auth import Door
from notifier.web.body_memory import Room
from notifier.web.hosts import Hosts
from notifier.web.metrics import Counted, Metrics
from notifier.web.probes import Probes
from notifier.web.problems import HANDLERS
from notifier.web.simple.emails import Legacy
from notifier.web.simple.sms import Texts
from notifier.web.ui.contents import Contents
from notifier.web.ui.files import Files
from notifier.web.ui.guide import Guide
from notifier.web.ui.inbox import Inbox
from notifier.web.ui.layout import Shell
from notifier.web.ui.pages import Pages
from notifier.web.ui.sign_in import Signing


def create_app(service: Notifier, *, log_drops: Callable[[], int] = lambda: 0) -> Litestar:
    """
    Handlers are methods of objects that know the service: no dependency is looked up while
    a request waits. The service is opened and closed by the caller.
    """
    door = Door(service)
    shell = Shell(service, door)
    pages = Pages(service, shell)
    requests = Requests()
    room = Room(largest=service.settings.max_body)
    app = Litestar(
        door.before(
            room.around(
                [
                    *Messages(service).routes(),
                    *Batches(service).routes(),
                    *Bulk(service).routes(),
                    *Views(service).routes(),
                    *Events(service).routes(),
                    *Legacy(service).routes(),
                    *Texts(service).routes(),
                    *TemplateViews(service).routes(),
                    *Levers(service).routes(),
                    *Probes(service, door).routes(),
                    *Metrics(service, requests, log_drops=log_drops).routes(),
                    *pages.routes(),
                    *Contents(service).routes(),
                    *Inbox(service, shell).routes(),
                    *Signing(service, door, shell).routes(),
                    *Guide(shell, public_path=service.settings.public_path).routes(),
                    *Files().routes(),
                ]
            )
        ),
        exception_handlers=HANDLERS,
        openapi_config=None,  # we write our own, see openapi.py
        logging_config=None,
        request_max_body_size=None,  # bodies.py has the limit
    )
    pages.describe(app.routes)
    # Around all of it, so that what no handler answers is guarded and counted too.
    hosts = Hosts(app.asgi_handler, service.settings, keyless=lambda: door.keyless)
    app.asgi_handler = Counted(hosts, requests)
    return app
