"""Verdicts on claims: does what the paper says show in our runs? Two rows, paired by seed.

A claim can be tested at any scale and on any data; the verdict says on which. Verdicts on single numbers are
in `cqlib.report.number_verdicts`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from cqlib.experiments.claims import CLAIMS, Claim, applies
from cqlib.experiments.paper import DATA_SETS, EQUAL, canonical, published_effect
from cqlib.experiments.record import Record
from cqlib.report.number_verdicts import TEMPERATURES, done_by_seed, metric_names

LABELS = ("holds", "equal", "does not hold", "undecided", "seen once", "not run")
RESAMPLES = 2_000
CONFIDENCE = 0.95


@dataclass(frozen=True)
class ClaimResult:
    """A tested claim. `effect`, `low`, `high` are in `claim.unit`, positive as claimed (see `Claim.effect`).

    `low` and `high` bound a 95 % interval: Student's t over seeds, or, for one seed's BPD, a bootstrap over
    test images; None where there is none. `published` is the same effect in the paper's numbers.
    `direction` is "as claimed", "contrary" or "" (nothing measured). `alone` are seeds of one of the rows that have no
    comparable partner. `temperature` is None for metrics without samples.
    """

    claim: Claim
    label: str
    reason: str
    effect: float | None = None
    low: float | None = None
    high: float | None = None
    n_seeds: int = 0
    seeds: tuple[int, ...] = ()
    alone: tuple[int, ...] = ()
    data: str = ""
    profile: str = ""
    metric_name: str = ""
    temperature: float | None = None
    published: float | None = None
    direction: str = ""
    lacks: int = 0
    """What a claim that was not run lacks: 0 a comparable pair, 1 or 2 rows, 3 data that it speaks of."""


def claim_result(
    claim: Claim,
    records: Sequence[Record],
    *,
    temperature: float | None = None,
    data: str | None = None,
    profile: str | None = None,
) -> ClaimResult:
    """Test `claim` on `records`, of `data` and `profile` where given.

    Runs of the two rows pair by seed; a pair counts when both are done, on the same images, in the same precision
    (unless their recipes ask for different ones), and measured with the same protocol. For BPD a protocol may differ in
    its kind (exact, bound), as it does between the paper's own rows; the number of images may not. Two pairs or more
    give `judge`'s label on the t interval; one is "seen once".

    ValueError for a temperature that does not suit the metric, for two records of one row and seed, and for
    records of several data sets or profiles where neither is given.
    """
    names = metric_names(claim.metric, temperature)
    rows = {canonical(claim.row_a), canonical(claim.row_b)}
    records = [record for record in records if canonical(record.row) in rows]
    records = [record for record in records if data in (None, record.data.name)]
    records = [record for record in records if profile in (None, record.profile)]
    kinds = sorted({(record.data.name, record.profile) for record in records})
    if len(kinds) > 1:
        raise ValueError(f"a claim is tested on one data set and profile, not {len(kinds)}: say which")
    found_data, found_profile = kinds[0] if kinds else (data or "", profile or "")
    runs_a, runs_b = done_by_seed(claim.row_a, records), done_by_seed(claim.row_b, records)

    def result(label: str, reason: str, **more) -> ClaimResult:
        return ClaimResult(
            claim,
            label,
            reason,
            data=found_data,
            profile=found_profile,
            temperature=temperature,
            published=published_effect(claim),
            **more,
        )

    if found_data and not applies(claim, found_data):
        return result("not run", f"claimed for {_label(claim.data)}, not for {_label(found_data)}", lacks=3)
    missing = [row for row, runs in ((claim.row_a, runs_a), (claim.row_b, runs_b)) if not runs]
    if missing:
        return result("not run", f"no finished run of {' and '.join(missing)}", lacks=len(missing))
    name, pairs = _pairs(names, runs_a, runs_b)
    if not pairs:
        return result("not run", f"no two runs of one seed have {names[-1]} on the same images, in the same precision "
                                 "and by the same protocol")  # fmt: skip

    a, b = (np.array([record.metrics[name].value for record in side]) for side in zip(*pairs, strict=True))
    seeds = tuple(record.seed for record, _ in pairs)
    alone = tuple(sorted({*runs_a, *runs_b} - {*seeds}))
    found = {"n_seeds": len(pairs), "seeds": seeds, "alone": alone, "metric_name": name}
    if claim.unit == "%" and b.mean() <= 0:
        return result("undecided", f"{name} of {claim.row_b} is not positive: no percentages", **found)
    effects = np.array([claim.effect(x, y, b.mean()) for x, y in zip(a, b, strict=True)])
    effect, margin = float(effects.mean()), EQUAL[claim.metric]
    as_claimed = abs(effect) <= margin if claim.kind == "equal" else effect > 0
    found |= {"effect": effect, "direction": "as claimed" if as_claimed else "contrary"}
    if len(pairs) == 1:
        low, high = _bootstrap(claim, *pairs[0], name, effect)
        return result("seen once", f"one seed, {found['direction']}", low=low, high=high, **found)
    low, high = t_interval(effects)
    label, reason = judge(claim.kind, low, high, margin)
    left_out = f"; left out, without a comparable partner: seed {', '.join(map(str, alone))}" if alone else ""
    return result(label, f"{len(pairs)} seeds: the interval {reason}{left_out}", low=low, high=high, **found)


def judge(kind: str, low: float, high: float, margin: float) -> tuple[str, str]:
    """The label of an interval [low, high] of oriented effects, and why ("lies above 0").

    For a directional claim ("lower", "higher", "cost") the sign decides first: an interval above 0 *holds*,
    one below 0 *does not hold*, however small the effect. Only an interval that contains 0 can be *equal*,
    when it lies inside [-margin, margin]; else it is *undecided*. So a claim and its reverse never both
    hold, and the paper's own small effects (0.03 bpd, 2.5 % of IS for the larger discriminator) can hold at
    all; the reason says when an effect is below the margin. An "equal" claim *holds* when the interval lies
    inside the margin, whatever its sign, *does not hold* when it lies wholly outside, else it is
    *undecided*.
    """
    inside = -margin <= low and high <= margin
    small = ", within the margin of equality" if inside else ""
    if kind == "equal":
        if inside:
            return "holds", "lies within the margin of equality"
        outside = low > margin or high < -margin
        if outside:
            return "does not hold", "lies outside the margin of equality"
        return "undecided", "crosses the margin of equality"
    if low > 0:
        return "holds", f"lies above 0{small}"
    if high < 0:
        return "does not hold", f"lies below 0{small}"
    return ("equal", f"contains 0{small}") if inside else ("undecided", "contains 0 and exceeds the margin")


def t_interval(effects: np.ndarray) -> tuple[float, float]:
    """95 % Student-t interval of the mean of paired effects, n >= 2; two or three seeds give a wide one."""
    mean, error = effects.mean(), effects.std(ddof=1) / np.sqrt(len(effects))
    half = error * stdtrit(len(effects) - 1, (1 + CONFIDENCE) / 2)
    return float(mean - half), float(mean + half)


def bootstrap_interval(differences: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """95 % percentile interval of the mean of paired per-image differences, 2,000 seeded resamples."""
    picks = np.random.default_rng(seed).integers(len(differences), size=(RESAMPLES, len(differences)))
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(differences[picks].mean(axis=1), [tail, 1 - tail])
    return float(low), float(high)


def claims_table(records: Sequence[Record], data: str, profile: str) -> list[ClaimResult]:
    """Every claim tested on `data` and `profile`; claims on IS and FID twice, at temperatures 1 and 0."""
    return [
        claim_result(claim, records, temperature=temperature, data=data, profile=profile)
        for claim in CLAIMS
        for temperature in (TEMPERATURES if claim.metric in ("is", "fid") else (None,))
    ]


def _pairs(
    names: tuple[str, ...], runs_a: dict[int, Record], runs_b: dict[int, Record]
) -> tuple[str, list[tuple[Record, Record]]]:
    """Which of `names` most comparable pairs carry (of equals the first), and those pairs in the order of seeds.

    A pair has one protocol; its words may differ between seeds, which they may name. The images are the same
    in all pairs: of several groups, from other versions of a data set, the largest is taken.
    """
    best: tuple[str, list[tuple[Record, Record]]] = "", []
    for name in names:
        groups: dict[tuple, list[tuple[Record, Record]]] = {}
        for seed in [seed for seed in runs_a if seed in runs_b]:
            pair = runs_a[seed], runs_b[seed]
            if all(name in record.metrics for record in pair) and not _precisions_mixed(*pair):
                images, other = (_images(name, record) for record in pair)
                protocols = {record.metrics[name].protocol for record in pair}
                if images == other and (name == "BPD" or len(protocols) == 1):
                    groups.setdefault(images, []).append(pair)
        found = max(groups.values(), key=len, default=[])
        best = max(best, (name, found), key=lambda pairs: len(pairs[1]))
    return best


def _precisions_mixed(a: Record, b: Record) -> bool:
    """Whether one ran in bf16 and the other in fp32 though both recipes leave that to the device."""
    left_open = all(_autocast(record) == "auto" for record in (a, b))
    return left_open and a.device.rpartition(", ")[2] != b.device.rpartition(", ")[2]


def _autocast(record: Record) -> str:
    return record.config.get("recipe", {}).get("training", {}).get("autocast", "auto")


def _images(name: str, record: Record) -> tuple[str, str, int]:
    return record.data.split, record.data.fingerprint, record.metrics[name].n


def _bootstrap(claim: Claim, a: Record, b: Record, name: str, effect: float) -> tuple[float, float] | tuple[None, None]:
    """One seed's interval for BPD, or (None, None) where a record has no per-image values.

    The values may cover only some of the test images: the interval is as wide as they make it, and is moved
    to lie about `effect`, the difference on all.
    """
    first, second = a.per_image.get(name), b.per_image.get(name)
    if claim.metric != "bpd" or not first or not second or len(first) != len(second):
        return None, None
    differences = np.array([claim.effect(x, y) for x, y in zip(first, second, strict=True)])
    low, high = bootstrap_interval(differences)
    shift = effect - float(differences.mean())
    return low + shift, high + shift


def _label(data: str) -> str:
    return DATA_SETS[data].label if data in DATA_SETS else data
