"""What is a number, and what is said of one that is none."""

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.errors import InvalidMessage
from notifier.sms.numbers import calling_code, is_region, parse


@pytest.mark.parametrize(
    ("text", "region", "e164", "national"),
    [
        ("+12025550123", None, "+12025550123", "2025550123"),
        (" +1 (202) 555-0123 ", None, "+12025550123", "2025550123"),
        ("202-555-0123", "US", "+12025550123", "2025550123"),
        ("1 202.555.0123", "US", "+12025550123", "2025550123"),
        ("416 555 0123", "CA", "+14165550123", "4165550123"),
        ("01512 3456789", "DE", "+4915123456789", "15123456789"),
        ("011 44 7400 123456", "US", "+447400123456", "7400123456"),
        ("+390612345678", "US", "+390612345678", "0612345678"),
        ("(+44) 20 7946 0958", "US", "+442079460958", "2079460958"),
        ("( +44 20 7946 0958 )", None, "+442079460958", "2079460958"),
        ("+44 (0)20 7946 0958", None, "+442079460958", "2079460958"),
        ("\u202a+1 202 555 0123\u202c", None, "+12025550123", "2025550123"),
        ("\u200e(202) 555-0123\u200f", "US", "+12025550123", "2025550123"),
        ("\ufeff+1202\u00ad555\u200b0123", None, "+12025550123", "2025550123"),
        ("\uff0b\uff11\uff12\uff10\uff12 5550123", None, "+12025550123", "2025550123"),
        ("\uff08\uff0b44\uff09\u300020\uff0d79460958", None, "+442079460958", "2079460958"),
        ("+44\u221220\u22127946\u22120958", None, "+442079460958", "2079460958"),
    ],
)
def test_numbers_are_read_as_people_write_them(text, region, e164, national):
    """E.164 wherever one is; national ones as they are dialled in the region."""
    number = parse(text, region=region)
    assert (number.e164, number.national) == (e164, national)
    assert e164.startswith(f"+{number.country}")


@pytest.mark.parametrize(
    ("text", "region", "wrong"),
    [
        ("2025550123", None, "no region is set (NOTIFIER_SMS_REGION)"),
        ("202555012", "US", "is too short for a number in US"),
        ("+120255501", None, "is too short for a number in US"),
        ("20255501234", "US", "is too long for a number in US"),
        ("+1202555012345678901", None, "is too long"),
        ("5550123", "US", "lacks its area code for a number in US"),
        ("+19995550123", None, "is not a valid number in US"),
        ("1234567890", "US", "is not a valid number in US"),
        ("+99912345678", None, "does not begin with the calling code of a country"),
        ("1-800-FLOWERS", "US", "is not a telephone number"),
        ("ann@example.org", "US", "is not a telephone number"),
        ("+", None, "is not a telephone number"),
        ("(+)", "US", "is not a telephone number"),
        ("++12025550123", "US", "is not a telephone number"),
        ("1+2025550123", "US", "is not a telephone number"),
        ("\u202a\u202c", "US", "is not a telephone number"),
        ("", "US", "is not a telephone number"),
        ("+1 202 555 0123 ext. 5", None, "is not a telephone number"),
    ],
)
def test_the_fault_of_a_wrong_number_is_named(text, region, wrong):
    """The fault names the field, repeats the number, and says what is wrong with it."""
    with pytest.raises(InvalidMessage) as refused:
        parse(text, region=region, pointer="/to")
    (fault,) = refused.value.faults
    assert fault.pointer == "/to"
    assert wrong in fault.message
    assert repr(text.strip()) in fault.message


@given(st.text(max_size=40), st.sampled_from([None, "US", "CA", "DE", "GB"]))
def test_any_text_is_a_number_or_refused(text, region):
    """Nothing but InvalidMessage comes of it, and what passes is a number that can exist."""
    try:
        number = parse(text, region=region)
    except InvalidMessage:
        return
    assert phonenumbers.is_valid_number(phonenumbers.parse(number.e164))


UNSEEN = st.text(st.characters(categories=["Cf"]), max_size=3)
WIDE = {ord(char): chr(0xFF00 + ord(char) - 0x20) for char in "+()-./0123456789"}


@given(
    st.sampled_from(["+12025550123", "(+44) 20 7946 0958", "202-555-0123", "20255501", "+", "a1"]),
    st.data(),
)
def test_invisible_characters_change_nothing(text, data):
    """Marks of direction and the like, wherever they stand; and full-width forms."""
    marked = "".join(data.draw(UNSEEN) + char for char in text) + data.draw(UNSEEN)
    assert _outcome(marked, "US") == _outcome(text, "US")
    assert _outcome(text.translate(WIDE), "US") == _outcome(text, "US")


ALMOST = st.text(
    st.sampled_from("+\uff0b()0123456789 -.\u202a\u0661\u0be7\u00b2\u2460\U0001d7d8;=x,*#")
    | st.characters(categories=["Nd", "Zs", "Cf", "Pd"]),
    max_size=24,
)


@given(ALMOST, st.sampled_from([None, "US", "DE", "AQ", "001"]))
def test_text_is_read_as_a_number_or_rejected(text, region):
    """Digits of every script among what stands between them; a region without numbers, too."""
    try:
        number = parse(text, region=region)
    except InvalidMessage:
        return
    assert number.e164.isascii()
    assert number.e164 == f"+{number.country}{number.national}"


@given(
    st.sampled_from(["+1202555", "+1416555", "+447400", "+4915123"]),
    st.text("0123456789", min_size=3, max_size=8),
    st.lists(st.sampled_from([" ", "-", ".", "(", ")"]), max_size=6),
)
def test_punctuation_changes_nothing(prefix, digits, marks):
    """Spaces, dashes, dots and brackets are passed over, wherever they stand behind the +."""
    plain = prefix + digits
    spread = plain[:2] + "".join(marks) + plain[2:]
    assert _outcome(spread) == _outcome(plain)


def _outcome(text, region=None):
    try:
        return parse(text, region=region)
    except InvalidMessage as error:
        return error.faults[0].message.partition("' ")[2]


def test_regions():
    """A region is one whose numbers are known."""
    assert is_region("US")
    assert not is_region("XX")
    assert calling_code("US") == calling_code("CA") == 1
    assert calling_code("DE") == 49
