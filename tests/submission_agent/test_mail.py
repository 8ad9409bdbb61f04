"""What becomes of a mail that came in by SMTP."""

SOURCE = (
    b"From: Us <us@example.org>\r\nTo: ann@example.org\r\nSubject: Hello\r\n"
    b"Date: Fri, 27 Nov 2026 10:00:00 +0100\r\nMessage-ID: <1@example.org>\r\n\r\n"
    b"Good day.\r\n..\r\n.hidden\r\n"
)


async def test_a_mail_goes_out_as_it_came(submission):
    """What arrives at the relay is what the client has sent, octet by octet."""
    code, said = await submission.send(SOURCE)
    assert (code, said.split(" ")[:3]) == (250, ["2.0.0", "queued", "as"])
    (content,) = await submission.delivered()
    assert content == SOURCE
    delivery = await submission.service.message(said.split()[-1])
    assert (delivery.subject, delivery.sender) == ("Hello", "us@example.org")
