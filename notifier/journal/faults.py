"""The errors of either journal."""

from notifier.errors import JournalUnavailable, Rejected

FULL_SECONDS = 30  # until a caller should try again while there is no space


def closed() -> JournalUnavailable:
    return JournalUnavailable("the journal is closed")


def full(why: str) -> JournalUnavailable:
    return JournalUnavailable(f"insufficient_storage: {why}", retry_after=FULL_SECONDS)


def search_too_long() -> JournalUnavailable:
    return JournalUnavailable("the search takes too long; add another filter")


def unkeepable(error: BaseException) -> Rejected:
    return Rejected(f"the journal cannot store this value: {error}")
