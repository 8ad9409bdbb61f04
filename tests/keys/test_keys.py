"""Who may call: API keys, the file that keeps them, and how much each may ask for."""

import multiprocessing
import os
import stat
import tomllib
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from notifier.compose import address
from notifier.errors import ConfigurationError
from notifier.intake.rates import Limits
from notifier.keys import KeyKind, Keys, KeyScope, expiry, new_key
from tests.clocks import Clock

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)


# The first text that hypothesis makes takes it seconds, on a loaded machine.
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.fixture
def path(tmp_path):
    return tmp_path / "keys.toml"


@pytest.fixture
def clock():
    return Clock()


def made(path, name="billing", **terms):
    key, secret = new_key(name, now=NOW, **terms)
    Keys.read(path).add(key)
    return key, secret


def faults(call, *args, **kwargs):
    with pytest.raises(ConfigurationError) as caught:
        call(*args, **kwargs)
    return caught.value.faults


# The file


def test_without_a_file_there_is_no_key(path):
    """A missing file is no fault: nobody has made a key yet."""
    keys = Keys.read(path)
    assert not keys.configured
    assert keys.all() == ()


def test_a_key_comes_back_from_the_file_as_it_was_made(path):
    """Every term of a key is in the file, and is read again."""
    team, _ = made(
        path,
        "team",
        scopes=(KeyScope.SEND, KeyScope.READ),
        senders=("Ann@X.org", "@y.org"),
        recipient_domains=("Example.ORG",),
        recipients=("ben@example.org",),
        kind=KeyKind.TEAM,
        rate=100,
        daily=5000,
        expires=datetime(2027, 1, 1, tzinfo=timezone(timedelta(hours=2))),
    )
    live, _ = made(path, "live")
    assert Keys.read(path).all() == (team, live)
    assert team.senders == ("ann@x.org", "@y.org")
    assert team.recipient_domains == ("example.org",)


def test_the_file_holds_no_secret_and_is_ones_own(path):
    """Only the hash of a key is kept, in a file that others cannot read, with no draft left."""
    key, secret = made(path)
    assert secret.removeprefix(f"ntf_{key.id}_") not in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_a_secret_is_long_and_shows_its_id(path):
    """A key says whose it is and holds 32 random bytes."""
    key, secret = made(path)
    assert secret.startswith(f"ntf_{key.id}_")
    assert len(secret) == len(f"ntf_{key.id}_") + 43
    assert key.sha256 not in repr(key)


def test_every_fault_of_the_file_is_named_at_once(path):
    """File, key and field are in each line, so that one look mends all."""
    path.write_text(
        """
        [keys.a]
        id = "aaaaaaaaaaaa"
        sha256 = "12"
        scopes = ["send", "fly"]
        created = 2026-01-01
        senders = ["a@@x", "nobody"]
        rate = 0
        colour = "red"
        [keys."b c"]
        id = "aaaaaaaaaaab"
        [keys.c]
        id = "aaaaaaaaaaac"
        sha256 = "%s"
        scopes = ["send"]
        created = 2026-01-01
        kind = "team"
    """
        % ("0" * 64)
    )
    found = faults(Keys.read, path)
    for start in (
        "keys.a: unknown field 'colour'",
        "keys.a.sha256: ",
        "keys.a.scopes: ",
        "keys.a.senders: ",
        "keys.a.rate: ",
        "keys.b c: a name is",
        "keys.b c.sha256: is missing",
        "keys.b c.scopes: is missing",
        "keys.b c.created: is missing",
        "keys.c.recipients: ",
    ):
        assert [fault for fault in found if fault.startswith(f"{path}: {start}")], start
    assert len(found) == 10


@pytest.mark.parametrize(
    "text",
    ["keys = 1", "[keys]\na = 1", "[[keys]]", "x = 1", "[keys", "\xff", "[keys.a]\n" * 2],
)
def test_file_that_is_no_keys_file_is_reported(path, text):
    """Broken TOML, a wrong shape or a wrong encoding is a fault of settings, not a crash."""
    path.write_bytes(text.encode("latin-1"))
    assert all(fault.startswith(f"{path}: ") for fault in faults(Keys.read, path))


def test_two_keys_cannot_share_an_id(path):
    """A copied table with another name would make one of the two unusable: it is refused."""
    made(path)
    text = path.read_text()
    path.write_text(text + text[text.index("[keys.") :].replace("[keys.billing]", "[keys.copy]"))
    assert len(faults(Keys.read, path)) == 2


def test_a_name_is_given_once(path):
    """A second key of the same name is refused, and the first is as it was."""
    key, _ = made(path)
    assert "already" in faults(made, path)[0]
    assert Keys.read(path).all() == (key,)


@pytest.mark.parametrize(
    ("terms", "field"),
    [
        ({"scopes": ()}, "scopes"),
        ({"rate": 0}, "rate"),
        ({"daily": -1}, "daily"),
        ({"senders": ("x.org",)}, "senders"),
        ({"senders": ('a"b@x.org',)}, "senders"),
        ({"senders": ("a@x..org",)}, "senders"),
        ({"recipient_domains": ("a@x.org",)}, "recipient_domains"),
        ({"kind": KeyKind.TEAM}, "recipients"),
        ({"recipients": ("a@x.org",)}, "recipients"),
    ],
)
def test_a_key_that_makes_no_sense_is_not_made(terms, field):
    """What the file would be faulted for is refused when it is made, by the field's name."""
    assert faults(new_key, "k", now=NOW, **terms)[0].startswith(f"keys.k.{field}: ")


names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", fullmatch=True)
locals_ = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=20)


@unhurried
@given(name=st.text(max_size=70) | names, local=locals_, rate=st.none() | st.integers(1, 10**6))
def test_every_key_survives_the_file(tmp_path_factory, name, local, rate):
    """What can be made can be written and read; what cannot is refused by name."""
    path = tmp_path_factory.mktemp("keys") / "keys.toml"
    try:
        key, _ = new_key(name, now=NOW, senders=(f"{local}@x.org",), rate=rate)
    except ConfigurationError:
        return
    Keys.read(path).add(key)
    assert Keys.read(path).all() == (key,)
    tomllib.loads(path.read_text())


def _add(path, name):
    key, _ = new_key(name, now=NOW)
    Keys.read(path).add(key)


def test_keys_added_at_the_same_time_are_all_kept(path):
    """The file is read again under its lock: four processes, twenty keys, all of them there."""
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        pool.starmap(_add, [(path, f"k{number}") for number in range(20)])
    assert {key.name for key in Keys.read(path).all()} == {f"k{number}" for number in range(20)}


def test_a_link_to_the_file_stays_a_link(path):
    """A file that is kept elsewhere is changed where it is."""
    elsewhere = path.parent / "elsewhere"
    elsewhere.mkdir()
    path.symlink_to(elsewhere / "keys.toml")
    made(path)
    assert path.is_symlink()
    assert len(Keys.read(elsewhere / "keys.toml").all()) == 1


def test_a_folder_that_is_not_there_is_named(path):
    """Writing where one cannot is a fault of settings."""
    assert "nowhere" in faults(made, path.parent / "nowhere" / "keys.toml")[0]


@pytest.mark.parametrize("mode", [0o602, 0o622, 0o666])
def test_a_file_that_everybody_may_write_is_refused(path, mode):
    """Any user of the machine could make a key; the error says what to do."""
    made(path)
    path.chmod(mode)
    (fault,) = faults(Keys.read, path)
    assert fault.startswith(f"{path}: every user of this machine may write it (mode {mode:04o})")
    assert fault.endswith("chmod 600")
    path.chmod(0o644)
    assert len(Keys.read(path).all()) == 1


def test_a_file_that_its_group_may_write_is_warned_of(path):
    """Who is in it may be meant."""
    made(path)
    path.chmod(0o660)
    with capture_logs() as logs:
        assert len(Keys.read(path).all()) == 1
    assert [each["event"] for each in logs] == ["keys_writable"]


def test_a_key_is_on_disk_before_it_is_shown(path, monkeypatch):
    """The file's content, and then its name in the folder."""
    synced = []
    real = os.fsync

    def fsync(descriptor):
        found = os.fstat(descriptor)
        content = not stat.S_ISDIR(found.st_mode) and found.st_size > 0
        synced.append(content or (path.exists() and "folder"))
        real(descriptor)

    monkeypatch.setattr("notifier.keys.file.os.fsync", fsync)
    made(path)
    assert synced == [True, "folder"]


domains = st.lists(
    st.text(
        st.characters(codec="utf-8", categories=("L", "N", "M")) | st.sampled_from("ßςıİａß-"),
        min_size=1,
        max_size=8,
    ),
    min_size=1,
    max_size=3,
).map(".".join)


@unhurried
@given(written=domains, other=domains)
@example(written="straße.example", other="strasse.example")
@example(written="STRASSE.example", other="straße.example")
@example(written="βόλος.example", other="βόλοσ.example")
@example(written="ﬁ.example", other="fi.example")
def test_a_rule_allows_exactly_the_domain_that_is_written(written, other):
    """As an address of that domain is composed: two domains that differ on the wire differ here."""
    try:
        key, _ = new_key("k", now=NOW, senders=(f"@{written}",), recipient_domains=(written,))
        allowed = address(f"a@{written}").spec
    except (ConfigurationError, ValueError):
        return  # no domain that anybody could write to
    assert key.may_send_as(allowed)
    assert not key.objection_to_recipient(allowed)
    try:
        another = address(f"a@{other}").spec
    except ValueError:
        return
    same = another.rpartition("@")[2] == allowed.rpartition("@")[2]
    assert key.may_send_as(another) is same
    assert (not key.objection_to_recipient(another)) is same


# Who calls


def test_only_the_whole_key_is_accepted(path):
    """A wrong secret, another's id, a cut key and any other text open nothing."""
    key, secret = made(path)
    other, _ = made(path, "other")
    keys = Keys.read(path)
    assert keys.authenticate(secret, NOW) == key
    for wrong in (
        secret[:-1],
        secret + "A",
        secret.replace(key.id, other.id),
        secret.upper(),
        f"ntf_{key.id}_",
        f"ntf_{key.id}",
        "ntf_",
        "",
        key.sha256,
        f" {secret}",
    ):
        assert keys.authenticate(wrong, NOW) is None, wrong


@unhurried
@given(st.text())
def test_no_text_breaks_the_listener(text):
    """Whatever is presented is judged, never raised at."""
    keys = Keys(Clock(), clock=Clock())
    assert keys.authenticate(text, NOW) is None
    assert keys.why_not(text, NOW)


def test_the_holder_of_a_lapsed_key_learns_why(path):
    """The holder learns whether it has expired or was revoked. Others do not."""
    _, secret = made(path, expires=NOW)
    keys = Keys.read(path)
    assert keys.authenticate(secret, NOW - timedelta(seconds=1)) is not None
    assert keys.authenticate(secret, NOW) is None
    assert "expired on 2026-05-01 12:00 UTC" in keys.why_not(secret, NOW)
    keys.revoke("billing", NOW)
    assert keys.authenticate(secret, NOW - timedelta(days=1)) is None
    assert "revoked" in keys.why_not(secret, NOW)
    assert keys.why_not(secret[:-1] + "!", NOW) == "this service has no such key"
    assert "begin with ntf_" in keys.why_not("Basic xyz", NOW)


def test_revoking_is_for_good_and_knows_its_names(path):
    """A second revoking leaves the first date; an unknown name is answered with the known ones."""
    made(path)
    keys = Keys.read(path)
    keys.revoke("billing", NOW)
    assert keys.revoke("billing", NOW + timedelta(days=1)).revoked == NOW
    assert "known: billing" in faults(keys.revoke, "biling", NOW)[0]
    assert Keys.read(path).configured


def test_an_expiry_is_a_day_or_a_moment():
    """A day counts to its end; a time without a zone is UTC's; anything else is refused."""
    assert expiry("2027-01-31") == datetime(2027, 2, 1, tzinfo=UTC)
    assert expiry("2027-01-31T12:00:00+01:00") == datetime(2027, 1, 31, 11, tzinfo=UTC)
    assert expiry("2027-01-31T12:00") == datetime(2027, 1, 31, 12, tzinfo=UTC)
    assert "tomorrow" in faults(expiry, "tomorrow")[0]


# Reloading


def test_a_key_made_or_revoked_while_we_run_is_taken_up(path, clock):
    """The server needs no restart; it looks once a second."""
    keys = Keys.read(path, clock=clock)
    _, secret = made(path)
    assert not keys.reload_if_changed()
    clock.now += 1
    assert keys.reload_if_changed()
    assert keys.authenticate(secret, NOW) is not None
    Keys.read(path).revoke("billing", NOW)
    assert not keys.reload_if_changed()
    clock.now += 1
    assert keys.reload_if_changed()
    assert keys.authenticate(secret, NOW) is None
    clock.now += 1
    assert not keys.reload_if_changed()


@pytest.mark.parametrize("after", ["[keys", "", None, "[keys.a]\nid = 1"])
def test_a_bad_new_file_changes_nothing(path, clock, after):
    """Broken, emptied or deleted: the old keys stay, so that no slip opens the service."""
    _, secret = made(path)
    keys = Keys.read(path, clock=clock)
    path.unlink() if after is None else path.write_text(after)
    clock.now += 1
    assert not keys.reload_if_changed()
    assert keys.configured
    assert keys.authenticate(secret, NOW) is not None
    made_again, _ = new_key("next", now=NOW)
    path.unlink(missing_ok=True)
    Keys.read(path).add(made_again)
    clock.now += 1
    assert keys.reload_if_changed()
    assert keys.all() == (made_again,)


# What a key opens


def test_manage_includes_read_and_nothing_includes_send():
    """Who may cancel may look; sending is always said."""
    key, _ = new_key("k", now=NOW, scopes=(KeyScope.MANAGE,))
    assert key.may(KeyScope.READ)
    assert key.may(KeyScope.MANAGE)
    assert not key.may(KeyScope.SEND)
    assert (
        key.objection_to_scope(KeyScope.SEND) == "the key 'k' lacks the scope 'send'; it has manage"
    )
    reader, _ = new_key("r", now=NOW, scopes=(KeyScope.READ,))
    assert not reader.may(KeyScope.MANAGE)
    assert not reader.objection_to_scope(KeyScope.READ)


def test_senders_are_addresses_or_whole_domains():
    """An exact address, or any of exactly that domain; case and the writing of IDNs are alike."""
    key, _ = new_key("k", now=NOW, senders=("ann@x.org", "@y.org", "@müller.de"))
    for allowed in ("ann@x.org", "ANN@X.ORG", "who@Y.org", "a@xn--mller-kva.de", "a@Müller.de"):
        assert key.may_send_as(allowed), allowed
    for refused in (
        "ben@x.org",
        "a@sub.y.org",
        "a@yy.org",
        "ann@x.org.evil",
        "y.org",
        "@y.org",
        "",
        "@",
        "a@",
    ):
        assert not key.may_send_as(refused), refused
    assert "its senders are ann@x.org, @y.org" in key.objection_to_sender("ben@x.org")
    assert key.default_sender == "ann@x.org"


def test_an_empty_list_allows_any():
    """A key without lists is bound by its scopes and rates alone."""
    key, _ = new_key("k", now=NOW)
    assert key.may_send_as("who@ever.org")
    assert not key.objection_to_recipient("who@ever.org")
    assert key.default_sender is None


def test_recipients_are_held_to_the_allow_list():
    """Only the listed domains; the reason names the list."""
    key, _ = new_key("k", now=NOW, recipient_domains=("@example.org", "y.org"))
    assert not key.objection_to_recipient("a@EXAMPLE.org")
    assert key.objection_to_recipient("a@sub.example.org")
    assert "recipient_domains are example.org, y.org" in key.objection_to_recipient("a@z.org")


def test_a_team_key_writes_to_its_team_alone():
    """Both rules hold for a team key with domains; the simulator is open to every key."""
    key, _ = new_key(
        "k",
        now=NOW,
        kind=KeyKind.TEAM,
        recipients=("ben@x.org", "@y.org"),
        recipient_domains=("x.org",),
    )
    assert not key.objection_to_recipient("Ben@x.org")
    assert "'team'" in key.objection_to_recipient("ann@x.org")
    assert "recipient_domains" in key.objection_to_recipient("a@y.org")
    assert not key.objection_to_recipient("success+label@simulator.notifier")


# How much


def test_a_quota_can_be_used_at_once_and_flows_in_again(clock):
    """Sixty a minute: sixty now, then one a second."""
    limits = Limits(clock=clock)
    for left in reversed(range(60)):
        verdict = limits.take("k", rate=60, daily=None)
        assert verdict.allowed
        assert verdict.standings[0].remaining == left
    refused = limits.take("k", rate=60, daily=None)
    assert not refused.allowed
    assert refused.retry_after == 1
    clock.now += 1
    assert limits.take("k", rate=60, daily=None).allowed
    assert not limits.take("k", rate=60, daily=None).allowed


def test_headers_say_what_is_left(clock):
    """RateLimit-Policy and RateLimit as the draft writes them; Retry-After with a refusal."""
    limits = Limits(clock=clock)
    verdict = limits.take("k", rate=100, daily=1000, n=50)
    assert verdict.headers() == {
        "RateLimit-Policy": '"minute";q=100;w=60, "day";q=1000;w=86400',
        "RateLimit": '"minute";r=50;t=30, "day";r=950;t=4320',
    }
    refused = limits.take("k", rate=100, daily=1000, n=80)
    assert refused.headers()["Retry-After"] == "18"
    assert limits.take("free", rate=None, daily=None).headers() == {}


def test_a_batch_is_let_in_whole_or_not_at_all(clock):
    """A refused batch takes from no bucket, not even from one that would have had enough."""
    limits = Limits(clock=clock)
    limits.take("k", rate=100, daily=60, n=50)
    assert not limits.take("k", rate=100, daily=60, n=20).allowed
    after = limits.take("k", rate=100, daily=60, n=10)
    assert [standing.remaining for standing in after.standings] == [40, 0]


def test_request_that_can_never_be_allowed_is_reported(clock):
    """The error says that a batch above the quota never fits, and gives no time to wait."""
    refused = Limits(clock=clock).take("k", rate=10, daily=100, n=11)
    assert not refused.possible
    assert "11 at once are more than the key's rate ever allows" in refused.reason
    assert "Retry-After" not in refused.headers()
    limits = Limits(clock=clock)
    limits.take("k", rate=10, daily=11, n=10)
    assert not limits.take("k", rate=10, daily=11, n=11).possible


def test_a_refund_gives_back_what_was_taken(clock):
    """A message refused for another reason costs nothing; a refund never exceeds the quota."""
    limits = Limits(clock=clock)
    limits.take("k", rate=10, daily=10, n=10)
    limits.refund("k", 4)
    assert limits.take("k", rate=10, daily=10, n=4).allowed
    limits.refund("k", 100)
    limits.refund("unknown")
    assert not limits.take("k", rate=10, daily=10, n=11).allowed


def test_callers_do_not_share(clock):
    """One key's use leaves another's alone."""
    limits = Limits(clock=clock)
    limits.take("a", rate=1, daily=None)
    assert limits.take("b", rate=1, daily=None).allowed


def test_a_changed_quota_holds_at_once(clock):
    """A lower rate cuts the tokens at once; a higher one fills faster, without extra tokens."""
    limits = Limits(clock=clock)
    limits.take("k", rate=100, daily=None, n=1)
    assert not limits.take("k", rate=10, daily=None, n=11).allowed
    limits.take("k", rate=10, daily=None, n=10)
    assert not limits.take("k", rate=6000, daily=None).allowed
    clock.now += 1
    assert limits.take("k", rate=6000, daily=None, n=100).allowed


@unhurried
@given(
    rate=st.integers(1, 1000),
    steps=st.lists(st.tuples(st.floats(0, 90), st.integers(1, 50)), max_size=60),
)
def test_no_window_lets_more_through_than_twice_the_quota(rate, steps):
    """Whatever comes when: in any minute at most the quota twice; Retry-After keeps its word."""
    clock = Clock()
    limits = Limits(clock=clock)
    let_in = []
    for pause, n in steps:
        clock.now += pause
        verdict = limits.take("k", rate=rate, daily=None, n=n)
        if not verdict.allowed and verdict.possible:
            clock.now += verdict.retry_after
            verdict = limits.take("k", rate=rate, daily=None, n=n)
            assert verdict.allowed
        if verdict.allowed:
            let_in.append((clock.now, n))
        assert sum(n for at, n in let_in if at > clock.now - 60) <= 2 * rate
        assert 0 <= verdict.standings[0].remaining <= rate
