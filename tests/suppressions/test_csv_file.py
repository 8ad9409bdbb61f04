"""The list as CSV: what is written is read again, and no file is more than wrong."""

import contextlib
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from notifier.compose import address
from notifier.errors import InvalidMessage
from notifier.suppressions import Reason, Suppression, read_address
from notifier.suppressions.csv_file import COLUMNS, read, written
from notifier.suppressions.suppression import names_of

NOW = datetime(2027, 1, 1, 12, tzinfo=UTC)
SECONDS = st.integers(1, 3_000_000_000)
LOCAL = st.text(st.sampled_from("abzAZ09!#$%&'*+-/=?^_`{|}~üß"), min_size=1, max_size=20)
SUPPRESSIONS = st.builds(
    Suppression,
    address=st.one_of(
        LOCAL.map(lambda local: f"{local.lower()}@example.org"),
        st.just("@example.org"),
        st.integers(10**6, 10**14 - 1).map(lambda digits: f"+1{digits}"),
    ),
    reason=st.sampled_from(Reason),
    key=st.sampled_from(["", "shop", "A-1_b"]),
    since=st.integers(0, 1_700_000_000).map(lambda at: datetime.fromtimestamp(at, UTC)),
    until=st.none() | SECONDS.map(lambda seconds: NOW + timedelta(seconds=seconds)),
    source=st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), max_size=50).map(
        str.strip
    ),
)


@given(st.lists(SUPPRESSIONS, max_size=5))
def test_written_values_are_read_again(suppressions):
    """Whatever stands in it; but for a source that is empty, which becomes the reader's."""
    found = read(written(suppressions).encode(), now=NOW, source="")
    assert found == suppressions


@given(
    st.one_of(
        st.binary(max_size=200),
        st.text(max_size=200).map(str.encode),
        st.lists(
            st.sampled_from([*COLUMNS, "a@x.org", ",", "\n", '"', "\r", "1"]), max_size=30
        ).map(lambda parts: "".join(parts).encode()),
    )
)
def test_any_file_is_read_or_refused(content):
    """With InvalidMessage, which is a 422; what is read is fit for the list."""
    with contextlib.suppress(InvalidMessage):
        for each in read(content, now=NOW, source="x"):
            assert read_address(each.address) == each.address


@given(LOCAL, st.sampled_from(["example.org", "EXAMPLE.org", "bücher.example"]))
def test_a_recipient_is_found_under_the_name_that_is_listed(local, domain):
    """As it is composed into an envelope, whatever its case and spelling."""
    text = f"{local}@{domain}"
    try:
        recipient = address(text).spec
    except ValueError:
        return
    assert read_address(text) == names_of(recipient)[0]
