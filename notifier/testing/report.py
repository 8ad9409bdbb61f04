"""What arrived, in the report of a test that failed."""

from collections.abc import Generator
from typing import Any

import pytest

from notifier.testing.mailbox import Mailbox

FIXTURE = "notifier_mailbox"


class Report:
    """A plug-in that is registered once a test uses the fixture."""

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: "pytest.CallInfo[None]"
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Add a section; the mails are gone before the next test."""
        report = yield
        if call.when == "call" and report.failed:
            arguments: dict[str, Any] = getattr(item, "funcargs", {})
            mailbox = arguments.get(FIXTURE)
            if isinstance(mailbox, Mailbox):
                report.sections.append(("notifier mailbox", mailbox.state()))
        return report
