"""Django's mail goes through notifier, with real Django: 5.2 on Python 3.11, 6.1 on 3.12."""

import copy
from email.mime.base import MIMEBase
from email.mime.image import MIMEImage

import django
import pytest
from django.core import mail
from django.core.mail import EmailMessage, EmailMultiAlternatives
from django.test.utils import override_settings

from notifier.client import NotifierError, Rejected, Unreachable
from notifier.client.django import EmailBackend
from tests import django_project  # noqa: F401 - Django wants its settings first

# What sends, and is found by its name in all of these.
MAILERS = django.VERSION >= (6, 1)


def silent(**options):
    """A backend that raises nothing."""
    return EmailBackend(fail_silently=True, **options)


def letter(to="ann@example.org", **fields):
    return EmailMessage("Hello", "It works.", "us@example.org", [to], **fields)


def test_send_mail(notifier_mailbox):
    """Django's shortest call sends text and HTML, and counts one."""
    count = mail.send_mail(
        "Hello", "It works.", None, ["Ann <ann@example.org>"], html_message="<p>It works.</p>"
    )
    assert count == 1
    arrived = notifier_mailbox.wait(to="ann@example.org")
    assert (arrived.sender, arrived.subject) == ("shop@example.org", "Hello")
    assert (arrived.text.strip(), arrived.html.strip()) == ("It works.", "<p>It works.</p>")


def test_admins_get_their_mail(notifier_mailbox):
    """`mail_admins`, which Django's log handler uses, works."""
    mail.mail_admins("Broken", "It does not work.")
    assert notifier_mailbox.wait(to="ops@example.org").sender == "server@example.org"


def test_every_part_of_a_message(notifier_mailbox, tmp_path):
    """Recipients, header fields, inline images and attachments of every kind arrive."""
    (tmp_path / "names.csv").write_text("Ännchen;1\n")
    image = MIMEImage(b"\x89PNG", "png")
    image["Content-ID"] = "<logo>"
    image.add_header("Content-Disposition", "inline", filename="logo.png")
    message = EmailMultiAlternatives(
        "Grüße",
        "Hello",
        '"Shop, The" <shop@example.org>',
        ["ann@example.org"],
        cc=["Bob <bob@example.org>"],
        bcc=["carl@example.org"],
        reply_to=["desk@example.org"],
        headers={"X-Ticket": "17"},
    )
    message.attach_alternative('<img src="cid:logo">', "text/html")
    message.attach("plan.pdf", b"%PDF", "application/pdf")
    message.attach_file(tmp_path / "names.csv")
    message.attachments.append(image)
    message.notifier_fields = {"tags": ["django"], "reference": "r-1"}
    assert message.send() == 1
    arrived = notifier_mailbox.wait(to="carl@example.org")
    assert set(arrived.recipients) == {f"{name}@example.org" for name in ("ann", "bob", "carl")}
    assert arrived.header("from") == '"Shop, The" <shop@example.org>'
    assert arrived.header("cc") == "Bob <bob@example.org>"
    assert arrived.header("reply-to") == "desk@example.org"
    assert arrived.header("x-ticket") == "17"
    files = {each.name: each for each in arrived.attachments}
    assert set(files) == {"plan.pdf", "names.csv", "logo.png"}
    assert files["logo.png"].content_id.strip("<>") == "logo"
    assert files["names.csv"].type == "text/csv"
    [told] = notifier_mailbox.messages
    assert (told.id, told.tags, told.reference) == (message.notifier_id, ("django",), "r-1")


def test_html_alone(notifier_mailbox):
    """A message whose body is HTML is HTML."""
    message = letter()
    message.content_subtype = "html"
    message.body = "<p>Hello</p>"
    message.send()
    assert notifier_mailbox.wait(to="ann@example.org").html.strip() == "<p>Hello</p>"


def test_mail_without_api_fields_goes_as_source(notifier_mailbox):
    """A calendar, a mail in the mail, a Message-ID, several Reply-To: all as Django wrote them."""
    message = EmailMultiAlternatives(
        "Meeting",
        "At ten.",
        "us@example.org",
        ["ann@example.org"],
        bcc=["bob@example.org"],
        reply_to=["a@example.org", "b@example.org"],
        headers={"Message-ID": "<17@shop.example.org>", "To": "undisclosed-recipients:;"},
    )
    message.attach_alternative("BEGIN:VCALENDAR", "text/calendar")
    message.attach("old.eml", letter(), "message/rfc822")
    message.notifier_fields = {"tags": ["meetings", "django"], "priority": "urgent"}
    assert message.send() == 1
    arrived = notifier_mailbox.wait(to="bob@example.org")
    assert set(arrived.recipients) == {"ann@example.org", "bob@example.org"}
    assert arrived.header("message-id") == "<17@shop.example.org>"
    assert arrived.header("to") == "undisclosed-recipients:;"
    assert arrived.header("bcc") is None
    assert arrived.header("x-notifier-tag") is None
    [told] = notifier_mailbox.messages
    assert (told.id, told.tags) == (message.notifier_id, ("meetings", "django"))
    message.notifier_fields = {"collapse_key": "a"}
    with pytest.raises(ValueError, match="and not collapse_key"):
        message.send()


def test_recipients_in_bcc_do_not_see_one_another(notifier_mailbox):
    """A message to Bcc alone names nobody."""
    names = ["ann@example.org", "bob@example.org"]
    EmailMessage("Hello", "It works.", "us@example.org", bcc=names).send()
    arrived = notifier_mailbox.wait(to="ann@example.org")
    assert set(arrived.recipients) == set(names)
    assert not any("example.org" in (arrived.header(name) or "") for name in ("to", "cc", "bcc"))


def test_many_messages_are_one_request(notifier_mailbox):
    """`send_messages` counts what was accepted, and each message has its id."""
    messages = [letter(f"n{number}@example.org") for number in range(20)]
    nobody = EmailMessage("Hello", "It works.", "us@example.org", [])
    assert EmailBackend().send_messages([*messages, nobody]) == 20
    assert len({each.notifier_id for each in messages}) == 20
    assert {each.id for each in notifier_mailbox.messages} == {
        each.notifier_id for each in messages
    }
    assert EmailBackend().send_messages([]) == 0


def test_an_error_means_that_nothing_was_sent(notifier_mailbox):
    """If one message is wrong, none of its request is sent, and the wrong one has the error."""
    messages = [letter(), letter("nobody"), letter("bob@example.org")]
    with pytest.raises(Rejected, match="/1/to/0"):
        EmailBackend().send_messages(messages)
    assert [each.notifier_id for each in messages] == [None, None, None]
    assert [each.notifier_error is None for each in messages] == [True, False, True]
    assert notifier_mailbox.messages == []


def test_fail_silently(notifier_mailbox):
    """The others are sent and counted, nothing is raised, and the error is on its message."""
    messages = [letter(), letter("nobody"), letter("bob@example.org")]
    assert silent().send_messages(messages) == 2
    assert [each.notifier_id is None for each in messages] == [False, True, False]
    assert isinstance(messages[1].notifier_error, NotifierError)


def test_a_service_that_is_away(notifier_mailbox, monkeypatch):
    """A lost link is Unreachable, also a ConnectionError; silently it counts nothing."""
    monkeypatch.setenv("NOTIFIER_URL", "http://127.0.0.1:9")
    with pytest.raises(Unreachable):
        EmailBackend("http://127.0.0.1:9", retry_for=0).send_messages([letter()])
    message = letter()
    assert silent(url="http://127.0.0.1:9", retry_for=0).send_messages([message]) == 0
    assert isinstance(message.notifier_error, ConnectionError)


def test_large_messages_are_several_requests(notifier_mailbox, monkeypatch):
    """What does not fit into one request goes in the next one."""
    monkeypatch.setattr("notifier.client.django.LARGEST_BATCH", 1000)
    messages = [letter(f"n{number}@example.org") for number in range(12)]
    assert EmailBackend().send_messages(messages) == 12
    assert len({each.notifier_id for each in messages}) == 12


def test_a_generic_mime_part(notifier_mailbox):
    """A part of Python's own, without a name, is attached with its type."""
    part = MIMEBase("application", "x-thing")
    part.set_payload(b"content")
    message = letter()
    message.attachments.append(part)
    message.send()
    [file] = notifier_mailbox.wait(to="ann@example.org").attachments
    assert (file.name, file.type, file.size) == ("attachment.bin", "application/x-thing", 7)


def test_settings_say_where(notifier_mailbox, monkeypatch):
    """The URL is an option, else Django's NOTIFIER_URL, else the environment's."""
    monkeypatch.setenv("NOTIFIER_URL", "http://127.0.0.1:9")
    with override_settings(NOTIFIER_URL=notifier_mailbox.url):
        assert EmailBackend(retry_for=0).send_messages([letter()]) == 1
    assert EmailBackend(notifier_mailbox.url, retry_for=0).send_messages([letter()]) == 1


@pytest.mark.skipif(not MAILERS, reason="MAILERS is Django 6.1's")
def test_mailers(notifier_mailbox):
    """A mailer has its options, and an option that there is not is named."""
    backend = {"BACKEND": "notifier.client.django.EmailBackend"}
    mailers = {
        "default": copy.copy(backend),
        "bulk": {**backend, "OPTIONS": {"url": notifier_mailbox.url, "timeout": 5.0}},
        "wrong": {**backend, "OPTIONS": {"colour": "red"}},
    }
    with override_settings(MAILERS=mailers):
        assert letter().send(using="bulk") == 1
        with pytest.raises(mail.InvalidMailer, match="colour"):
            letter().send(using="wrong")


@pytest.mark.parametrize(
    ("fields", "kind"),
    [({"metadata": {"a": object()}}, TypeError), ({"ttl": 5}, ValueError)],
    ids=["fields", "whole"],
)
def test_a_message_that_cannot_be_written(notifier_mailbox, fields, kind):
    """It is found before anything is sent; silently the others are sent."""
    wrong = letter(headers={"Message-ID": "<1@example.org>"} if kind is ValueError else {})
    wrong.notifier_fields = fields
    messages = [letter("bob@example.org"), wrong]
    with pytest.raises(kind):
        EmailBackend().send_messages(messages)
    assert isinstance(wrong.notifier_error, kind)
    assert notifier_mailbox.messages == []
    assert silent().send_messages(messages) == 1
    assert messages[0].notifier_id is not None
    assert isinstance(wrong.notifier_error, kind)


def test_an_attached_text_has_one_charset(notifier_mailbox):
    """A type that names a charset already is no fault; the text is UTF-8."""
    message = letter()
    message.attach("names.csv", "Ännchen", "text/csv; charset=iso-8859-1; header=absent")
    message.send()
    [file] = notifier_mailbox.wait(to="ann@example.org").attachments
    assert (file.name, file.size) == ("names.csv", len("Ännchen".encode()))


@pytest.mark.parametrize(
    ("name", "value"),
    [("Reply-To", "a@example.org, b@example.org"), ("Content-Language", "de")],
)
def test_header_fields_that_only_a_whole_mail_has(notifier_mailbox, name, value):
    """Two addresses in Reply-To and a language arrive as Django wrote them."""
    letter(headers={name: value}).send()
    assert notifier_mailbox.wait(to="ann@example.org").header(name) == value
