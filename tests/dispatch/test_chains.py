"""Which relay takes which message, and that chains of relays do not hold one another up."""

import asyncio
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from notifier.chains import SEVERAL, Chains, chain_of
from notifier.deliveries import Priority, Status
from notifier.errors import InvalidMessage
from notifier.messages import Sms
from notifier.recipients import RecipientStatus
from notifier.relayspec import RelaySpec
from notifier.service import Notifier
from notifier.settings import Settings
from tests.relay import ScriptedRelay
from tests.service import email, ended, now, submit_one, until_status
from tests.waiting import until

ADDRESSES = ["ann@a.example", "bob@a.example", "ann@b.example", "eve@c.example"]
RULES = [*ADDRESSES, "@a.example", "@b.example"]


def spec(name, **conditions):
    return RelaySpec(name=name, host="127.0.0.1", port=1, **conditions)


def parts(relays, sender="us@x.example", to=("ann@a.example",), key="", priority=Priority.NORMAL):
    return Chains(relays).parts(sender, to, key=key, priority=priority)


def test_without_conditions_all_relays_are_the_chain():
    """There is one chain, in the order of the setting."""
    chains = Chains([spec("one"), spec("two")])
    assert not chains.conditional
    assert parts([spec("one"), spec("two")]) == {"": ("ann@a.example",)}
    assert chains.named("").relays == ("one", "two")


def test_those_without_conditions_come_last():
    """A relay whose conditions hold is asked before those that have none."""
    relays = [spec("any"), spec("shop", keys=("shop",)), spec("a", senders=("@x.example",))]
    [name] = parts(relays, key="shop")
    assert Chains(relays).named(name).relays == ("shop", "a", "any")


@pytest.mark.parametrize(
    ("condition", "changes", "holds"),
    [
        ({"senders": ("@x.example",)}, {}, True),
        ({"senders": ("us@X.example",)}, {"sender": "US@x.example"}, False),
        ({"senders": ("us@x.example",)}, {"sender": "US@X.example"}, True),
        ({"senders": ("@x.example",)}, {"sender": "us@sub.x.example"}, False),
        ({"recipients": ("@a.example",)}, {}, True),
        ({"recipients": ("bob@a.example",)}, {}, False),
        ({"keys": ("shop", "crm")}, {"key": "crm"}, True),
        ({"keys": ("shop",)}, {}, False),
        ({"priorities": ("bulk",)}, {"priority": Priority.BULK}, True),
        ({"priorities": ("bulk",)}, {}, False),
        ({"keys": ("shop",), "priorities": ("bulk",)}, {"key": "shop"}, False),
    ],
)
def test_all_conditions_must_hold(condition, changes, holds):
    """One value of each condition that is given is enough."""
    assert set(parts([spec("only", **condition)], **changes)) == {"only" if holds else None}


@given(
    st.lists(
        st.builds(
            dict,
            senders=st.lists(st.sampled_from(RULES), max_size=2).map(tuple),
            recipients=st.lists(st.sampled_from(RULES), max_size=2).map(tuple),
            keys=st.lists(st.sampled_from(["shop", "crm"]), max_size=1).map(tuple),
            priorities=st.lists(st.sampled_from(["urgent", "bulk"]), max_size=1).map(tuple),
        ),
        min_size=1,
        max_size=5,
    ),
    st.sampled_from(ADDRESSES),
    st.lists(st.sampled_from(ADDRESSES), min_size=1, unique=True),
    st.sampled_from(["", "shop", "crm"]),
    st.sampled_from(Priority),
)
def test_each_recipient_has_one_chain_of_all_relays_that_take_it(relays, sender, to, key, priority):
    """The chain holds a relay exactly if its conditions hold, and no recipient is left out."""
    specs = [spec(f"r{number}", **each) for number, each in enumerate(relays)]
    chains = Chains(specs)
    found = chains.parts(sender, to, key=key, priority=priority)
    assert sorted(each for some in found.values() for each in some) == sorted(to)

    def meets(rules, address):
        return not rules or address in rules or "@" + address.partition("@")[2] in rules

    for name, some in found.items():
        for recipient in some:
            taking = {
                each.name
                for each in specs
                if meets(each.senders, sender)
                and meets(each.recipients, recipient)
                and (not each.keys or key in each.keys)
                and (not each.priorities or priority.name.lower() in each.priorities)
            }
            assert (set() if name is None else set(chains.named(name).relays)) == taking
    assert len(found) == 1 or chain_of(found) == SEVERAL or None in found


@pytest.fixture
async def two():
    async with ScriptedRelay() as a, ScriptedRelay() as b:
        yield a, b


def service(folder, *relays, **changes):
    given = {"retry_schedule": (0.05,), "grace": 1.0, "workers": 4} | changes
    return Notifier(Settings(data_dir=str(folder), relays=relays, **given), clock=now)


def to_a(relay):
    return replace(relay.spec, name="a", recipients=("@a.example",))


def to_b(relay):
    return replace(relay.spec, name="b", recipients=("@b.example",))


def recipients(relay):
    return sorted(each for _, some, _ in relay.received for each in some)


async def test_each_recipient_gets_it_by_its_own_chain(tmp_path, two):
    """A message with two chains makes one copy for each, and an attempt that describes it alone."""
    a, b = two
    async with service(tmp_path, to_a(a), to_b(b)) as notifier:
        id = await submit_one(notifier, email("ann@a.example", "bob@b.example"))
        delivery = await ended(notifier, id)
    assert delivery.status is Status.SENT
    assert {each.relay: each.accepted for each in delivery.attempts} == {
        "a": ("ann@a.example",),
        "b": ("bob@b.example",),
    }
    assert (recipients(a), recipients(b)) == (["ann@a.example"], ["bob@b.example"])


async def test_a_recipient_that_no_relay_takes_is_refused_at_once(tmp_path, two):
    """The error names the recipient, and nothing is kept."""
    a, b = two
    async with service(tmp_path, to_a(a), to_b(b)) as notifier:
        message = email("ann@a.example", cc=("Eve <eve@c.example>",))
        with pytest.raises(InvalidMessage) as refused:
            await notifier.submit([message])
        assert not any(notifier.counts.values())
        [fault] = refused.value.faults
        assert fault.pointer == "/cc/0"
        assert "no relay accepts a message from us@example.org to eve@c.example" in fault.message


async def test_a_chain_that_is_down_holds_up_only_its_own_recipients(tmp_path, two):
    """The other recipient has the mail while the first waits; the first gets it once it is up."""
    a, b = two
    a.answer("GREETING", "421 4.3.2 down")
    async with service(tmp_path, to_a(a), to_b(b)) as notifier:
        id = await submit_one(notifier, email("ann@a.example", "bob@b.example"))
        await until(lambda: recipients(b) == ["bob@b.example"])
        waiting = await until_status(notifier, id, Status.DEFERRED, Status.QUEUED)
        assert {each.address: each.status for each in waiting.recipients} == {
            "ann@a.example": RecipientStatus.PENDING,
            "bob@b.example": RecipientStatus.ACCEPTED,
        }
        other = await submit_one(notifier, email("carl@b.example"))
        assert (await ended(notifier, other)).status is Status.SENT


async def test_waiting_messages_go_by_the_chains_of_new_settings(tmp_path, two):
    """After a restart with other conditions nothing waits for relays that take it no more."""
    a, b = two
    later = {"send_at": now() + timedelta(days=1)}
    async with service(tmp_path, to_a(a), to_b(b)) as notifier:
        ids = [
            await submit_one(notifier, email("ann@a.example", **later)),
            await submit_one(notifier, email("ann@a.example", "bob@b.example", **later)),
        ]
        for id in ids:
            await notifier.pause()
            await notifier.send_now(id)
    everything = replace(b.spec, name="everything")
    async with service(tmp_path, everything) as notifier:
        await notifier.resume()
        for id in ids:
            delivery = await ended(notifier, id)
            assert delivery.status is Status.SENT
    assert recipients(a) == []
    assert recipients(b) == ["ann@a.example", "ann@a.example", "bob@b.example"]
    assert len(b.received) == 2


async def test_message_no_relay_takes_after_a_restart_is_held(tmp_path, two):
    """It is set aside with the reason, and can be cancelled or retried."""
    a, b = two
    async with service(tmp_path, to_a(a)) as notifier:
        await notifier.pause()
        id = await submit_one(notifier, email("ann@a.example"))
    async with service(tmp_path, to_b(b)) as notifier:
        await notifier.resume()
        held = await until_status(notifier, id, Status.HELD)
    assert held.reason.startswith("no relay accepts a message from us@example.org to ann@a.example")


async def test_text_messages_by_gateways_have_chains_too(tmp_path, two):
    """A carrier's gateway is a recipient like any other."""
    a, b = two
    gateway = replace(a.spec, name="a", recipients=("@vtext.com",))
    async with service(tmp_path, gateway, to_b(b), sms_from="us@example.org") as notifier:
        id = await submit_one(notifier, Sms(to="+12125550123", carrier="verizon", text="Hello"))
        assert (await ended(notifier, id)).status is Status.SENT
    assert recipients(b) == []
    assert len(recipients(a)) == 1


async def test_a_hanging_chain_leaves_the_other_its_workers(tmp_path, two):
    """With more messages than workers at a relay that never answers, the other goes on."""
    a, b = two
    a.hold("MAIL")
    async with service(tmp_path, to_a(a), to_b(b), workers=2, queue_size=8) as notifier:
        hanging = await asyncio.gather(
            *(submit_one(notifier, email(f"u{number}@a.example")) for number in range(20))
        )
        for number in range(10):
            id = await submit_one(notifier, email(f"u{number}@b.example"))
            assert (await ended(notifier, id)).status is Status.SENT
        assert (await notifier.message(hanging[-1])).status is Status.QUEUED


async def test_messages_to_several_chains_leave_nothing_behind(tmp_path, two):
    """The relays have as many listeners after twenty messages as after one."""
    a, b = two
    async with service(tmp_path, to_a(a), to_b(b)) as notifier:
        counts = []
        for _ in range(20):
            id = await submit_one(notifier, email("ann@a.example", "bob@b.example"))
            assert (await ended(notifier, id)).status is Status.SENT
            counts.append([len(each._listeners) for each in notifier.transports.relays._relays])
    assert counts[-1] == counts[0]


async def test_a_message_whose_chain_is_busy_waits_for_its_turn(tmp_path, two):
    """After a restart without the other chain it is recorded once, not again and again."""
    a, b = two
    async with service(tmp_path, to_a(a), to_b(b)) as notifier:
        await notifier.pause()
        soon = {"send_at": now() + timedelta(seconds=1)}
        id = await submit_one(notifier, email("ann@a.example", "bob@b.example", **soon))
    a.hold("MAIL")
    records = []
    async with service(tmp_path, replace(to_a(a), connections=2), workers=16) as notifier:
        await notifier.resume()
        for number in range(6):  # two are under way, the others wait for their turn
            await submit_one(notifier, email(f"first{number}@a.example"))
        await a.until_held(2)
        record = notifier.journal.record

        async def counted(delivery):
            records.append(delivery.id)
            return await record(delivery)

        notifier.journal.record = counted
        await until_status(notifier, id, Status.SENDING)
        for number in range(20):  # each commit is a chance to record it once more
            await submit_one(notifier, email(f"u{number}@a.example"))
        assert records.count(id) <= 1
        a.release()
        held = await until_status(notifier, id, Status.HELD)
    assert "bob@b.example" in held.reason
    assert [each.status for each in held.recipients] == ["accepted", "pending"]


async def test_a_stop_aborts_sends_to_all_chains(tmp_path, two):
    """Also where the queues of the single chains were never claimed from."""
    a, b = two
    a.hold("GREETING")
    b.hold("GREETING")
    async with service(tmp_path, to_a(a), to_b(b), grace=0.1) as notifier:
        id = await submit_one(notifier, email("ann@a.example", "bob@b.example"))
        await a.until_held(1)
        await b.until_held(1)
    async with service(tmp_path, to_a(a), to_b(b)) as notifier:
        found = await notifier.message(id)
    assert (found.status, found.uncertain, len(found.attempts)) == (Status.DEFERRED, 0, 2)
