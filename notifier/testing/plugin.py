"""What pytest loads. The rest is imported once a test asks for the fixture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from notifier.testing.mailbox import Mailbox


@pytest.fixture(scope="session")
def notifier_server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mailbox]:
    """A real notifier server with its mailbox, on a free port; one for each process of pytest."""
    from notifier.testing.mailbox import Mailbox
    from notifier.testing.report import Report
    from notifier.testing.server import running

    request.config.pluginmanager.register(Report(), "notifier-mailbox-report")
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
