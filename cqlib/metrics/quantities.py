"""Everything that is measured and compared, registered once: tables, claims and pages take it from here.

A new score of samples is an entry here, and a function in `cqlib.metrics.fidelity`. Standard library only.
"""

import re
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Quantity:
    """`id` as claims call it, `name` as records do; `better`: the direction; `digits`: decimals, None: by size.

    `unit` is that of a claim's effect: bits per dimension ("bpd"), percent of the other system's score ("%") or, for
    shares, percentage "points"; two systems count as equal within `equal` such units. A score of samples has `how`, the
    function of `cqlib.metrics.fidelity` that computes it, and `lite0`, its name on the features that come with pip; a
    record carries it at both temperatures, "FID@T1". `column`: it stands in the tables of the paper; `distance`: its
    floor is the distance of real images from each other; `slow`: it is measured under the main protocol alone;
    `labelled`: it is not measured on data whose images all have one label; `checked_by`: the id of another score of the
    same thing, which claims report beside this one.
    """

    id: str
    name: str
    better: Literal["lower", "higher"] = "lower"
    unit: Literal["bpd", "%", "points"] = "%"
    digits: int | None = None
    equal: float = 10.0
    how: str = ""
    lite0: str = ""
    column: bool = False
    distance: bool = False
    slow: bool = False
    labelled: bool = False
    checked_by: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """Its names in records: on the paper's features, then on those that stand in for them."""
        return (self.name, self.lite0) if self.lite0 else (self.name,)

    @property
    def real(self) -> str:
        """How its name ends for real images, whose score is a bar for samples: "FD-lite0-floor", "IS-lite0-real"."""
        return "-floor" if self.distance else "-real"

    @property
    def arrow(self) -> str:
        """The arrow that says which way is better: "↓" where lower is."""
        return "↓" if self.better == "lower" else "↑"


_SHARE: dict[str, Any] = {"unit": "points", "digits": 2, "equal": 5.0, "slow": True}
QUANTITIES = {
    quantity.id: quantity
    for quantity in (
        Quantity("bpd", "BPD", unit="bpd", digits=2, equal=0.05),
        Quantity("is", "IS", "higher", digits=2, how="inception_score", lite0="IS-lite0", column=True),
        Quantity("fid", "FID", how="frechet_distance", lite0="FD-lite0", column=True, distance=True, checked_by="kid"),
        Quantity("kid", "KID", how="kernel_distance", lite0="KD-lite0", column=True, distance=True),
        Quantity("precision", "Precision", "higher", how="precision", lite0="Precision-lite0", **_SHARE),
        Quantity("recall", "Recall", "higher", how="recall", lite0="Recall-lite0", **_SHARE),
        Quantity("classes", "Classes", "higher", how="class_coverage", lite0="Classes-lite0", labelled=True, **_SHARE),
        Quantity("hypervolume", "HV", "higher", "points", digits=3, equal=1.0, lite0="HV-lite0"),
        Quantity("seconds", "seconds"),
    )
}  # fmt: skip
SCORES = tuple(quantity for quantity in QUANTITIES.values() if quantity.how)
"""The scores of samples, in the order in which records carry them."""
COLUMNS = tuple(quantity for quantity in SCORES if quantity.column)
FEATURES = {"inception": tuple(q.name for q in COLUMNS), "lite0": tuple(q.lite0 for q in COLUMNS)}
"""Kind of features -> the names of `COLUMNS` (IS, FID, KID) on them."""
TEMPERATURES = (0.0, 1.0)
"""Temperatures T of the samples, in the order of columns: what the critic saw comes first."""
AT = tuple(f"T{t:g}" for t in TEMPERATURES)
"""The same as metric names have them ("FID@T1")."""


def score_of(name: str) -> str:
    """The score in a metric's name, without temperature and protocol: "FD-lite0" for "FD-lite0@T0"."""
    return name.partition("@")[0]


def _named(name: str) -> list[Quantity]:
    """The quantity that a metric's name begins with: BPD for "BPD-IW", FID for "FD-lite0@T0"; none for "KL-8x8-1"."""
    return [q for q in QUANTITIES.values() if re.match(rf"({'|'.join(q.names)})\b", name)]


def real_name(name: str) -> str:
    """The name of the same score of real images, a bar for samples: "FD-lite0-floor" for "FD-lite0@T0", "IS-real" for
    "IS"; empty where there is none, as for BPD."""
    score = score_of(name)
    return next((score + q.real for q in SCORES if score in q.names), "")


def temperature_of(name: str) -> str:
    """The temperature in a metric's name: "0" for "FD-lite0@T0 [sngan]"; "" for "BPD", which has none."""
    return name.partition("@T")[2].partition(" ")[0]


def heading(name: str) -> str:
    """A metric's name with its direction and temperature: "FD-lite0@T0" gives "FD-lite0 ↓, T = 0"."""
    score, at, temperature = name.partition("@T")
    words = " ".join([score, *(q.arrow for q in _named(score))])
    return f"{words}, T = {temperature}" if at else words


def temperatures(metric: str) -> tuple[float | None, ...]:
    """The temperatures at which `metric`, an id, is compared: for scores of samples first 0, the decoder's mean (the
    paper's G_theta(z), as it is remembered), then 1; for anything else None alone."""
    return TEMPERATURES if QUANTITIES[metric].lite0 else (None,)


def metric_names(metric: str, temperature: float | None) -> tuple[str, ...]:
    """Names of `metric` in records, the paper's features first: ("FID@T1", "FD-lite0@T1"). ValueError for another T."""
    if temperature not in temperatures(metric):
        raise ValueError(f"no metric '{metric}' at temperature {temperature}")
    at = "" if temperature is None else f"@T{temperature:.0f}"
    return tuple(name + at for name in QUANTITIES[metric].names)


def digits(name: str, value: float) -> int:
    """Decimals a metric of a record is printed with: those of its quantity, or by the size of the value."""
    of_quantity = (q.digits for q in _named(name) if q.digits is not None)
    size = abs(value)
    return next(of_quantity, 0 if size >= 1000 else 1 if size >= 10 else 2 if size >= 1 else 3 if size >= 0.1 else 4)


def decimal(name: str, value: float, places: int | None = None) -> str:
    """A metric as it is printed, "1,994" or "−0.01"; a zero has no sign."""
    text = f"{value:,.{digits(name, value) if places is None else places}f}"
    return text.lstrip("-") if not text.strip("-0.,") else text.replace("-", "−")
