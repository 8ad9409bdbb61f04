"""
Where `notifier recipients` finds what is held of a person: at a running server, by HTTP; without
one, in the journal itself and in the files beside it.
"""

import contextlib
import time
from pathlib import Path
from typing import BinaryIO, TypeAlias

from notifier.audit import Audit
from notifier.audit.records import actor
from notifier.capture import Mailbox
from notifier.cli.display import Resource
from notifier.cli.journal import in_journal
from notifier.cli.sources import AtServer, InJournal, builtins
from notifier.clock import utc_now
from notifier.erasure.erasing import Erasure
from notifier.erasure.export import LAST, WHAT, Export
from notifier.erasure.local_places import CapturedMails, LogFiles
from notifier.errors import NotifierError
from notifier.intake.storms import Brake
from notifier.journal import Journal
from notifier.supervisor import Supervisor
from notifier.threads import FairThreads
from notifier.web.api.recipients import resource

EXPORT = "/v1/recipients/export"
ERASE = "/v1/recipients/erase"
RUNNING = "running"  # the state of an erasure that is still searching
LOOK_SECONDS = 0.5  # between two looks at how far an erasure has come
ALL_SECONDS = 600.0  # of silence: a search may find nothing for long
_END = f'{{"kind":"{LAST}",'.encode()


class ExportBrokeOff(NotifierError):
    """The last line of the export is missing."""


class ByHttp(AtServer):
    """The persons that a running server knows. Raises RequestFailed."""

    def export(self, address: str, file: BinaryIO) -> None:
        last = b""
        # By POST, so that no log on the way has the address.
        for last in self._client.lines(EXPORT, {"address": address}, timeout=ALL_SECONDS):
            file.write(last)
        if not last.startswith(_END):
            raise ExportBrokeOff("the connection broke, so the export is incomplete; try again")

    def erase(self, address: str) -> Resource:
        erasure = self._client.post(ERASE, {"address": address}, timeout=ALL_SECONDS)
        while erasure["state"] == RUNNING:
            time.sleep(LOOK_SECONDS)
            erasure = self._client.get(f"{ERASE}/{erasure['id']}")
        return erasure


class ByJournal(InJournal):
    """Those in a journal that no server has open, and in the files beside it."""

    def export(self, address: str, file: BinaryIO) -> None:
        settings = self._settings

        async def write(journal: Journal) -> None:
            async with Mailbox(Path(settings.data_dir) / "inbox") as mailbox:
                beside = CapturedMails(lambda: mailbox), LogFiles(settings.log_dir)
                with contextlib.closing(FairThreads("work")) as threads:
                    export = Export(journal, threads, beside, region=settings.sms_region)
                    person = await export.person(address)
                    await Audit(journal).note(actor(), WHAT, on=person.erased)
                    async for piece in export.pieces(person):
                        file.write(piece)

        in_journal(settings, write)

    def erase(self, address: str) -> Resource:
        settings = self._settings

        async def nothing() -> None:
            """No list of suppressions is in use."""

        async def carried_out(journal: Journal) -> Resource:
            supervisor, threads = Supervisor(), FairThreads("work")
            async with contextlib.AsyncExitStack() as opened:
                opened.push_async_callback(supervisor.close)
                opened.callback(threads.close)
                mailbox = await opened.enter_async_context(
                    Mailbox(Path(settings.data_dir) / "inbox")
                )
                erasure = await opened.enter_async_context(
                    Erasure(
                        settings,
                        journal,
                        Audit(journal),
                        mailbox=lambda: mailbox,
                        brake=Brake(settings),
                        changed=lambda _: None,
                        hidden=nothing,
                        threads=threads,
                        supervisor=supervisor,
                        clock=utc_now,
                    )
                )
                id = await erasure.erase(address, by=actor())
                state = None
                while state is None or state.request.state == RUNNING:
                    state = await erasure.state(id, wait=ALL_SECONDS)
                return builtins(resource(state))

        return in_journal(settings, carried_out)


Source: TypeAlias = ByHttp | ByJournal
