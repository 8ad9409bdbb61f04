"""The callback of a key in the keys file: read with all faults, written back, never shown whole."""

import pytest
from structlog.testing import capture_logs

from notifier.cli.keys import listed
from notifier.errors import ConfigurationError
from notifier.keys import CallbackEvent, Keys
from notifier.settings import Settings
from tests.applications import SECRET, made_key
from tests.service import now

URL = "https://shop.example.org/notifier"


def faults(folder, *, url=URL, **fields):
    """The faults of a callback, without the path of the file."""
    with pytest.raises(ConfigurationError) as caught:
        made_key(folder, url, **fields)
    path = str(folder / "keys.toml")
    assert SECRET[6:] not in str(caught.value)
    return [each.removeprefix(f"{path}: ") for each in caught.value.faults]


def test_a_callback_comes_back_from_the_file_as_it_was(tmp_path, trusted):
    """Also when the file is written again, for another key."""
    fields = {"events": ["sent", "cancelled"], "ca_file": trusted["ca"]}
    key = made_key(tmp_path, URL, **fields)
    again = made_key(tmp_path, "http://10.0.0.7:8080/hook", "hr", allow_http=True)
    made_key(tmp_path, "http://localhost/hook", "ops")
    path = tmp_path / "keys.toml"
    assert Keys.read(path).all()[:2] == (key, again)
    Keys.read(path).revoke("ops", now())
    assert Keys.read(path).all()[:2] == (key, again)
    assert key.callback.events == {CallbackEvent.SENT, CallbackEvent.CANCELLED}
    assert set(again.callback.events) == set(CallbackEvent) - {
        CallbackEvent.CANCELLED,
        CallbackEvent.SUPERSEDED,
    }


def test_every_fault_is_reported_at_once(tmp_path):
    """With the field, and what is right."""
    found = faults(tmp_path, url="ftp://x", secrets=["whsec_abc"], events=["sent", "read"], uri=1)
    assert found == [
        "keys.shop.callback: unknown field 'uri'",
        "keys.shop.callback.url: must be a URL such as https://shop.example.org/notifier",
        "keys.shop.callback.secrets: a secret is whsec_ and the base64 of 24 to 64 random octets",
        "keys.shop.callback.events: Invalid enum value 'read' - at `$[1]`; the events are sent,"
        " failed, expired, held, bounced, complained, cancelled, superseded",
    ]


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"url": "http://10.0.0.7/"}, ".url: by http:// others can read it on its way; use https"),
        ({"url": "https://"}, ".url: must be a URL"),
        ({"url": "https://x:99999/"}, ".url: must be a URL"),
        ({"url": "https://x/a b"}, ".url: must be a URL"),
        ({"url": "https://x/#a"}, ".url: must not have a fragment"),
        ({"secrets": []}, ".secrets: Expected `array` of length >= 1"),
        ({"secrets": [SECRET[6:]]}, ".secrets: a secret is whsec_"),
        ({"secrets": ["whsec_AAAA"]}, ".secrets: a secret is whsec_"),
        ({"events": []}, ".events: Expected `array` of length >= 1"),
        ({"ca_file": "/nowhere"}, ".ca_file: '/nowhere' cannot be read: No such file"),
        ({"ca_file": "/dev/null"}, ".ca_file: '/dev/null' holds no certificate"),
        ({"url": "http://[::1]/", "ca_file": "/etc/ssl"}, ".ca_file: '/etc/ssl'"),
    ],
)
def test_impossible_rules_are_rejected(fields, fault, tmp_path):
    """Each names its field."""
    (found,) = faults(tmp_path, **fields)
    assert found.startswith(f"keys.shop.callback{fault}")


def test_a_callback_that_is_no_table_is_a_fault(tmp_path):
    """And one without a URL."""
    made_key(tmp_path, URL)
    path = tmp_path / "keys.toml"
    text = path.read_text()
    path.write_text(text.replace(f'url = "{URL}"\n', ""))
    with pytest.raises(ConfigurationError, match=r"keys\.shop\.callback\.url: is missing"):
        Keys.read(path)
    path.write_text(text.partition("[keys.shop.callback]")[0] + "callback = 1\n")
    with pytest.raises(ConfigurationError, match=r"keys\.shop\.callback: must be a table"):
        Keys.read(path)


def test_a_listing_shows_no_secret(tmp_path):
    """Neither the secrets, nor the password and query of the URL."""
    key = made_key(tmp_path, "https://user:hidden@shop.example.org/hook?token=hidden")
    shown = listed(Settings(data_dir=str(tmp_path)))
    assert "https://shop.example.org/hook?..." in shown
    assert "whsec_" not in shown + repr(key) + repr(key.callback)
    assert "hidden" not in shown + repr(key) + repr(key.callback)


def test_a_file_with_secrets_that_all_may_read_is_warned_of(tmp_path):
    """Who has the secret can make callbacks that the application believes."""
    made_key(tmp_path, URL)
    path = tmp_path / "keys.toml"
    path.chmod(0o640)
    with capture_logs() as lines:
        Keys.read(path)
        assert lines == []
        path.chmod(0o644)
        Keys.read(path)
    assert [each["event"] for each in lines] == ["keys_readable"]
