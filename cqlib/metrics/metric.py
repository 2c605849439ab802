"""One measured number, as it stands in records."""

from pydantic.dataclasses import dataclass

from cqlib.util.schema import STRICT, Count, NonNegative, Number, Text

STARRED = "starred recipe"
"""The first words of the protocol of a BPD that was obtained around a frozen generator."""


@dataclass(frozen=True, config=STRICT)
class Metric:
    """One number: `value`, `std` (a spread, or None), taken on `n` images, and the `protocol` in words."""

    value: Number
    std: NonNegative | None
    n: Count
    protocol: Text
