"""What was reported of a recipient, as a sentence for people."""

from datetime import UTC

from notifier.recipients import Later, LaterState, part_of
from notifier.reports.classes import MEANINGS, class_of


def sentence(recipient: str, later: Later) -> str:
    """When what was said of this recipient, and by whom."""
    at = f"{later.at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    address, _ = part_of(recipient)
    match later.state:
        case LaterState.DELIVERED:
            return f"At {at} it was reported to be in the mailbox of {address}."
        case LaterState.RELAYED:
            return f"At {at} it was relayed for {address} to a server that reports nothing more."
        case LaterState.COMPLAINED:
            return f"At {at} {address} was reported to have called it spam."
        case LaterState.DELAYED:
            return f"At {at} it was reported to wait on its way to {address}: {_why(later)}."
        case LaterState.BOUNCED:
            domain = address.rpartition("@")[2] or address
            return f"At {at} it came back from {address}: {domain} said that {_why(later)}."


def _why(later: Later) -> str:
    said = later.text if later.code in later.text else f"{later.code} {later.text}"
    said = " ".join(said.split()).rstrip(".")
    meaning = MEANINGS.get(class_of(later), "")
    if not meaning or not said:
        return meaning or said or "it cannot be delivered"
    return f"{meaning} ({said})"
