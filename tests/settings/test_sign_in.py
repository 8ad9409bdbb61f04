"""Settings of the company's login: every fault is told by name, and nothing is guessed."""

import pytest

from notifier.errors import ConfigurationError
from notifier.settings import Settings, check_access, variable

WHOLE = {
    "trusted_proxies": "127.0.0.1, 10.1.0.0/16,::1",
    "sign_in_header": "X-Forwarded-User",
    "sign_in_groups_header": "X-Forwarded-Groups",
    "sign_in_groups": "ops:manage read, role:mail team:send",
    "sign_out_url": "/oauth2/sign_out",
}


def read(**given):
    return Settings.read({variable(name): text for name, text in given.items()})


def faults(**given):
    with pytest.raises(ConfigurationError) as refused:
        read(**given)
    return refused.value.faults


def test_written_values_are_read_again():
    """Also by a name of a group that has a colon or a space; `notifier config` shows all of it."""
    settings = read(**WHOLE)
    texts = {name: text for name, text in settings.describe() if text}
    written = {name: texts[variable(name)] for name in WHOLE}
    assert written["sign_in_groups"] == "ops:read manage,role:mail team:send"
    assert read(**written) == settings


def test_ipv4_addresses_written_as_ipv6_are_ipv4():
    """A socket reports them as IPv4, so they would never match."""
    settings = read(trusted_proxies="::ffff:192.0.2.1, ::ffff:10.1.0.0/112")
    assert [str(each) for each in settings.trusted_proxies] == ["192.0.2.1/32", "10.1.0.0/16"]
    assert "is every address" in faults(trusted_proxies="::ffff:0.0.0.0/96")[0]


def test_with_it_no_key_is_needed_for_a_start():
    """Nobody is anonymous then, so that any address may be listened on."""
    check_access(read(**WHOLE, host="0.0.0.0"), keys_exist=False)
    check_access(read(**WHOLE, anonymous="never"), keys_exist=False)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("trusted_proxies", "proxy.example.org", "is not an address or a network; write"),
        ("trusted_proxies", "10.0.0.2/8", "has host bits set"),
        ("trusted_proxies", "10.0.0.2,", "'' is not an address"),
        ("trusted_proxies", "0.0.0.0/0", "is every address"),
        ("trusted_proxies", "::/0", "is every address"),
        ("sign_in_header", "X Forwarded User", "is not the name of a header"),
        ("sign_in_header", "X-Forwarded-User:", "is not the name of a header"),
        ("sign_in_header", "X-API-Key", "cannot name the person who calls"),
        ("sign_in_groups", "ops", "is not a group and its scopes; write ops:manage"),
        ("sign_in_groups", "ops:", "the group 'ops' has no scope"),
        ("sign_in_groups", "ops:manage,ops:send", "the group 'ops' is there twice"),
        ("sign_in_groups", "ops:admin", "'admin' of the group 'ops' is not a scope"),
        ("sign_out_url", "//evil.example", "is not a link"),
        ("sign_out_url", "javascript:alert(1)", "is not a link"),
    ],
)
def test_a_value_that_means_nothing_stops_the_start(name, text, said):
    """With the setting's name and what would be right."""
    told = [fault for fault in faults(**WHOLE | {name: text}) if fault.startswith(variable(name))]
    assert any(said in fault for fault in told), told


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"trusted_proxies": ""}, "which is not set; name the proxy"),
        ({"sign_in_header": ""}, "NOTIFIER_SIGN_IN_GROUPS_HEADER has no effect without"),
        ({"sign_in_header": ""}, "NOTIFIER_SIGN_OUT_URL has no effect without"),
        ({"sign_in_groups_header": ""}, "NOTIFIER_SIGN_IN_GROUPS has no effect without"),
        ({"sign_in_groups": ""}, "NOTIFIER_SIGN_IN_GROUPS_HEADER has no effect without"),
        ({"sign_in_groups_header": "x-forwarded-USER"}, "are the same header"),
        ({"anonymous": "anywhere"}, "nobody is anonymous"),
    ],
)
def test_invalid_settings_stop_the_start(changes, said):
    """A sign-in without proxies would believe everybody or nobody; half of it would do nothing."""
    assert any(said in fault for fault in faults(**WHOLE | changes))
