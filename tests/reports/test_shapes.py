"""What mail servers write is understood in each shape; and what is no report is not."""

import random
from functools import partial

import pytest

from notifier.recipients import Later
from notifier.reports import class_of
from notifier.reports.matching import has_token, subject_of
from notifier.reports.parsing import read_reports
from notifier.verp import Verp
from tests.deliveries import ANN, NOW
from tests.reports.shapes import ID, NOTIFICATIONS, OTHERS, PROSE

VERP = Verp(b"secret")
TOKEN = f"bounces+{VERP.token(ID, ANN)}@example.com"
MUTATED = 300


def read(mail, to=()):
    return read_reports(mail, "http", to, ours=partial(has_token, verp=VERP))


def said(report):
    later = Later(report.state, NOW, report.code, report.text)
    return report.state.value, report.code, class_of(later).value


@pytest.mark.parametrize("name", NOTIFICATIONS)
def test_a_notification_is_understood_and_names_its_message(name):
    """State, code and class are right, and the returned Message-ID leads to the message."""
    mail, expected = NOTIFICATIONS[name]
    (report,) = read(mail)
    assert said(report) == expected
    assert subject_of(report, VERP).id == ID
    if "without its recipient" not in name:
        assert any(ANN in each for each in report.recipients)


@pytest.mark.parametrize("name", PROSE)
def test_a_text_counts_where_it_came_to_a_token(name):
    """State, code and class are right; the same text to another address is no report."""
    mail, expected = PROSE[name]
    assert read(mail) == []
    (report,) = read(mail, [TOKEN])
    assert said(report) == expected
    assert subject_of(report, VERP).mark.names(ANN)


@pytest.mark.parametrize("name", OTHERS)
def test_mail_to_a_token_may_be_no_report(name):
    """An automatic reply, a receipt, a forwarded bounce: nothing is made of them."""
    assert read(OTHERS[name], [TOKEN]) == []


def test_no_damage_makes_a_report_of_another_message():
    """A mail that was changed anywhere is understood or not, and names no message but its own."""
    chance = random.Random(1)
    mails = [mail for mail, _ in (*NOTIFICATIONS.values(), *PROSE.values())]
    for _ in range(MUTATED):
        mail = bytearray(chance.choice(mails))
        for _ in range(chance.randrange(1, 8)):
            at = chance.randrange(len(mail))
            match chance.randrange(4):
                case 0:
                    mail[at] = chance.randrange(256)
                case 1:
                    del mail[at : at + chance.randrange(1, 40)]
                case 2:
                    mail[at:at] = mail[at : at + 200] * chance.randrange(1, 5)
                case _:
                    mail[at:at] = chance.randbytes(chance.randrange(1, 40))
            mail = mail or bytearray(b"x")
        for report in read(bytes(mail)):
            subject = subject_of(report, VERP)
            # One digit of the id may have been changed: nobody has sent that message.
            assert subject is None or subject.mark is None
