"""Everything that is measured and compared, registered once: tables, claims and pages take it from here.

A new score of samples is an entry here, and a function in `cqlib.metrics.fidelity`. Standard library only.
"""

import re
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Quantity:
    """`id` as claims call it, `name` as records do; `better`: the direction; `digits`: decimals, None: by size.

    `unit` is that of a claim's effect: bits per dimension ("bpd"), percent of the other system's score ("%") or, for
    shares, percentage "points"; two systems count as equal within `equal` such units. A score of samples has `lite0`,
    its name on the features that come with pip; `cqlib.metrics.fidelity` computes it. `distance`: its floor is the
    distance of real images from each other; `slow`: it is measured under the main protocol alone.
    """

    id: str
    name: str
    better: Literal["lower", "higher"] = "lower"
    unit: Literal["bpd", "%", "points"] = "%"
    digits: int | None = None
    equal: float = 10.0
    lite0: str = ""
    distance: bool = False
    slow: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """Its names in records: on the paper's features, then on those that stand in for them."""
        return (self.name, self.lite0) if self.lite0 else (self.name,)

    @property
    def real(self) -> str:
        """The suffix of its name for real images, a reference for samples: "FD-lite0-floor", "IS-lite0-real"."""
        return "-floor" if self.distance else "-real"

    @property
    def arrow(self) -> str:
        """The arrow that says which way is better: "↓" where lower is."""
        return "↓" if self.better == "lower" else "↑"


QUANTITIES = {
    quantity.id: quantity
    for quantity in (
        Quantity("bpd", "BPD", unit="bpd", digits=2, equal=0.05),
        Quantity("is", "IS", "higher", digits=2, lite0="IS-lite0"),
        Quantity("fid", "FID", lite0="FD-lite0", distance=True),
        Quantity("kid", "KID", lite0="KD-lite0", distance=True),
        Quantity("coverage", "Coverage", "higher", "points", digits=2, equal=5.0, lite0="Coverage-lite0", slow=True),
        Quantity("seconds", "seconds"),
    )
}
SCORES = tuple(quantity for quantity in QUANTITIES.values() if quantity.lite0)
"""The scores of samples, in the order in which records carry them and tables show them."""
FEATURES = {"inception": tuple(q.name for q in SCORES), "lite0": tuple(q.lite0 for q in SCORES)}
"""Kind of features -> the names of `SCORES` on them."""


ENCODED, DRAWN, SHARE = "ln-sigma-encoded", "ln-sigma-drawn", "drawn-like-encoded"
"""The numbers of a decoder's two regimes (`cqlib.metrics.regimes`)."""


def score_of(name: str) -> str:
    """The score in a metric's name, without the protocol: "FID" for "FID [sngan]"."""
    return name.partition(" [")[0]


def quantity_of(name: str) -> Quantity | None:
    """The quantity that a metric's name begins with: BPD for "BPD-IW", FID for "FD-lite0"; None for "KL-8x8-1"."""
    return next((q for q in QUANTITIES.values() if re.match(rf"({'|'.join(q.names)})\b", name)), None)


def real_name(name: str) -> str:
    """The name of the same score of real images, a reference for samples: "FD-lite0-floor" for "FD-lite0", "IS-real"
    for "IS"; empty where there is none, as for BPD."""
    score = score_of(name)
    return next((score + q.real for q in SCORES if score in q.names), "")


def heading(name: str) -> str:
    """A metric's name with its direction: "FD-lite0" gives "FD-lite0 ↓"."""
    quantity = quantity_of(name)
    return f"{name} {quantity.arrow}" if quantity else name


def digits(name: str, value: float) -> int:
    """Decimals a metric of a record is printed with: those of its quantity, or by the size of the value."""
    quantity, size = quantity_of(name), abs(value)
    if quantity and quantity.digits is not None:
        return quantity.digits
    return 0 if size >= 1000 else 1 if size >= 10 else 2 if size >= 1 else 3 if size >= 0.1 else 4


def decimal(name: str, value: float, places: int | None = None) -> str:
    """A metric as it is printed, "1,994", "−0.01" or "∞"; a zero has no sign."""
    text = f"{value:,.{digits(name, value) if places is None else places}f}".replace("inf", "∞")
    return text.lstrip("-") if not text.strip("-0.,") else text.replace("-", "−")
