"""One measured number, as it stands in records."""

from pydantic.dataclasses import dataclass

from cqlib.util.schema import STRICT, Count, NonNegative, Number, Text

MAX_PER_IMAGE = 500
GROUP = "group"
"""A key of a record's `per_image`: the group of each image, a number; images of one group overlap, or were cut from one
place."""

STARRED = "starred recipe"
"""The first words of the protocol of a BPD that was obtained around a frozen generator."""


@dataclass(frozen=True, config=STRICT)
class Metric:
    """One number: `value`, `std` (a spread, or None), taken on `n` images, and the `protocol` in words."""

    value: Number
    std: NonNegative | None
    n: Count
    protocol: Text
