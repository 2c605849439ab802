"""One measured number, as it stands in records."""

from __future__ import annotations

from dataclasses import dataclass

from cqlib.util import checks

MAX_PER_IMAGE = 500


STARRED = "starred recipe"
"""How the protocol of a BPD begins that was obtained round a frozen generator."""


@dataclass(frozen=True)
class Metric:
    """One number: `value`, `std` (a spread, or None), taken on `n` images, and the `protocol` in words."""

    value: float
    std: float | None
    n: int
    protocol: str

    def __post_init__(self) -> None:
        checks.put(self, "value", checks.real(self.value, "value"))
        checks.put(self, "std", None if self.std is None else checks.real(self.std, "std", low=0))
        checks.put(self, "n", checks.whole(self.n, "n"))
        checks.text(self.protocol, "protocol")
