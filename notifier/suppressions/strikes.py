"""
The bounces that make the list grow by itself (NOTIFIER_SUPPRESS=bounces).

A strike is a bounce that says that a mailbox does not exist, when RCPT was refused or in a report
that was believed. Two messages that bounced so within seven days suppress the address for 30 days,
the next time for 60, then for 90. A strike in a burst counts for nothing: when many addresses of
one domain, or by one relay, bounce within an hour, something else is wrong.

Strikes are kept in the transaction that records what became of the message.
"""

import re
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from msgspec import Struct

from notifier.address_rules import address_parts
from notifier.attempts import Stage
from notifier.deliveries import Delivery, Route
from notifier.housekeeping.health import Trouble
from notifier.journal import Journal
from notifier.journal.rows import micros, moment
from notifier.journal.statements import Statement
from notifier.later import taken_at
from notifier.recipients import Recipient, RecipientStatus

# RFC 3463, section 3.2 and 3.3, and RFC 7505: no such mailbox, a null MX, a disabled mailbox.
# Never: 5.7.x (policy or reputation), 5.2.2 (full), 5.4.x (routing, DNS).
HARD = frozenset({"5.1.1", "5.1.10", "5.2.1"})
STRIKES = 2  # messages that bounced
BURST = 20  # addresses
HOUR = 3_600 * 1_000_000  # microseconds
DAY = 24 * HOUR
WITHIN = 7 * DAY
FIRST, SECOND, OTHER = 30 * DAY, 60 * DAY, 90 * DAY
KEPT = timedelta(days=90)  # how long a suppression counts as the one before, after its end

_ENHANCED = re.compile(r"[245]\d\d[ -](5\.\d{1,3}\.\d{1,3})\b|(5\.\d{1,3}\.\d{1,3}) ")

# An address has as many strikes within an hour as count. A batch to a dead address costs no more.
STRIKE = f"""
    INSERT INTO suppression_strikes (address, delivery, at, domain, relay, code)
    SELECT f.address, f.delivery, f.at, f.domain, f.relay, f.code FROM (
        SELECT CAST(? AS TEXT) AS address, CAST(? AS TEXT) AS delivery, CAST(? AS BIGINT) AS at,
            CAST(? AS TEXT) AS domain, CAST(? AS TEXT) AS relay, CAST(? AS TEXT) AS code
    ) AS f WHERE (
        SELECT count(*) FROM suppression_strikes AS s
        WHERE s.address = f.address AND s.at BETWEEN f.at - {HOUR} AND f.at + {HOUR}
    ) < {STRIKES}
    ON CONFLICT (address, delivery) DO NOTHING
"""  # noqa: S608  constant pieces


def _few(name: str) -> str:
    """Whether fewer addresses than a burst has bounced around the time of a strike `s`."""
    return (
        f"(SELECT count(*) FROM (SELECT DISTINCT b.address FROM suppression_strikes AS b"  # noqa: S608  constant pieces
        f" WHERE b.{name} = s.{name} AND b.at BETWEEN s.at - {HOUR} AND s.at + {HOUR}"
        f" LIMIT {BURST}) AS o) < {BURST}"
    )


# What a person has put on the list stays as it is, and a suppression that lasts is not prolonged.
SUPPRESS = f"""
    INSERT INTO suppressions (address, key, domain, reason, since, until, times, source)
    SELECT f.address, '', f.domain, 'bounce', f.at, f.at + {FIRST}, 1, CAST(? AS TEXT)
    FROM (
        SELECT s.address, s.domain, max(s.at) AS at FROM suppression_strikes AS s
        WHERE s.address = ? AND s.at BETWEEN ? AND ? AND {_few("domain")} AND {_few("relay")}
        GROUP BY s.address, s.domain HAVING count(*) >= {STRIKES}
    ) AS f WHERE 1 = 1
    ON CONFLICT (address, key) DO UPDATE SET
        reason = excluded.reason, since = excluded.since, source = excluded.source,
        until = excluded.since
            + CASE suppressions.times WHEN 0 THEN {FIRST} WHEN 1 THEN {SECOND} ELSE {OTHER} END,
        times = suppressions.times + 1
    WHERE suppressions.until <= excluded.since
"""  # noqa: S608  constant pieces
FORGET = "DELETE FROM suppression_strikes WHERE at < ?"
BURSTS = """
    SELECT {name}, count(DISTINCT address), min(at) FROM suppression_strikes
    WHERE at > ? AND {name} <> '' GROUP BY {name} HAVING count(DISTINCT address) >= {burst}
"""
# Suppressions from before the burst was recognized.
LIFT = """
    DELETE FROM suppressions WHERE reason = 'bounce' AND times > 0 AND since > ? AND address IN (
        SELECT address FROM suppression_strikes WHERE {name} = ? AND at > ?
    ) RETURNING address
"""


class Strike(Struct, frozen=True):
    """A bounce that says that a mailbox does not exist."""

    address: str
    at: datetime
    relay: str
    code: str


def strikes_of(delivery: Delivery) -> Iterator[Strike]:
    """The strikes in a message by mail that was sent."""
    if delivery.route is Route.RELAY and delivery.attempts:
        for recipient in delivery.recipients:
            if recipient.status is RecipientStatus.REFUSED:
                yield from _refusal(delivery, recipient)
            elif recipient.later is not None:
                yield from _report(delivery, recipient)


def _refusal(delivery: Delivery, recipient: Recipient) -> Iterator[Strike]:
    for attempt in reversed(delivery.attempts):
        if (failure := attempt.failures.get(recipient.address)) is not None:
            code = enhanced(failure.reply)
            if failure.stage is Stage.RCPT and failure.final and code in HARD:
                yield Strike(recipient.address, attempt.started_at, attempt.relay, code)
            return


def _report(delivery: Delivery, recipient: Recipient) -> Iterator[Strike]:
    later = recipient.later
    if later is not None and recipient.bounced and later.code in HARD:
        # Not when it bounced: reports that were late are a burst as they come in.
        at = taken_at(delivery, recipient.address, later)
        yield Strike(recipient.address, at, delivery.attempts[-1].relay, later.code)


def enhanced(reply: str) -> str:
    """The enhanced status code at the begin of a reply; empty: there is none."""
    found = _ENHANCED.match(reply)
    return (found[1] or found[2]) if found else ""


def statements(changed: Sequence[Delivery]) -> list[Statement]:
    """What goes into the journal with changed deliveries. Strikes that are known change nothing."""
    found: list[Statement] = []
    for delivery in changed:
        for strike in strikes_of(delivery):
            local, domain = address_parts(strike.address)
            address, at = f"{local}@{domain}", micros(strike.at)
            source = f"{strike.code} for several messages, last for {delivery.id}"
            kept = address, delivery.id, at, domain, strike.relay, strike.code
            found.append(Statement(STRIKE, kept))
            found.append(Statement(SUPPRESS, (source, address, at - WITHIN, at + WITHIN)))
    return found


class Bursts:
    """Finds bursts, and lifts what was suppressed in them."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    async def found(self, now: datetime) -> tuple[Trouble, ...]:
        """The bursts of the last hour, as alerts. Lifts the suppressions that they caused."""
        since = micros(now) - HOUR
        troubles = []
        for name, place in (("domain", "at {}"), ("relay", "by the relay {}")):
            sql = BURSTS.format(name=name, burst=BURST)
            for where, count, at in await self._journal.query(sql, since):
                lift = Statement(LIFT.format(name=name), (since, where, since))
                await self._journal.execute(lift)
                text = (
                    f"{count} addresses {place.format(where)} bounced within an hour "
                    "as if they did not exist; none of them is suppressed for that"
                )
                troubles.append(Trouble("bounce_burst", where, moment(at), text))
        return tuple(troubles)

    async def forget(self, now: datetime) -> None:
        """Delete strikes that no longer count."""
        await self._journal.execute(Statement(FORGET, (micros(now) - WITHIN - DAY,)))
