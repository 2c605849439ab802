"""What a reader wants to know first: the chief claims of Table 1 with their verdicts."""

from collections.abc import Mapping, Sequence

from cqlib.report.claim_cards import cards
from cqlib.report.run_sets import RunSet

HEADLINES = {
    "f lowers BPD, with and without the quality loss": {"with": "f-quality-bpd", "without": "f-bpd"},
    "The quality loss lowers FID, with and without f": {"with": "quality-loss-f-fid", "without": "quality-loss-fid"},
    "Without f, the quality loss leaves BPD as it is": {"": "quality-loss-bpd"},
    "CQ-F beats CQ in FID": {"": "f-quality-fid"},
    "CQ-F beats GAN in BPD": {"": "cq-f-gan-bpd"},
    "CQ-F beats GAN in FID": {"": "cq-f-gan-fid"},
    "CQ-F beats GAN in coverage (this project’s claim)": {"": "cq-f-gan-coverage"},
}
"""Sentence -> the claims of Table 1 that say it, each under the word for its part of it."""


def headlines(sets: Sequence[RunSet]) -> dict[str, dict[str, list[str]]]:
    """Sentence -> verdict, by the one of `sets` that decides -> the parts that have it: {"CQ-F beats …": {"holds":
    ["with"], "undecided": ["without"]}}."""
    verdict_of = {card.claim.id: card.verdict for card in cards(sets, "table1/")}
    found: dict[str, dict[str, list[str]]] = {}
    for text, claims in HEADLINES.items():
        parts: dict[str, list[str]] = found.setdefault(text, {})
        for part, claim in claims.items():
            parts.setdefault(verdict_of[f"table1/{claim}"], []).append(part)
    return found


def in_words(parts: Mapping[str, Sequence[str]]) -> str:
    """ "holds", or "undecided (with) and equal (without)"."""
    if len(parts) == 1:
        return next(iter(parts))
    return " and ".join(f"{verdict} ({', '.join(names)})" for verdict, names in parts.items())
