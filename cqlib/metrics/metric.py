"""One measured number, as it stands in records."""

from pydantic.dataclasses import dataclass

from cqlib.util.schema import STRICT, Count, NonNegative, Number, Text

MAX_PER_IMAGE = 500
GROUP = "group"
"""Among a record's values per image: images of equal numbers overlap, or were cut from one place."""

STARRED = "starred recipe"
"""How the protocol of a BPD begins that was obtained around a frozen generator."""


@dataclass(frozen=True, config=STRICT)
class Metric:
    """One number: `value`, `std` (a spread, or None), taken on `n` images, and the `protocol` in words."""

    value: Number
    std: NonNegative | None
    n: Count
    protocol: Text
