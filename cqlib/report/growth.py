"""Does the effect of a claim grow with size and training?"""

from collections.abc import Iterable
from itertools import chain

from cqlib.experiments.ablations import STEPS
from cqlib.experiments.variants import in_words
from cqlib.report.inference import difference_interval
from cqlib.report.verdicts import ClaimResult, Results
from cqlib.util.text import without_paths

OPPOSITE = "lie on opposite sides of 0"
"""Words about the intervals of one claim at its smallest and largest scale, where one speaks for it and one against."""


def growth(tests: Iterable[Results]) -> tuple[str, ...]:
    """A sentence for each data set, at each temperature, on which a claim was tested by today's recipes at several
    scales (image size, steps): the verdicts at the smallest and the largest scale, and whether the effect grows between
    them. Of several `tests` at one scale the first counts."""
    scales: dict[tuple[str, str], dict[tuple[int, int], ClaimResult]] = {}
    for result in filter(_counts, chain(*tests)):
        steps = result.runs.done(result.claim.row_a)[0].steps
        scales.setdefault((result.runs.data, result.at), {}).setdefault((result.runs.size, steps), result)
    sentences = []
    for (data, at), results in scales.items():
        if len(results) > 1:
            small, large = results[min(results)], results[max(results)]
            where = ", ".join(filter(None, (without_paths(data), at)))
            sentences.append(f"{where}: {_at(small)}, {_at(large)}; {_trend(small, large)}.")
    return tuple(sentences)


def _counts(result: ClaimResult) -> bool:
    """Not from smoke runs, former recipes or recipes with other changes than their number of steps, and not where it
    has no effect."""
    runs = result.runs
    changed = bool(runs.changes.keys() - {STEPS})
    return not (runs.outdated or changed or runs.profile == "smoke") and result.effect is not None


def _at(result: ClaimResult) -> str:
    """ "holds at 16×16 (quick, +0.61 bpd [+0.57, +0.66])"."""
    runs = result.runs
    how = ", ".join(filter(None, (runs.profile, in_words(runs.changes), result.text)))
    return f"{result.verdict} at {runs.size}×{runs.size} ({how})"


def _trend(small: ClaimResult, large: ClaimResult) -> str:
    a, b = small.interval, large.interval
    if "seen once" in (small.label, large.label) or a is None or b is None:
        return "one seed does not say whether the effect grows"
    (effect_a, low_a, high_a), (effect_b, low_b, high_b) = a, b
    if (low_a > 0 > high_b) or (low_b > 0 > high_a):
        return f"its intervals {OPPOSITE}, so that the claim depends on size and training"
    contrary = max(effect_a, effect_b) < 0
    if contrary:  # it grows downwards: turn both intervals round
        a, b = (-effect_a, -high_a, -low_a), (-effect_b, -high_b, -low_b)
    low, high = difference_interval(b, a)
    if low <= 0 <= high:
        return "with size and training its effect changes by no more than these seeds can tell"
    same_sign = effect_a * effect_b > 0
    verb = ("grows" if same_sign else "rises") if low > 0 else ("shrinks" if same_sign else "falls")
    magnified = small.temperature is not None and small.runs.sides != large.runs.sides
    limit = ", as far as scores of images magnified to two sides compare" if magnified else ""
    return f"its {'contrary effect' if contrary else 'effect'} {verb} with size and training{limit}"
