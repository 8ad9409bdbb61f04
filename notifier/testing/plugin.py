"""What pytest loads. The rest is imported once a test asks for the fixture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from notifier.testing.mailbox import Mailbox


class _Report:
    """What arrived, in the report of a test that failed. It is registered with the first server."""

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Add a section; the mails are gone before the next test."""
        report = yield
        arguments: dict[str, Any] = getattr(item, "funcargs", {})
        mailbox: Mailbox | None = arguments.get("notifier_mailbox")
        if call.when == "call" and report.failed and mailbox is not None:
            report.sections.append(("notifier mailbox", mailbox.state()))
        return report


@pytest.fixture(scope="session")
def notifier_server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mailbox]:
    """A real notifier server with its mailbox, on a free port; one for each process of pytest."""
    from notifier.testing.mailbox import Mailbox
    from notifier.testing.server import running

    request.config.pluginmanager.register(_Report(), "notifier-mailbox-report")
    with running(tmp_path_factory.mktemp("notifier")) as url, Mailbox(url) as mailbox:
        yield mailbox


@pytest.fixture
def notifier_mailbox(notifier_server: Mailbox, monkeypatch: pytest.MonkeyPatch) -> Mailbox:
    """
    The mailbox of a real notifier server, empty. NOTIFIER_URL leads to it during the test, so that
    `Notifier()` of the program finds it.
    """
    notifier_server.empty()
    monkeypatch.setenv("NOTIFIER_URL", notifier_server.url)
    monkeypatch.delenv("NOTIFIER_KEY", raising=False)
    return notifier_server
