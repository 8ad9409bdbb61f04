"""The folder that `.ci/mail-servers` has unpacked the servers into."""

import os
from pathlib import Path

import pytest

VARIABLE = "NOTIFIER_TEST_MAIL_SERVERS"


def root():
    """
    The root of a file system with all servers in it. Skips where there is none, or where we may
    not use it; but fails where the variable says that there is one.
    """
    folder = os.environ.get(VARIABLE)
    if not folder:
        pytest.skip(f"{VARIABLE} names no folder made by `bash .ci/mail-servers FOLDER`")
    found = Path(folder, "root")
    assert Path(folder, "complete").exists(), f"{VARIABLE}={folder}: run .ci/mail-servers on it"
    assert os.geteuid() == 0, "real mail servers are started by root only: they change users"
    return found
