"""Return paths, and the tokens that name message and recipient."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.verp import LOCAL_OCTETS, Verp, read_return_path

PATH = "bounces+*@example.org"
ID = "019a2205695bb8264e2db0a75293404d"
ids = st.binary(min_size=16, max_size=16).map(bytes.hex)
VERP = Verp(b"a secret")


@given(ids, st.text(max_size=80), st.booleans())
def test_a_token_names_message_and_recipient(id, address, shout):
    """Also when a server on the way has changed the case of the address."""
    made = VERP.address(PATH, id, address)
    mark = VERP.read_address(PATH, made.upper() if shout else made)
    assert mark.id == id
    assert mark.names(address)
    assert not mark.names(address + "x")


@given(ids, st.integers(0, 44), st.sampled_from("abcdefghijklmnopqrstuvwxyz234567"))
def test_changed_token_is_rejected(id, place, letter):
    """Any changed character makes it invalid; of the last one a single bit counts."""
    token = VERP.token(id, "ann@example.org")
    changed = token[:place] + letter + token[place + 1 :]
    read = VERP.read(changed)
    assert read is None or changed == token or read == VERP.read(token)


@given(st.text(max_size=60))
def test_addresses_of_others_are_no_tokens(text):
    """Any text may stand where a token should."""
    assert VERP.read(text) is None
    assert VERP.read_address(PATH, text) is None


def test_token_of_another_secret_is_rejected():
    """Without the secret no valid token can be made."""
    assert VERP.read(Verp(b"another").token(ID, "ann@example.org")) is None


def test_address_of_another_path_is_rejected():
    """The token alone is not enough."""
    made = VERP.address(PATH, ID, "ann@example.org")
    assert VERP.read_address("returns+*@example.org", made) is None
    assert VERP.read_address("bounces@example.org", made) is None


def test_a_path_without_a_star_stays_as_it_is():
    """It names nobody."""
    assert VERP.address("bounces@example.org", ID, "ann@example.org") == "bounces@example.org"


def test_an_id_that_is_not_ours_makes_no_token():
    """It would name nothing."""
    with pytest.raises(ValueError, match="id of a message"):
        VERP.token("abc123", "ann@example.org")


@pytest.mark.parametrize(
    ("text", "read"),
    [
        (PATH, PATH),
        ("Bounces@Example.ORG", "Bounces@example.org"),
        ("bounces@bücher.example", "bounces@xn--bcher-kva.example"),
        ("*@b.example", "*@b.example"),
        ("b" * 19 + "*@example.org", "b" * 19 + "*@example.org"),
        ("b" * 64 + "@example.org", "b" * 64 + "@example.org"),
    ],
)
def test_return_paths(text, read):
    """They are addresses, with at most one star; their domain is written in ASCII."""
    assert read_return_path(text) == read
    assert len(VERP.address(read, ID, "ann@example.org").partition("@")[0]) <= LOCAL_OCTETS


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("bounces", "not a bare address"),
        ("Bounces <bounces@example.org>", "not a bare address"),
        ("a@b@example.org", "not a bare address"),
        ("bounces@example..org", "not a bare address"),
        ("bounces@*.example.org", "not a bare address"),
        ("büro@example.org", "not a bare address"),
        ("bounces\r\n@example.org", "not a bare address"),
        ("*+*@example.org", "more than one"),
        ("b" * 20 + "*@example.org", "more than 19 characters beside"),
        ("b" * 65 + "@example.org", "more than 64 characters before"),
        ("b@" + ".".join(["e" * 60] * 5), "too long"),
    ],
)
def test_invalid_return_path_is_rejected(text, wrong):
    """It is refused in words that say what to write."""
    with pytest.raises(ValueError, match=wrong):
        read_return_path(text)
