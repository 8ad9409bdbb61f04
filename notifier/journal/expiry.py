"""When the first of the waiting deliveries expires, in one query for both journals."""

from datetime import datetime

from notifier.journal import Journal
from notifier.journal.rows import moment

FIRST = "SELECT min(expires_at) FROM deliveries WHERE expires_at IS NOT NULL"


async def next_expiry(journal: Journal) -> datetime | None:
    """When the first waiting delivery expires. None: nothing waits. Raises JournalUnavailable."""
    ((first,),) = await journal.query(FIRST)
    return moment(first) if isinstance(first, int) else None
