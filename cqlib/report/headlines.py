"""What a reader wants to know first: the chief claims of Table 1 with their verdicts."""

from collections.abc import Mapping, Sequence

from cqlib.report.claim_cards import cards
from cqlib.report.run_sets import RunSet

HEADLINES = {
    "f lowers BPD, with and without the quality loss": {"with": "f-quality-bpd", "without": "f-bpd"},
    "The quality loss improves IS and FID without f": {"IS": "quality-loss-is", "FID": "quality-loss-fid"},
    "The quality loss improves IS and FID with f": {"IS": "quality-loss-f-is", "FID": "quality-loss-f-fid"},
    "CQ-F beats CQ in IS and FID": {"IS": "f-quality-is", "FID": "f-quality-fid"},
    "CQ-F beats GAN in IS and FID": {"IS": "cq-f-gan-is", "FID": "cq-f-gan-fid"},
    "CQ-F beats GAN in BPD": {"": "cq-f-gan-bpd"},
    "CQ-F beats GAN in coverage (this project’s claim)": {"": "cq-f-gan-coverage"},
}
"""Sentence -> the claims of Table 1 that say it, each under the word for its part of it."""


def headlines(runs: RunSet) -> dict[str, dict[str, list[str]]]:
    """Sentence -> verdict -> the parts that have it: {"CQ-F beats …": {"holds": ["IS"], "undecided": ["FID"]}}."""
    verdict_of = {card.claim.id: card.verdict for card in cards([runs], "table1/")}
    found: dict[str, dict[str, list[str]]] = {}
    for text, claims in HEADLINES.items():
        parts: dict[str, list[str]] = found.setdefault(text, {})
        for part, claim in claims.items():
            parts.setdefault(verdict_of[f"table1/{claim}"], []).append(part)
    return found


def in_words(parts: Mapping[str, Sequence[str]]) -> str:
    """ "holds", or "undecided (IS) and equal (FID)"."""
    if len(parts) == 1:
        return next(iter(parts))
    return " and ".join(f"{verdict} ({', '.join(names)})" for verdict, names in parts.items())
