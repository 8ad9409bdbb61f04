"""Settings that protect recipients: who is suppressed by itself, and how much one gets."""

from typing import Annotated, Literal

from msgspec import Meta

from notifier.quotas import Quota
from notifier.settings.parsers import QUOTA, choice
from notifier.settings.retention import Retention


class Protection(Retention, frozen=True, kw_only=True):
    """The fields of Settings about recipients."""

    suppress: Annotated[
        Literal["off", "bounces"],
        choice("off", "bounces"),
        Meta(
            description="`bounces`: an address that does not exist twice in seven days is "
            "suppressed by itself; see [suppressions](suppressions.md). `off`: only by hand."
        ),
    ] = "off"
    per_recipient: Annotated[
        Quota | None,
        QUOTA,
        Meta(
            description="Most messages to one recipient in a time, such as `20/h`; see "
            "[the storm brake](suppressions.md#the-storm-brake). A key may have its own. "
            "Default: no limit."
        ),
    ] = None
    on_storm: Annotated[
        Literal["hold", "refuse"],
        choice("hold", "refuse"),
        Meta(
            description="What becomes of a message beyond `NOTIFIER_PER_RECIPIENT`: `hold` it "
            "until a person decides, or `refuse` it with `429`."
        ),
    ] = "hold"
