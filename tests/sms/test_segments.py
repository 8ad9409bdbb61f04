"""How texts are counted and cut, held to a second implementation."""

import pytest
import smsutil
from hypothesis import example, given
from hypothesis import strategies as st

from notifier.errors import InvalidMessage
from notifier.messages import Long
from notifier.sms.segments import Encoding, Limit, count, downgrade, split

GSM = smsutil.codecs.GSM_CHARSET.replace("\x1b", "")
gsm_texts = st.text(st.sampled_from(GSM + "{}€ " * 20), max_size=700)
texts = st.one_of(
    gsm_texts,
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\x1b"), max_size=400),
    st.text(st.sampled_from("ab €é\u0301😀\u200d👩🏽\n"), max_size=400),
    # Long enough to be cut, which a text drawn letter by letter seldom is.
    st.lists(st.text("abc ", min_size=1, max_size=30), min_size=1).map(
        lambda words: "".join(words * 9)
    ),
    st.lists(st.text("aя 😀{", min_size=1, max_size=9), min_size=1).map(
        lambda words: "".join(words * 20)
    ),
)


@given(texts)
@example("a" * 160)
@example("a" * 152 + "€" + "a" * 20)
@example("я" * 66 + "😀" + "я" * 10)
def test_counts_agree_with_smsutil(text):
    """Encoding, units and segments are those that another implementation finds."""
    theirs = smsutil.split(text)
    ours = count(text)
    if text:  # it takes an empty text for UCS-2
        assert ours.encoding is (Encoding.GSM7 if theirs.encoding == "gsm0338" else Encoding.UCS2)
    width = 2 if theirs.encoding == "utf_16_be" and text else 1
    assert ours.units * width == theirs.total_bytes
    assert ours.segments == len(theirs.parts)


@pytest.mark.parametrize(
    ("text", "encoding", "segments", "units"),
    [
        ("a" * 160, "gsm-7", 1, 160),
        ("a" * 161, "gsm-7", 2, 161),
        ("a" * 306, "gsm-7", 2, 306),
        ("a" * 307, "gsm-7", 3, 307),
        ("€" * 80, "gsm-7", 1, 160),
        ("€" * 153, "gsm-7", 3, 306),  # an escape is not parted from its character: 76, 76, 1
        ("я" * 70, "ucs-2", 1, 70),
        ("я" * 71, "ucs-2", 2, 71),
        ("😀" * 35, "ucs-2", 1, 70),
        ("😀" * 67, "ucs-2", 3, 134),  # 33, 33, 1
        ("ç", "ucs-2", 1, 1),  # GSM-7 has the capital only
        ("\x1b", "ucs-2", 1, 1),
        ("", "gsm-7", 1, 0),
    ],
)
def test_counts_at_the_limits(text, encoding, segments, units):
    """160 and 153 septets, 70 and 67 code units of UTF-16."""
    counted = count(text)
    assert (counted.encoding, counted.segments, counted.units) == (encoding, segments, units)


def _make_up(parts, text, place=1):
    """Whether parts without their marks are the text; the blank before a mark may be either's."""
    if place > len(parts):
        return not text
    mark = f"({place}/{len(parts)})"
    chunk = parts[place - 1].removesuffix(mark)
    assert chunk != parts[place - 1]
    return any(
        each and text.startswith(each) and _make_up(parts, text[len(each) :], place + 1)
        for each in (chunk, chunk.removesuffix(" "))
    )


@given(texts.filter(bool))
@example("a" * 161)
@example("word " * 400)
@example("😀" * 200)
@example(("x" * 60 + "👩🏽\u200d🚒") * 20)
def test_parts_fit_and_lose_nothing(text):
    """Each part, with its mark, is one segment, and without the marks they are the text."""
    parts = split(text)
    if len(parts) == 1:
        assert parts == [text]
        assert count(text).segments == 1
        return
    assert all(count(part).segments == 1 for part in parts)
    assert _make_up(parts, text)


@given(texts.filter(bool))
def test_no_pair_is_cut(text):
    """Every part can be encoded: no half of a surrogate pair stands alone."""
    for part in split(text):
        part.encode("utf-16-be", errors="strict")


def test_parts_end_behind_words():
    """A cut falls behind a space where there is one in the second half of a part."""
    words = ["The", "quick", "brown", "fox", "jumps", "over", "the", "lazy", "dog", ""]
    parts = split(" ".join(words * 8))
    assert len(parts) == 3
    for place, part in enumerate(parts, start=1):
        mark = f" ({place}/3)"
        assert part.endswith(mark)
        assert "  (" not in part.removesuffix(mark)
        assert set(part.removesuffix(mark).split(" ")) <= set(words)


def test_marks_grow_with_the_number_of_parts():
    """With ten parts and more the room for the marks is still there."""
    parts = split("x" * 1600)
    assert parts[0].endswith(" (1/11)")
    assert parts[-1].endswith(" (11/11)")
    assert all(count(part).segments == 1 for part in parts)


def test_emoji_of_several_characters_stay_whole():
    """A skin tone, a joined emoji and an accent are not torn from what they belong to."""
    for cluster in ("👍🏽", "👩\u200d🚒", "g\u0308"):
        text = "я" * 61 + cluster + "я" * 30
        for shift in range(8):
            assert sum(cluster in part for part in split(text[shift:])) == 1


def test_a_long_text_is_refused_or_left_whole_as_asked():
    """`refuse` names the field and the figures; `send` changes nothing."""
    with pytest.raises(InvalidMessage) as refused:
        split("a" * 161, long=Long.REFUSE)
    fault = refused.value.faults[0]
    assert fault.pointer == "/text"
    assert "161 units in GSM-7" in fault.message
    assert "160" in fault.message
    assert split("a" * 161, long=Long.SEND) == ["a" * 161]
    for fits in ("a" * 160, "я" * 70, "😀" * 35, "€" * 80):
        assert split(fits, long=Long.REFUSE) == split(fits) == [fits]


def test_a_text_leaves_space_for_what_its_gateway_adds():
    """A gateway that counts the sender's address within 160 gets that much less."""
    limit = Limit.within(160, spare=30)
    assert [len(part) for part in split("x" * 131, limit=limit)] == [130, 13]
    assert split("x" * 130, limit=limit) == ["x" * 130]
    assert all(split("x" * 300, limit=Limit.within(160, spare=500)))


def test_downgrading_makes_typography_plain():
    """Quotes, dashes, dots, odd spaces and marks without a width; accents that GSM-7 has stay."""
    assert downgrade("“It’s”\u00a0—\u200b1\u20092…\ufeff") == '"It\'s" -1 2...'  # noqa: RUF001  it is the one meant
    assert downgrade("cafe\u0301") == "café"
    assert count(downgrade("“né”")).encoding is Encoding.GSM7


def test_downgrading_is_all_or_nothing():
    """Where a letter of another alphabet is left it would gain nothing, so the text stays."""
    for text in ("“да”", "👩\u200d🚒…", "naïve — no"):
        assert downgrade(text) == text


@given(texts)
def test_downgrading_ends_in_gsm_or_changes_nothing(text):
    """And doing it twice is doing it once."""
    plain = downgrade(text)
    assert plain == text or count(plain).encoding is Encoding.GSM7
    assert downgrade(plain) == plain
