"""What the container installs agrees with pyproject.toml; `.ci/lock` renews `.requirements`."""

import re
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.paths import ROOT

RENEW = "run `bash .ci/lock`"


def locked(name):
    """The requirements of a lock file, by name, each with its hashes."""
    text = (ROOT / ".requirements" / f"{name}.txt").read_text().replace("\\\n", "")
    found = {}
    for line in text.splitlines():
        requirement, *hashes = line.split("--hash=")
        pinned = Requirement(requirement.strip())
        found[canonicalize_name(pinned.name)] = pinned, [each.strip() for each in hashes]
    return found


def asked_for(name):
    """What pyproject.toml asks for, for the lock file of that name."""
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text())
    project = pyproject["project"]
    extras = project["optional-dependencies"]
    asked = {
        "container": project["dependencies"]
        + extras["postgres"]
        + extras["otel"]
        + extras["oauth"]
        + extras["imap"]
        + extras["reports"],
        "build": pyproject["build-system"]["requires"],
    }
    return map(Requirement, asked[name])


@pytest.mark.parametrize("name", ["container", "build"])
def test_the_locks_agree_with_the_ranges(name):
    """A dependency that is new or has another range needs a new lock."""
    lock = locked(name)
    for asked in asked_for(name):
        assert canonicalize_name(asked.name) in lock, f"{asked.name} is not locked; {RENEW}"
        pinned, _ = lock[canonicalize_name(asked.name)]
        [version] = [each.version for each in pinned.specifier]
        assert asked.specifier.contains(version), f"{pinned} is not {asked}; {RENEW}"


@pytest.mark.parametrize("name", ["container", "build"])
def test_every_locked_release_is_one_version_with_hashes_and_from_anywhere(name):
    """An installer takes it from any index, and only if it is the same file."""
    for pinned, hashes in locked(name).values():
        assert [each.operator for each in pinned.specifier] == ["=="], pinned
        assert hashes, pinned
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", each) for each in hashes), pinned
    assert "://" not in (ROOT / ".requirements" / f"{name}.txt").read_text()
