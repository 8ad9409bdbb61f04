"""`notifier reports add`, as an alias of a mail server calls it."""

import subprocess
import sys

from notifier.web.api.examples import REPORTS
from tests.process import environment, free_port

COMMAND = [sys.executable, "-m", "notifier", "reports", "add"]


def test_a_mail_that_cannot_be_handed_on_is_to_be_brought_again(tmp_path):
    """75 has Postfix try again; the reason is on stderr."""
    done = subprocess.run(
        [*COMMAND, "--url", f"http://127.0.0.1:{free_port()}"],
        input=REPORTS["bounce"].encode(),
        env=environment(),
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 75, done.stderr
    assert b"cannot reach" in done.stderr
