"""The map of carriers, and an operator's changes to it."""

import contextlib
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import notifier
from notifier.errors import ConfigurationError, InvalidMessage
from notifier.sms.gateway.carriers import Carriers, GatewayStatus, Quirk

TODAY = date(2026, 11, 25)
KNOWN = Carriers.read()


def _written(tmp_path, text):
    path = tmp_path / "carriers.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("written", "id"),
    [
        ("Verizon", "verizon"),
        ("VERIZON wireless", "verizon"),
        ("at&t", "att"),
        ("A.T.T.", "att"),
        ("AT and T", "att"),
        ("t mobile", "tmobile"),
        ("T-Mobile", "tmobile"),
        ("u.s. cellular", "us_cellular"),
        ("us_cellular", "us_cellular"),
        ("Télus", "telus"),
    ],
)
def test_a_carrier_is_found_by_each_of_its_names(written, id):
    """Case, punctuation and accents do not matter."""
    assert KNOWN.find(written).id == id


@given(st.sampled_from(KNOWN.all()), st.sampled_from([" ", "-", ".", "_", "'"]), st.data())
def test_punctuation_does_not_hide_a_carrier(carrier, mark, data):
    """Any mark may stand anywhere in any of its names."""
    name = data.draw(st.sampled_from(carrier.names))
    place = data.draw(st.integers(0, len(name)))
    assert KNOWN.find((name[:place] + mark + name[place:]).swapcase()) is carrier


def test_an_unknown_carrier_is_answered_with_the_known_ones():
    """The fault names the field, the nearest name, and all there are."""
    with pytest.raises(InvalidMessage) as refused:
        KNOWN.find("Verison")
    (fault,) = refused.value.faults
    assert fault.pointer == "/carrier"
    assert "did you mean Verizon?" in fault.message
    assert all(carrier.name in fault.message for carrier in KNOWN.all())


@given(st.text(max_size=60))
def test_any_name_is_found_or_refused(name):
    """An unknown name raises InvalidMessage and nothing else."""
    with contextlib.suppress(InvalidMessage):
        assert KNOWN.find(name) in KNOWN.all()


def test_a_dead_gateway_is_refused_since_when_and_by_which_source():
    """AT&T closed its gateway on 2025-06-17."""
    with pytest.raises(InvalidMessage) as refused:
        KNOWN.find("AT&T").check(TODAY)
    (fault,) = refused.value.faults
    assert fault.pointer == "/carrier"
    assert "is dead since 2025-06-17" in fault.message
    assert "KM1061254" in fault.message


def test_a_sunset_is_a_warning_until_its_day_and_then_the_end():
    """Verizon's is announced for 2027-03-31; from that day on it is dead."""
    verizon = KNOWN.find("Verizon")
    (warning,) = verizon.check(date(2027, 3, 30))
    assert "is being shut down on 2027-03-31" in warning
    with pytest.raises(InvalidMessage, match="dead since 2027-03-31"):
        verizon.check(date(2027, 3, 31))
    assert verizon.status_on(date(2027, 3, 31)) is GatewayStatus.DEAD
    listed = {each.id: each.status for each in KNOWN.all(date(2027, 3, 31))}
    assert listed["verizon"] is GatewayStatus.DEAD
    assert listed["bell"] is GatewayStatus.SUNSET


def test_a_sunset_without_a_day_stays_a_warning():
    """Nobody said when Bell's ends, so it is not for us to say that it has."""
    (warning,) = KNOWN.find("Bell").check(date(2040, 1, 1))
    assert "is being shut down, says" in warning


def test_facts_of_a_gateway_hold_for_each_of_its_carriers():
    """Straight Talk's customers are on Verizon's gateway, Chatr's on Rogers'."""
    straight, verizon = KNOWN.find("Straight Talk"), KNOWN.find("Verizon")
    assert straight.sms == verizon.sms
    assert straight.status is GatewayStatus.SUNSET
    assert straight.quirks == verizon.quirks
    with pytest.raises(InvalidMessage, match="Chatr"):
        KNOWN.find("Chatr").check(TODAY)


def test_every_entry_has_its_evidence():
    """A status other than `unknown` is somebody's word; nothing is asserted without a date."""
    for carrier in KNOWN.all():
        assert carrier.source
        assert carrier.checked
        if carrier.status is GatewayStatus.DEAD:
            assert carrier.effective
        if carrier.status not in (GatewayStatus.UNKNOWN, GatewayStatus.SUNSET):
            assert "public gateway lists" not in carrier.source
    for name in ("Sprint", "Nextel", "Alltel", "Rogers", "Fido", "Ting"):
        assert KNOWN.find(name).status is GatewayStatus.DEAD
    assert KNOWN.find("Google Fi").status is GatewayStatus.ACTIVE
    assert KNOWN.find("T-Mobile").status is GatewayStatus.DEGRADED
    assert "lose or refuse" in KNOWN.find("T-Mobile").check(TODAY)[0]
    assert KNOWN.find("Cricket").check(TODAY) == ()


def test_an_operator_changes_and_extends_the_map_field_by_field(tmp_path):
    """A status that is said anew loses the old one's date and source; the rest is kept."""
    path = _written(
        tmp_path,
        """
        [att]
        status = "active"
        source = "our contract of 2026"
        [verizon]
        limit = 140
        [acme]
        names = ["ACME Mobile"]
        sms = "sms.acme.example"
        country = "DE"
        quirks = ["address_counts"]
        """,
    )
    carriers = Carriers.read(path)
    att = carriers.find("AT&T")
    assert att.check(TODAY) == ()
    assert (att.effective, att.source, att.note) == (None, "our contract of 2026", None)
    assert att.sms == "txt.att.net"
    verizon = carriers.find("Verizon")
    assert (verizon.limit, verizon.effective) == (140, date(2027, 3, 31))
    acme = carriers.find("acme-mobile")
    assert acme.quirks == (Quirk.ADDRESS_COUNTS,)
    assert acme.status is GatewayStatus.UNKNOWN
    assert len(carriers.all()) == len(KNOWN.all()) + 1


def test_the_file_that_the_guide_shows_is_one(tmp_path):
    """It changes one carrier and adds another, field by field."""
    page = (Path(notifier.__file__).parent / "guide/text-messages.md").read_text(encoding="utf-8")
    shown = page.partition("`NOTIFIER_CARRIERS` names a TOML file")[2]
    carriers = Carriers.read(_written(tmp_path, shown.split("```")[1].removeprefix("toml\n")))
    changed = carriers.find("T-Mobile")
    assert changed.status is GatewayStatus.DEAD
    assert changed.sms == KNOWN.find("T-Mobile").sms
    assert carriers.find("acme").sms == "sms.acme.example"


def test_all_faults_of_an_operators_file_are_reported_at_once(tmp_path):
    """Each with the setting, the file, the entry and the field."""
    path = _written(
        tmp_path,
        """
        loose = 1
        [verizon]
        status = "tired"
        limit = 0
        [acme]
        nmaes = ["ACME"]
        sms = "not a domain"
        country = "XX"
        [gone]
        names = ["Gone"]
        sms = "gone.example"
        status = "dead"
        [copy]
        names = ["at&t"]
        sms = "copy.example"
        [guest]
        names = ["Guest"]
        host = "nobody"
        [friend]
        names = ["Friend"]
        host = "straight_talk"
        """,
    )
    with pytest.raises(ConfigurationError) as wrong:
        Carriers.read(path)
    faults = [each.removeprefix(f"NOTIFIER_CARRIERS: {path}: ") for each in wrong.value.faults]
    assert all(each.startswith("NOTIFIER_CARRIERS: ") for each in wrong.value.faults)
    begun = [
        "loose: must be a table",
        "verizon: status: ",
        "verizon: limit: ",
        "acme: nmaes: unknown field; did you mean names?",
        "acme: sms: ",
        "acme: names: is missing",
        "acme: country: 'XX'",
        "gone: effective: is missing",
        "copy: names: 'at&t' already names att",
        "guest: host: no carrier with a gateway of its own is called 'nobody'",
        "friend: host: no carrier with a gateway of its own is called 'straight_talk'",
    ]
    for each in begun:
        assert any(fault.startswith(each) for fault in faults), each
    assert len(faults) == len(begun)


@pytest.mark.parametrize("text", ["[att\n", "\x00", "att = 1\natt = 2"])
def test_a_file_that_is_no_toml_is_a_fault_of_the_setting(tmp_path, text):
    """And so is one that is not there, or not UTF-8."""
    with pytest.raises(ConfigurationError, match="NOTIFIER_CARRIERS"):
        Carriers.read(_written(tmp_path, text))
    with pytest.raises(ConfigurationError, match="No such file"):
        Carriers.read(tmp_path / "none.toml")
    (tmp_path / "latin.toml").write_bytes(b"# \xff")
    with pytest.raises(ConfigurationError, match="NOTIFIER_CARRIERS"):
        Carriers.read(tmp_path / "latin.toml")
