"""What real mail servers take, refuse, and put off."""

from tests.interop.calls import arrived, arrived_at, idle, relaying, sent_as
from tests.interop.server import SIZE
from tests.service import SENDER

ANN, BOB, REFUSED = "ann@example.org", "bob@example.org", "refused@example.org"
TRICKY = "\n".join(
    [
        ".",
        "..",
        ". a dot first",
        "RSET",
        "text with a dot at its end.",
        "x" * 2000,
        "äöü €",
        "",
        ".",
    ]
)


async def test_a_mail_arrives_as_it_was_composed(server, tmp_path):
    """Octet by octet, below the lines that the server writes on top: dots, long lines, 8 bits."""
    async with relaying(tmp_path, server.url()) as service:
        sent = await sent_as(service, text=TRICKY)
        source = await service.journal.content(sent.id)
    assert sent.status == "sent"
    (mail,) = await arrived(server, sent.subject)
    assert mail.sender == SENDER
    assert body(mail.content) == body(source)
    assert set(heads(source)) <= set(heads(mail.content))


async def test_one_of_several_recipients_is_refused(server, tmp_path):
    """The others get it, once; the message says so of each."""
    async with relaying(tmp_path, server.url()) as service:
        sent = await sent_as(service, ANN, REFUSED, BOB)
    assert sent.status == "sent"
    assert [each.status for each in sent.recipients] == ["accepted", "refused", "accepted"]
    assert sent.recipients[1].code == 550
    await arrived_at(server, sent.subject, ANN, BOB)


async def test_the_connection_outlives_a_message_that_is_refused(server, tmp_path):
    """Nobody takes the first; the second goes over the same connection, under its own sender."""
    async with relaying(tmp_path, server.url(connections=1)) as service:
        failed = await sent_as(service, REFUSED, sender="first@example.org")
        await idle(service, connections=1)
        sent = await sent_as(service, ANN, sender="second@example.org")
    assert failed.status == "failed"
    assert sent.status == "sent"
    (mail,) = await arrived(server, sent.subject)
    assert (mail.sender, mail.recipients) == ("second@example.org", (ANN,))
    assert not any("EHLO" in line for line in sent.attempts[0].conversation)


async def test_greylisting(server, tmp_path):
    """Who is put off gets it at the second try, and the other one not again."""
    grey = f"grey.{tmp_path.name.replace('_', '-')}@example.org"
    async with relaying(tmp_path, server.url()) as service:
        sent = await sent_as(service, ANN, grey)
    assert sent.status == "sent"
    assert len(sent.attempts) == 2
    assert sent.attempts[0].accepted == (ANN,)
    assert sent.attempts[0].failures[grey].code in (450, 451)
    assert sent.attempts[1].accepted == (grey,)
    await arrived_at(server, sent.subject, ANN, grey)


async def test_a_mail_that_is_larger_than_size(server, tmp_path):
    """It fails at once without being offered, because the server has announced its SIZE."""
    async with relaying(tmp_path, server.url()) as service:
        failed = await sent_as(service, text="a longer line than it needs\n" * (SIZE // 20))
        sent = await sent_as(service, text="a short one")
    assert failed.status == "failed"
    assert failed.attempts[-1].failures[ANN].name == "too_large"
    assert not any("MAIL" in line for line in failed.attempts[-1].conversation)
    assert sent.status == "sent"


async def test_an_address_that_is_not_ascii(server, tmp_path):
    """It is sent where SMTPUTF8 is offered, and refused in words where not."""
    async with relaying(tmp_path, server.url()) as service:
        done = await sent_as(service, "jörg@example.org")
    if server.smtputf8:
        assert done.status == "sent"
        (mail,) = await arrived(server, done.subject)
        assert mail.recipients == ("jörg@example.org",)
    else:
        assert done.status == "failed"
        assert "SMTPUTF8" in done.recipients[0].reply


async def test_many_recipients_of_one_message(server, tmp_path):
    """Each gets it once."""
    to = [f"n{number}@example.org" for number in range(50)]
    async with relaying(tmp_path, server.url()) as service:
        sent = await sent_as(service, *to)
    assert sent.status == "sent"
    await arrived_at(server, sent.subject, *to)


def body(source):
    """What follows the headers."""
    return source.partition(b"\r\n\r\n")[2].rstrip(b"\r\n")


def heads(source):
    """Its headers, each with its further lines."""
    return source.partition(b"\r\n\r\n")[0].replace(b"\r\n ", b" ").split(b"\r\n")
