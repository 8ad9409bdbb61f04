"""Reports about undelivered mail, as real mail servers write them for our return path."""

from email import message_from_bytes

import pytest

from notifier.attempts import Notify
from notifier.deliveries import OnUncertain
from notifier.journal.shared_secret import RETURN_PATHS, shared_secret
from notifier.smtp_server import ListenAddress
from notifier.verp import Verp
from tests.interop.calls import relaying, sent_as, unique
from tests.interop.postfix import Postfix
from tests.interop.proxy import LossyProxy
from tests.process import free_port
from tests.service import email, submit_one
from tests.waiting import until

PATH = "bounces+*@example.net"


@pytest.fixture
def reporting(server):
    """A server that offers DSN."""
    if not server.dsn:
        pytest.skip(f"{server.name} does not offer DSN")
    return server


async def report_of(server, sender):
    """The report that has arrived at this return path, and its fields for each recipient."""

    def arrived():
        return [mail for mail in server.sink.mails if sender in mail.recipients]

    (mail,) = await until(arrived)
    assert mail.sender == ""
    whole = message_from_bytes(mail.content)
    (status,) = (
        part for part in whole.walk() if part.get_content_type().endswith("delivery-status")
    )
    return status.get_payload()


def return_path_in(delivery):
    """The address after MAIL FROM."""
    said = (line for each in delivery.attempts for line in each.conversation)
    (mail,) = (line for line in said if line.startswith("C: MAIL FROM:"))
    return mail.partition("<")[2].partition(">")[0]


async def test_a_bounce_arrives_at_the_return_path(reporting, tmp_path):
    """It brings our id and the recipient as we named it; its address names both."""
    unknown = "unknown@example.org"
    async with relaying(tmp_path, reporting.url(), return_path=PATH) as service:
        sent = await sent_as(service, unknown)
        verp = Verp(await shared_secret(service.journal, RETURN_PATHS))
    assert sent.status == "sent"
    path = return_path_in(sent)
    whole, recipient = await report_of(reporting, path)
    mark = verp.read_address(PATH, path)
    assert mark.id == sent.id
    assert mark.names(unknown)
    assert recipient["Action"] == "failed"
    assert recipient["Final-Recipient"].lower().replace(" ", "") == f"rfc822;{unknown}"
    if reporting.keeps_envid:
        assert whole["Original-Envelope-Id"] == sent.id
    if reporting.keeps_orcpt:
        assert recipient["Original-Recipient"].replace(" ", "") == f"rfc822;{unknown}"


async def test_success_is_reported_where_it_was_asked_for(reporting, tmp_path):
    """The sink offers no DSN, so that the report says that the mail was relayed."""
    async with relaying(tmp_path, reporting.url(), return_path=PATH) as service:
        sent = await sent_as(service, notify=(Notify.SUCCESS,))
    _, recipient = await report_of(reporting, return_path_in(sent))
    assert recipient["Action"] in ("relayed", "delivered")


async def test_nothing_is_reported_where_nothing_was_asked_for(reporting, tmp_path):
    """NEVER; the report about another message that was sent later arrives alone."""
    async with relaying(tmp_path, reporting.url(), return_path=PATH) as service:
        silent = await sent_as(service, "unknown@example.org", notify=())
        loud = await sent_as(service, "unknown@example.org")
    await report_of(reporting, return_path_in(loud))
    assert not [mail for mail in reporting.sink.mails if return_path_in(silent) in mail.recipients]


class Returning(Postfix):
    """Hands reports to the tokens of return paths in at the listener of the service."""

    def configure(self):
        super().configure()
        self.listener = free_port()
        main = self.here / "etc/postfix/main.cf"
        main.write_text(main.read_text() + "transport_maps = regexp:/etc/postfix/reports\n")
        where = f"smtp:[127.0.0.1]:{self.listener}"
        self.etc("postfix/reports", rf"/^bounces\+[a-z2-7]{{45}}@example\.net$/i {where}")


@pytest.fixture(scope="module")
def returning(made):
    """One for all cases."""
    return made(Returning).start()


def listening(server):
    """Settings of a service to which it hands reports in."""
    here = (ListenAddress(host="127.0.0.1", port=server.listener),)
    return {"return_path": PATH, "report_listen": here}


async def test_postfix_hands_its_bounces_in_at_the_listener(returning, tmp_path):
    """By the pattern that the guide gives. Each recipient of a message has its own."""
    async with relaying(tmp_path, returning.url(), **listening(returning)) as service:
        sent = await sent_as(service, "unknown@example.org", "known@example.org")

        async def bounced():
            return (await service.message(sent.id)).recipients[0].bounced

        await until(bounced)
        found = await service.message(sent.id)
    unknown, known = found.recipients
    assert found.status == "sent"
    assert (unknown.later.state, unknown.later.code, unknown.later.road) == (
        "bounced",
        "5.1.1",
        "smtp",
    )
    assert known.later is None


@pytest.mark.parametrize(
    ("on_uncertain", "waiting"), [(OnUncertain.HOLD, "held"), (OnUncertain.RESEND, "deferred")]
)
@pytest.mark.parametrize(
    ("recipient", "state", "code"),
    [("known@example.org", "relayed", "2.0.0"), ("unknown@example.org", "bounced", "5.1.1")],
)
async def test_f31_a_message_whose_reply_was_lost_settles_itself(
    returning, tmp_path, recipient, state, code, on_uncertain, waiting
):
    """
    Postfix has taken it, and nobody here knows; its report proves it. It is `sent`, says that
    its outcome was uncertain, and Postfix has had it once.
    """
    message = email(
        recipient,
        subject=unique(),
        notify=(Notify.SUCCESS, Notify.FAILURE),
        on_uncertain=on_uncertain,
    )
    changes = listening(returning) | {"retry_schedule": (600.0,)}
    async with (
        LossyProxy(returning) as proxy,
        relaying(tmp_path, f"smtp://127.0.0.1:{proxy.port}", **changes) as service,
    ):
        changed = []
        service.feed.listen(changed.append)
        id = await submit_one(service, message)

        async def settled():
            found = await service.message(id)
            return found if found.recipients[0].later else None

        found = await until(settled)
    later = found.recipients[0].later
    assert (found.status, later.state, later.code, later.road) == ("sent", state, code, "smtp")
    assert [each.status for each in changed][-2:] == [waiting, "sent"]
    assert (found.tries, found.uncertain) == (1, 1)
    (attempt,) = found.attempts
    assert attempt.uncertain
    (reply,) = proxy.lost
    assert reply.startswith(b"250 ")
    assert returning.log.count(f"message-id=<{id}@") == 1
    copies = [mail for mail in returning.sink.mails if mail.subject == message.subject]
    assert len(copies) == (state == "relayed")
