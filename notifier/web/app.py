"""The Litestar application around a service."""

from collections.abc import Callable

from litestar import Litestar
from litestar.datastructures import State

from notifier.metrics import Requests
from notifier.service import Notifier
from notifier.web.api.audit import AuditViews
from notifier.web.api.batch import Batches
from notifier.web.api.bulk import Bulk
from notifier.web.api.callbacks import Callbacks
from notifier.web.api.carriers import Carriers
from notifier.web.api.copies import Copies
from notifier.web.api.details import Details
from notifier.web.api.events import Events
from notifier.web.api.messages import Messages
from notifier.web.api.operations import Operations
from notifier.web.api.provider_events import ProviderEvents
from notifier.web.api.recipients import Recipients
from notifier.web.api.reports import ReportsByMail
from notifier.web.api.settling import Settling
from notifier.web.api.suppressions import SuppressionCalls
from notifier.web.api.templates import TemplateViews
from notifier.web.auth import Authentication
from notifier.web.body_memory import BodyMemory
from notifier.web.entrance import Entrance
from notifier.web.forwarded import PROXIES, TrustedProxies
from notifier.web.hosts import Hosts
from notifier.web.logins import Logins
from notifier.web.metrics import Metrics
from notifier.web.probes import Probes
from notifier.web.problems import HANDLERS
from notifier.web.simple import Simple
from notifier.web.ui.contents import Contents
from notifier.web.ui.files import Files
from notifier.web.ui.guide import Guide
from notifier.web.ui.inbox import Inbox
from notifier.web.ui.layout import Layout
from notifier.web.ui.pages import Pages
from notifier.web.ui.rehearsal import Rehearsal
from notifier.web.ui.sign_in import SignIn


def create_app(service: Notifier, *, log_drops: Callable[[], int] = lambda: 0) -> Litestar:
    """
    The application. The caller opens and closes the service. Handlers are methods of objects that
    have the service, so that no request has to look up dependencies.
    """
    hosts, proxies = Hosts(service.settings), TrustedProxies(service.settings)
    logins = Logins(service.settings, proxies) if service.settings.sign_in_header else None
    authentication = Authentication(service, hosts, logins)
    memory = BodyMemory(largest=service.settings.max_body)
    layout = Layout(service, authentication)
    pages = Pages(service, layout)
    requests = Requests()
    messages = Messages(service)
    app = Litestar(
        [
            *messages.routes(),
            *Copies(service, messages).routes(),
            *Batches(service).routes(),
            *Bulk(service).routes(),
            *Settling(service).routes(),
            *Details(service).routes(),
            *Events(service).routes(),
            *Simple(service).routes(),
            *Carriers(service).routes(),
            *TemplateViews(service).routes(),
            *SuppressionCalls(service).routes(),
            *ProviderEvents(service).routes(),
            *ReportsByMail(service).routes(),
            *Operations(service).routes(),
            *Recipients(service).routes(),
            *AuditViews(service).routes(),
            *Callbacks(service).routes(),
            *Probes(service, authentication).routes(),
            *Metrics(service, requests, log_drops=log_drops).routes(),
            *pages.routes(),
            *Contents(service).routes(),
            *Inbox(service, layout).routes(),
            *Rehearsal(service).routes(),
            *SignIn(service, authentication, layout).routes(),
            *Guide(layout, public_path=service.settings.public_path).routes(),
            *Files().routes(),
        ],
        middleware=[authentication.middleware, memory.middleware],
        exception_handlers=HANDLERS,
        state=State({PROXIES: proxies}),
        openapi_config=None,  # openapi.py writes the document
        logging_config=None,
        request_max_body_size=None,  # bodies.py has the limit
    )
    pages.describe(app.routes)
    # Litestar's middleware runs where a route was found. The entrance also sees all other requests.
    app.asgi_handler = Entrance(
        app.asgi_handler, messages.sending, service, authentication, hosts, requests
    )
    return app
