"""What providers are known to say: each row of the table, and what the guide says of it."""

import re
from pathlib import Path

import pytest

import notifier
from notifier.attempts import SLOWER, Scope, Stage
from notifier.smtp.failures import BETWEEN_US, HOPELESS, refusal, setback
from notifier.smtp.known_replies import KNOWN, MAILBOX_BUSY
from notifier.smtp.remedies import REMEDIES
from notifier.smtp.replies import Reply

PAGE = Path(notifier.__file__).parent / "guide" / "providers.md"
rows = pytest.mark.parametrize("row", KNOWN, ids=[row.like for row in KNOWN])


def judged(row, stage):
    return refusal(stage, Reply(int(row.like[:3]), row.like))


@rows
def test_each_row_matches_its_own_example(row):
    """At each of its stages, by its own row and no other; it has a remedy and a source."""
    for stage in row.stages - {Stage.CONNECT, Stage.TLS, Stage.GREETING, Stage.EHLO}:
        if row.fault not in SLOWER and stage is Stage.AUTH and row.stages != {Stage.AUTH}:
            continue  # whatever is said there is about the login
        assert judged(row, stage).name == row.fault, stage
    assert row.fault in REMEDIES
    assert row.source.startswith("https://")


@rows
def test_no_row_fails_a_message_that_another_day_or_relay_would_take(row):
    """All are the relay's trouble, or pass; only what no relay of this kind can take is final."""
    for stage in (Stage.MAIL, Stage.RCPT, Stage.DATA, Stage.DOT):
        if stage not in row.stages:
            continue
        failure = judged(row, stage)
        if row.fault == MAILBOX_BUSY:
            about = Scope.RECIPIENT if stage is Stage.RCPT else Scope.MESSAGE
            assert (failure.scope, failure.permanent) == (about, False)
        else:
            assert failure.scope is Scope.RELAY
            assert not failure.final


@rows
def test_a_row_slows_rests_or_leaves_the_relay(row):
    """What wants a person lets it rest; what is about rate never does; the rest is between us."""
    failure = judged(row, Stage.AUTH if row.stages == {Stage.AUTH} else Stage.MAIL)
    told = setback(failure, takes=False)
    if row.fault in BETWEEN_US:
        assert told is None
    elif row.fault in HOPELESS:
        assert told is not None
        assert told.at_once


@pytest.mark.parametrize(
    ("stage", "said", "name"),
    [
        (Stage.MAIL, "450 4.2.0 <a@example.org>: Greylisted, see http://postgrey.example/", ""),
        (Stage.RCPT, "452 4.2.2 The recipient's inbox is out of storage, over quota", ""),
        (Stage.RCPT, "450 4.2.1 mailbox receives at too high a rate limit", ""),
        (Stage.MAIL, "421 Too many messages in this connection", "closing"),
        (Stage.MAIL, "452 4.5.3 Too many messages sent", ""),
        (Stage.RCPT, "452 4.5.3 Too many recipients", "too_many_recipients"),
        (Stage.RCPT, "450 4.7.1 Error: too many recipients from 192.0.2.1", "throttled"),
        (Stage.MAIL, "450 4.7.1 Error: too much mail from 192.0.2.1", "throttled"),
        (Stage.MAIL, "451 4.7.1 you send too fast: 12 in 10s", "throttled"),
        (Stage.DOT, "421 4.7.28 unusual rate of unsolicited mail from 192.5.4.5", "throttled"),
        (Stage.DOT, "421 4.3.2 not now", ""),
        (Stage.GREETING, "421 Too many concurrent SMTP connections", "too_many_connections"),
        (Stage.GREETING, "421 4.3.2 not now", "greeting_refused"),
        (Stage.DOT, "550 5.7.1 seen at 10.5.4.5 as spam", ""),
        (Stage.DOT, "554 5.7.1 rate limit", ""),
    ],
)
def test_the_text_of_a_refusal_decides_its_kind(stage, said, name):
    """Of rate, of one mailbox, of one transaction, of one connection; a 5xx is never a rate."""
    assert refusal(stage, Reply(int(said[:3]), said)).name == name


def test_the_guide_lists_the_rows():
    """Each example with its fault, in the order in which they are looked at."""
    listed = re.findall(r"^\| `([^`]+)` \| `([a-z0-9_]+)` \|", PAGE.read_text(), re.MULTILINE)
    assert listed == [(row.like, row.fault) for row in KNOWN]
