"""The journal and the dispatcher against a model of a message's life in a few lines of Python."""

import asyncio
import tempfile
from datetime import UTC, datetime, timedelta

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from notifier.attempts import Attempt, Failure, Scope, Stage
from notifier.deliveries import MAX_UNCERTAIN, Delivery, Route, Status
from notifier.dispatch.dispatcher import Dispatcher
from notifier.errors import WrongState
from notifier.feed import Feed
from notifier.journal import Entry
from notifier.journal.sqlite import SqliteJournal
from notifier.recipients import Recipient
from notifier.retries import RetryPolicy
from tests.deliveries import delivery

WAITS = {"queued", "deferred"}
ENDS = {"sent", "failed", "cancelled", "expired"}


class Relay:
    """Answers everything as it is told, at once."""

    def __init__(self):
        self.how = "yes"
        self.copies = {}

    paced = False

    def room(self):
        return 4 if self.how else 0

    async def wait_for_room(self):
        await asyncio.Event().wait()

    def abort_all(self):
        pass

    async def send(self, envelope, content):
        (to,) = envelope.recipients
        if self.how in ("yes", "perhaps"):
            self.copies[to] = self.copies.get(to, 0) + 1
        failure = Failure(
            scope=Scope.RELAY if self.how in ("down", "perhaps") else Scope.MESSAGE,
            permanent=self.how == "no",
            stage=Stage.DOT,
            reply=self.how,
        )
        return Attempt(
            relay="r",
            started_at=datetime.now(UTC),
            seconds=0.0,
            stage=Stage.DOT,
            code=None,
            reply=self.how,
            accepted=envelope.recipients if self.how == "yes" else (),
            failures={} if self.how == "yes" else {to: failure},
            uncertain=self.how == "perhaps",
        )


class Life(RuleBasedStateMachine):
    """Whatever is done to messages in whatever order, each is where the model says."""

    messages = Bundle("messages")

    def __init__(self):
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory()
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.relay = Relay()
        self.model = {}  # id -> [status, uncertain, copies]
        self.run(self.open())

    def run(self, coroutine):
        return self.runner.run(coroutine)

    async def open(self):
        self.journal = SqliteJournal(f"{self.folder.name}/j.db")
        await self.journal.open()
        await self.journal.recover(lambda each: each.recovered(self.now))

    def teardown(self):
        self.run(self.journal.close())
        self.runner.close()
        self.folder.cleanup()

    @rule(target=messages)
    def add(self):
        id = f"d{len(self.model)}"
        new = delivery(
            id=id,
            recipients=(Recipient(f"{id}@example.org"),),
            status=Status.QUEUED,
            created_at=self.now,
            due_at=self.now,
            expires_at=self.now + timedelta(days=2),
        )
        self.run(self.journal.add([Entry(new, b"x")]))
        self.model[id] = ["queued", 0, 0]
        return id

    @rule(how=st.sampled_from(["yes", "no", "later", "down", "perhaps"]))
    def dispatch(self, how):
        """All that is due goes through the workers once; then an hour has passed."""
        self.relay.how = how
        due = {id for id, (status, *_) in self.model.items() if status in WAITS}
        self.run(self.let_work(len(due)))
        for id in due:
            state = self.model[id]
            state[2] += how in ("yes", "perhaps")
            state[1] += how == "perhaps"
            state[0] = {"yes": "sent", "no": "failed"}.get(how, "deferred")
            if how == "perhaps" and state[1] >= MAX_UNCERTAIN:
                state[0] = "held"
        self.now += timedelta(minutes=5)

    async def let_work(self, count):
        dispatcher = Dispatcher(
            journal=self.journal,
            transports={Route.RELAY: self.relay},
            retry=RetryPolicy(schedule=(60.0,)),
            feed=Feed(),
            workers=4,
            window=8,
            clock=lambda: self.now,
        )
        seen = []
        record = self.journal.record

        async def counted(settled):
            seen.append(settled)
            return await record(settled)

        self.journal.record = counted
        dispatcher.start()
        async with asyncio.timeout(20):
            while len(seen) < count:
                await asyncio.sleep(0.001)
        await dispatcher.stop(grace=5)
        del self.journal.record
        assert len(seen) == count

    @rule(id=messages)
    def cancel(self, id):
        state = self.model[id]
        if self.amended(id, lambda each: each.cancelled(self.now)):
            assert state[0] in WAITS | {"held"}
            state[0] = "cancelled"
        else:
            assert state[0] in ENDS

    @rule(id=messages)
    def retry(self, id):
        state = self.model[id]
        if self.amended(id, lambda each: each.retried(self.now)):
            assert state[0] in {"failed", "cancelled", "held", "expired"}
            state[0] = "queued"
        else:
            assert state[0] in WAITS | {"sent"}

    def amended(self, id, step):
        try:
            self.run(self.journal.amend(id, step))
        except WrongState:
            return False
        return True

    @rule()
    def crash(self):
        """What was claimed and not recorded is uncertain, and nothing else is."""

        async def die():
            claims = await self.journal.claim(Route.RELAY, 3, now=lambda: self.now)
            await self.journal.close()
            await self.open()
            return [claim.delivery.id for claim in claims]

        for id in self.run(die()):
            state = self.model[id]
            state[1] += 1
            state[0] = "held" if state[1] >= MAX_UNCERTAIN else "queued"

    @rule()
    def expire(self):
        self.now += timedelta(days=3)
        while self.run(
            self.journal.expire(self.now, lambda each: Delivery.expired(each, self.now))
        ):
            pass
        for state in self.model.values():
            if state[0] in WAITS:
                state[0] = "expired"

    @invariant()
    def is_as_the_model_says(self):
        for id, (status, uncertain, copies) in self.model.items():
            kept = self.run(self.journal.get(id))
            assert (kept.status, kept.uncertain) == (status, uncertain)
            assert self.relay.copies.get(f"{id}@example.org", 0) == copies
        counts = self.run(self.journal.backlog()).counts
        assert sum(counts.values()) == len(self.model)


TestLife = Life.TestCase
TestLife.settings = settings(
    max_examples=25,
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
