"""The claims as data: what the records say of each, in JSON with its schema, and how many hold, as a badge."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter
from pydantic.dataclasses import dataclass

from cqlib.experiments.paper import published_effect
from cqlib.report.claim_cards import VERDICTS, Card, cards, verdict
from cqlib.report.run_sets import RunSet
from cqlib.report.verdicts import ClaimResult
from cqlib.util.files import write_atomic
from cqlib.util.paths import PUBLISHED
from cqlib.util.schema import STRICT

FILES = "claims.json", "claims.schema.json", "claims.badge.json"
VerdictName = Annotated[str, Field(json_schema_extra={"enum": list(VERDICTS)})]


@dataclass(frozen=True, config=STRICT)
class Result:
    """A claim tested at a temperature of the samples, null for BPD: the effect in the claim's unit, positive as
    claimed, its 95 % interval, the seeds of row_a and row_b, p, and p by Holm over the tests of the table; of a claim
    that is undecided the effect that so many seeds would detect in 80 % of trials, and of FID the verdict by KID."""

    temperature: float | None
    score: str
    verdict: VerdictName
    effect: float | None
    interval: tuple[float, float] | None
    seeds: tuple[tuple[int, ...], tuple[int, ...]]
    p: float | None
    p_holm: float | None
    detectable: float | None
    by_kid: VerdictName | None


@dataclass(frozen=True, config=STRICT)
class Test:
    """A claim on runs that may be compared: "photos10 16×16, quick"."""

    runs: str
    verdict: VerdictName
    results: tuple[Result, ...]


@dataclass(frozen=True, config=STRICT)
class Entry:
    """A claim of the paper, or of this project's own: row_a is lower, higher or equal in `metric` than row_b, by
    `published` in the paper; its verdict is that of the first of its tests."""

    id: str
    sentence: str
    origin: Literal["paper", "own"]
    metric: str
    kind: str
    row_a: str
    row_b: str
    unit: str
    published: float | None
    verdict: VerdictName
    tests: tuple[Test, ...]


@dataclass(frozen=True, config=STRICT)
class Claims:
    """All claims, tested by the published records."""

    version: Literal[2]
    paper: str
    claims: tuple[Entry, ...]


def claims(all_cards: Sequence[Card]) -> Claims:
    """All claims with their tests, by id."""
    entries = map(_entry, sorted(all_cards, key=lambda card: card.claim.id))
    return Claims(2, "arXiv:1901.01091", tuple(entries))


def _entry(card: Card) -> Entry:
    c = card.claim
    tests = tuple(Test(results[0].runs.label, verdict(results), tuple(map(_result, results))) for results in card.tests)
    published = _rounded(published_effect(c))
    return Entry(c.id, c.sentence, "own" if c.own else "paper", c.metric, c.kind, c.row_a, c.row_b, c.unit, published,
                 card.verdict, tests)  # fmt: skip


def _result(r: ClaimResult) -> Result:
    low, high = _rounded(r.low), _rounded(r.high)
    interval = None if low is None or high is None else (low, high)
    effect, p, p_holm, detectable = map(_rounded, (r.effect, r.p, r.p_holm, r.detectable if r.power else None))
    by_kid = r.cross_check.verdict if r.cross_check else None
    return Result(r.temperature, r.score, r.verdict, effect, interval, r.seeds, p, p_holm, detectable, by_kid)


def _rounded(value: float | None) -> float | None:
    """`value` to four significant digits, on which machines agree; a zero has no sign."""
    return None if value is None else float(f"{value:.4g}") + 0.0


def badge(all_cards: Sequence[Card]) -> dict[str, Any]:
    """What shields.io/endpoint shows: how many of the paper's claims that were tested hold."""
    tested = [card for card in all_cards if card.tests and not card.claim.own]
    holds = sum(card.verdict == "holds" for card in tested)
    return {"schemaVersion": 1, "label": "claims that hold", "message": f"{holds} of {len(tested)}", "color": "blue"}


def write(sets: Sequence[RunSet]) -> list[Path]:
    """Write `FILES` to reports/published; returns their paths."""
    adapter, all_cards = TypeAdapter(Claims), cards(sets)
    values = adapter.dump_python(claims(all_cards), mode="json")
    entries = [json.dumps(entry, separators=(",", ":"), ensure_ascii=False) for entry in values.pop("claims")]
    text = json.dumps(values).removesuffix("}") + ', "claims": [\n' + ",\n".join(entries) + "\n]}"
    texts = text, json.dumps(adapter.json_schema(), indent=1), json.dumps(badge(all_cards))
    return [write_atomic(PUBLISHED / name, f"{text}\n") for name, text in zip(FILES, texts, strict=True)]
