"""The sources of reports that the settings open: a listener, a mailbox, events of providers."""

import contextlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Self

import structlog
from msgspec import Struct

from notifier.errors import ConfigurationError
from notifier.journal import Journal
from notifier.mailboxspec import MailboxSpec
from notifier.oauth import Section
from notifier.oauth.refreshing import Refreshed
from notifier.reports.providers.event import Provider
from notifier.reports.taking import Reports
from notifier.settings import variable
from notifier.smtp_server import ListenAddress, Server
from notifier.supervisor import Supervisor

if TYPE_CHECKING:  # it needs a library that few have
    from notifier.reports.mailbox import Mailbox

log = structlog.get_logger()


class ReportSourcesSpec(Struct, frozen=True, kw_only=True):
    """Which sources the settings name."""

    listen: tuple[ListenAddress, ...] = ()
    mailbox: MailboxSpec | None = None
    grant: Section | None = None  # of the mailbox; None: it has a password
    providers: Mapping[str, Provider] = {}


class ReportSources(contextlib.AbstractAsyncContextManager["ReportSources"]):
    """The listener and the mailbox, open between entering and leaving; and the providers."""

    def __init__(
        self, spec: ReportSourcesSpec, reports: Reports, journal: Journal, supervisor: Supervisor
    ) -> None:
        self.providers = spec.providers
        self.listener: Server | None = None
        self._spec = spec
        self._reports = reports
        self._journal = journal
        self._supervisor = supervisor
        self._mailbox: Mailbox | None = None
        self._parts = contextlib.AsyncExitStack()

    @property
    def trouble(self) -> str:
        """Why no reports come from the mailbox now; empty: they do, or there is no mailbox."""
        trouble = self._mailbox.trouble if self._mailbox is not None else ""
        return f"the mailbox of reports cannot be read: {trouble}" if trouble else ""

    async def __aenter__(self) -> Self:
        async with contextlib.AsyncExitStack() as parts:
            if self._spec.listen:
                await self._open_listener(parts)
            if self._spec.mailbox is not None:
                await self._open_mailbox(self._spec.mailbox, parts)
            self._parts = parts.pop_all()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._parts.aclose()

    async def _open_listener(self, parts: contextlib.AsyncExitStack) -> None:
        from notifier.reports.listener import report_listener

        self.listener = report_listener(self._spec.listen, self._reports)
        try:
            await parts.enter_async_context(self.listener)
        except ConfigurationError as error:
            name = variable("report_listen")
            raise ConfigurationError(*(f"{name}: {fault}" for fault in error.faults)) from None
        log.info("listening_for_reports", ports=self.listener.ports)

    async def _open_mailbox(self, spec: MailboxSpec, parts: contextlib.AsyncExitStack) -> None:
        from notifier.reports.mailbox import Mailbox

        tokens = None
        if self._spec.grant is not None:
            refreshed = Refreshed(self._spec.grant, supervisor=self._supervisor)
            tokens = await parts.enter_async_context(refreshed)
        self._mailbox = Mailbox(spec, tokens, self._reports, self._journal, self._supervisor)
        await parts.enter_async_context(self._mailbox)
