"""POST /v1/messages with a mail as a whole: message/rfc822."""

import pytest

from tests.web_client import problem_of, serving

RFC822 = {"Content-Type": "message/rfc822"}
MAIL = (
    b"From: Us <us@example.org>\r\nTo: Ann <ann@simulator.notifier>, bob@simulator.notifier\r\n"
    b"Bcc: cy@simulator.notifier\r\nSubject: =?utf-8?Q?Gr=C3=BC=C3=9Fe?=\r\n\r\nHello.\r\n"
)


@pytest.fixture
async def opened(tmp_path):
    async with serving(tmp_path) as (service, client):
        yield service, client


async def test_a_whole_mail_goes_to_the_recipients_in_its_header(opened):
    """Without `to` the recipients are those of To, Cc and Bcc, and Bcc is taken off."""
    service, client = opened
    answer = await client.post("/v1/messages", content=MAIL, headers=RFC822)
    assert answer.status_code == 202, answer.text
    message = answer.json()
    assert [each["address"] for each in message["recipients"]] == [
        "ann@simulator.notifier",
        "bob@simulator.notifier",
        "cy@simulator.notifier",
    ]
    assert message["subject"] == "Grüße"
    content = await service.content(message["id"])
    head = MAIL.replace(b"Bcc: cy@simulator.notifier\r\n", b"").partition(b"\r\n\r\n")[0]
    assert content.startswith(head + b"\r\nDate: ")
    assert content.endswith(b"\r\n\r\nHello.\r\n")
    assert b"Message-ID: <" + message["id"].encode() in content


async def test_the_query_says_how_to_treat_it(opened):
    """`to`, `from`, `reference` and `tag` of the query go before what the mail says."""
    _, client = opened
    answer = await client.post(
        "/v1/messages?to=dan@simulator.notifier&to=eve@simulator.notifier&from=back@example.org"
        "&reference=r1&tag=a&tag=b",
        content=b"X-Notifier-Reference: other\r\n" + MAIL,
        headers=RFC822,
    )
    message = answer.json()
    assert [each["address"] for each in message["recipients"]] == [
        "dan@simulator.notifier",
        "eve@simulator.notifier",
    ]
    assert (message["from"], message["reference"]) == ("back@example.org", "r1")
    assert message["tags"] == ["a", "b"]


async def test_a_repeated_mail_is_the_same_message(opened):
    """By Idempotency-Key, or by the mail's Message-ID."""
    _, client = opened
    for headers, mail in (
        (RFC822 | {"Idempotency-Key": "k1"}, MAIL),
        (RFC822, b"Message-ID: <1@example.org>\r\n" + MAIL),
    ):
        first = await client.post("/v1/messages", content=mail, headers=headers)
        again = await client.post("/v1/messages", content=mail, headers=headers)
        assert again.status_code == 202
        assert again.headers["idempotency-replayed"] == "true"
        assert again.json()["id"] == first.json()["id"]


async def test_a_file_with_lf_alone_is_taken(opened):
    """Unix keeps mails so; what mixes its line ends is refused."""
    service, client = opened
    unix = MAIL.replace(b"\r\n", b"\n")
    answer = await client.post("/v1/messages", content=unix, headers=RFC822)
    assert answer.status_code == 202
    content = await service.content(answer.json()["id"])
    assert content.count(b"\n") == content.count(b"\r\n")
    mixed = await client.post("/v1/messages", content=MAIL + b"end\n", headers=RFC822)
    problem = problem_of(mixed, 422, "invalid-message")
    assert problem["errors"][0]["pointer"] == "/source"


async def test_a_dry_run_shows_the_mail(opened):
    """Nothing is accepted, and the answer is what would be sent."""
    _, client = opened
    answer = await client.post("/v1/messages?dry_run=true", content=MAIL, headers=RFC822)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "message/rfc822")
    assert answer.content.endswith(b"\r\n\r\nHello.\r\n")


async def test_parameters_of_whole_mails_are_for_them_alone(opened):
    """JSON with `?to=` is refused, as is a mail that is called something else."""
    _, client = opened
    json = {"to": ["ann@simulator.notifier"], "text": "x"}
    problem_of(
        await client.post("/v1/messages?to=a@example.org", json=json), 422, "invalid-parameter"
    )
    answer = await client.post("/v1/messages", content=MAIL, headers={"Content-Type": "text/plain"})
    assert answer.status_code == 415
