"""The parts of README.md that are rendered: `python -m cqlib readme` writes them, a test keeps them equal.

A part stands between `<!-- NAME -->` and `<!-- /NAME -->`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from cqlib.data.catalogue import ENTRIES
from cqlib.experiments import paper
from cqlib.experiments.record import Record, load_records
from cqlib.report.claim_cards import cards, count_claims
from cqlib.report.facts import GPU_HOURS
from cqlib.report.run_sets import RunSet, run_sets
from cqlib.report.tables import remarks
from cqlib.util.errors import UserError
from cqlib.util.files import write_atomic
from cqlib.util.paths import PUBLISHED, ROOT
from cqlib.util.text import markdown_table, rough_duration

README = ROOT / "README.md"
DECIMALS = {"BPD": 2, "IS-lite0@T1": 2, "FD-lite0@T1": 1, "FD-lite0@T0": 1, "KD-lite0@T1": 3}
"""The measured columns and their decimals."""
BESIDE = {"table2": ("table3/cqf-2-scales",)}
"""Rows shown with a table that they do not stand in."""
HEADLINES = {
    "f lowers BPD, without the quality loss and with it": ("f-bpd", "f-quality-bpd"),
    "The quality loss makes samples better in IS and FID, without f and with it": (
        "quality-loss-is", "quality-loss-fid", "quality-loss-f-is", "quality-loss-f-fid"),
    "Without f, the quality loss leaves BPD as it is": ("quality-loss-bpd",),
    "CQ-F's samples are better than CQ's in IS and FID": ("f-quality-is", "f-quality-fid"),
    "CQ-F's samples are better than a GAN's in IS and FID": ("cq-f-gan-is", "cq-f-gan-fid"),
    "CQ-F covers the data better than a GAN, by BPD": ("cq-f-gan-bpd",),
}  # fmt: skip
"""What a reader wants to know first -> the claims of Table 1 that say it."""


def headlines(sets: Sequence[RunSet]) -> str:
    """The chief claims of Table 1 with their verdicts, a line each."""
    runs = _fullest(paper.TABLE1, sets)
    verdicts = {card.claim.id: card.verdict for card in cards([runs], "table1")}
    seeds = max(len(runs.done(row.id)) for row in paper.TABLE1.rows)
    lines = [f"In short, on {runs.label}, {seeds} seeds:", ""]
    for text, claims in HEADLINES.items():
        different = dict.fromkeys(verdicts[f"table1/{claim}"] for claim in claims)
        lines.append(f"- {text}: **{' and '.join(different)}**.")
    return "\n".join(lines)


def table(which: paper.Table, sets: Sequence[RunSet]) -> str:
    """A table's paper numbers beside the published records', means ± standard deviation over seeds."""
    runs = _fullest(which, sets)
    header = ["", "paper BPD", "paper IS", "paper FID", *(name.replace("@", " ") for name in DECIMALS), "seeds"]
    lines = []
    for row in (*which.rows, *(paper.ROWS[row] for row in BESIDE.get(which.id, ()))):
        cells = [_printed(number) for number in row.numbers[:3]]  # CIFAR-10
        cells += [_mean(runs, row.id, name) for name in DECIMALS] + [str(len(runs.done(row.id)) or "none yet")]
        label = row.label + (f" [{', '.join(row.ticks)}]" if row.ticks and which.id == "table2" else "")
        lines.append([label, *cells])
    floor = runs.records[0].metrics["FD-lite0-floor"].value
    footnote = paper.FOOTNOTES["frozen-gan"].text
    return (
        f"{markdown_table(header, lines)}\n\n"
        f"The paper: CIFAR-10, Inception features. Measured: {runs.label}, EfficientNet-lite0 features (FD, not "
        f"FID), n = {_n(runs.records)}; mean ± standard deviation over seeds. FD-lite0 between training and test "
        f"images at the same n: {floor:.1f}. \\*: {footnote[0].lower()}{footnote[1:]}."
    )


def everywhere(sets: Sequence[RunSet]) -> str:
    """Table 1's BPD and FD on every data set and size that was published, under the paper's BPD; the training images
    tell how hard a set is to cover."""
    rows, cifar10 = paper.TABLE1.rows, paper.DATA_SETS["cifar10"]
    columns = [f"{kind} {row.label}" for kind in ("BPD", "FD") for row in rows]
    lines = [[f"the paper: {cifar10.label}", f"{cifar10.n_train:,}", "", "",
              *(_printed(row.numbers[0]) for row in rows), *[""] * len(rows)]]  # fmt: skip
    for runs in sets:
        if not (records := [record for row in rows for record in runs.done(row.id)]):
            continue
        seeds = sorted({len(runs.done(row.id)) for row in rows} - {0})
        trained_on = sorted({record.config.get("n_train", 0) for record in records})
        cells = [", ".join(f"{n:,}" for n in trained_on), _n(records)]
        cells += [" to ".join(map(str, dict.fromkeys((seeds[0], seeds[-1]))))]
        cells += [_mean(runs, row.id, name) for name in ("BPD", "FD-lite0@T1") for row in rows]
        lines.append([runs.label, *cells])
    notes = [f"- {remark}" for remark in remarks(sets, [row.id for row in rows])]
    return "\n".join([markdown_table(["", "training images", "n of FD", "seeds", *columns], lines), "", *notes])


def claims(which: paper.Table, sets: Sequence[RunSet]) -> str:
    """The claims of a table by verdict, from the published records, and what a reader has to know of them."""
    all_cards = cards([_fullest(which, sets)], which.id)
    counts = ", ".join(f"{name}: {count}" for name, count in count_claims(all_cards).items() if count)
    lines, notes = [], {}
    for card in all_cards:
        findings = [finding for line in card.lines for finding in line.findings]
        effects = "; ".join(f"{f.at}: {f.effect}" if f.at else f.effect for f in findings)
        lines.append([card.verdict, card.claim.sentence, effects])
        notes.setdefault(card.claim.note, []).append(f"“{card.claim.sentence}”")
    return "\n\n".join([
        f"{len(all_cards)} claims of Table {which.id[-1]}. {counts[0].upper()}{counts[1:]}.",
        markdown_table(["verdict", "claim", "measured effect and 95 % interval"], lines),
        *(f"{', '.join(sentences)}: {note}" for note, sentences in notes.items() if note),
    ])  # fmt: skip


def equations(_: Sequence[RunSet]) -> str:
    """The equation -> code map."""
    lines = []
    for equation in paper.EQUATIONS:
        module, name = _split(equation.where)
        lines.append([f"({equation.number})", equation.name, f"[`{name}`]({module.replace('.', '/')}.py)"])
    return markdown_table(["equation", "what", "code"], lines)


def data_sets(_: Sequence[RunSet]) -> str:
    """The published data sets: what they are, which files, and how they come."""
    lines = []
    for entry in ENTRIES.values():
        files = " and ".join(f"`{file.name}` ({file.size})" for file in entry.files)
        lines.append([f"`{entry.name}`", entry.about, files, entry.how, entry.terms])
    return markdown_table(["name", "what", "files", "how it comes", "terms"], lines)


def gpu_hours(_: Sequence[RunSet]) -> str:
    """The estimated GPU-hours of a whole reproduction under `paper`, one seed, by part of the paper."""
    estimates = json.loads(GPU_HOURS.read_text())
    parts: dict[str, list[dict[str, Any]]] = {}
    for run in estimates["runs"]:
        parts.setdefault(run["part"], []).append(run)
    lines = []
    for part, runs in parts.items():
        longest = max(runs, key=lambda run: run["hours"])
        took = f"`{longest['row']}` on {longest['data']}, {rough_duration(3600 * longest['hours'])}"
        lines.append([part, str(len(runs)), f"{sum(run['hours'] for run in runs):,.0f}", took])
    count, total = len(estimates["runs"]), sum(run["hours"] for run in estimates["runs"])
    for seeds, words in (1, "all, one seed"), (5, "all, five seeds"):
        lines.append([words, str(seeds * count), f"{seeds * total:,.0f}", ""])
    return (
        f"{markdown_table(['part', 'runs', 'GPU-hours', 'longest run'], lines)}\n\n"
        f"An estimate for one {estimates['card']['name']}, training only: no row of `paper` has been timed on a GPU. "
        "Each kernel of a step was given the longest of its launch, its arithmetic and its memory traffic "
        "(`reports/published/gpu_hours.json`); expect to be off by a factor of two or more. "
        f"One seed of all is {rough_duration(3600 * total)} on one card."
    )


PARTS: dict[str, Callable[[Sequence[RunSet]], str]] = {
    "headlines": headlines,
    "table1": partial(table, paper.TABLE1),
    "claims": partial(claims, paper.TABLE1),
    "everywhere": everywhere,
    "table2": partial(table, paper.TABLE2),
    "claims2": partial(claims, paper.TABLE2),
    "table3": partial(table, paper.TABLE3),
    "claims3": partial(claims, paper.TABLE3),
    "equations": equations,
    "datasets": data_sets,
    "gpu-hours": gpu_hours,
}


def render(text: str, published: Sequence[Record]) -> str:
    """README's `text` with every part rendered anew. ValueError when a part's marks are missing."""
    sets = run_sets([], published)
    for name, part in PARTS.items():
        pattern = re.compile(f"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
        if not pattern.search(text):
            raise ValueError(f"README.md has no part <!-- {name} --> … <!-- /{name} -->")
        body = part(sets)
        text = pattern.sub(lambda match, body=body: f"{match[1]}{body}\n{match[2]}", text)
    return text


def write() -> None:
    """Render README.md in place. UserError where a published record cannot be read."""
    records, problems = load_records(PUBLISHED / "records")
    if problems or not records:
        raise UserError(problems[0] if problems else f"there are no records in {PUBLISHED / 'records'}")
    write_atomic(README, render(README.read_text(), records))


def _fullest(which: paper.Table, sets: Sequence[RunSet]) -> RunSet:
    """The published run set with the most records of a table."""
    return max(sets, key=lambda runs: sum(len(runs.records_of(row.id)) for row in which.rows))


def _printed(number: paper.Number) -> str:
    return " ".join(filter(None, (number.text, number.mark))).replace("*", r"\*")


def _mean(runs: RunSet, row: str, metric: str) -> str:
    if (mean := runs.mean(row, metric)) is None:
        return ""
    places = DECIMALS[metric]
    spread = "" if mean.std is None else f" ± {mean.std:.{places}f}"
    return f"{mean.value:.{places}f}{spread}" + r" \*" * mean.starred


def _n(records: Iterable[Record]) -> str:
    counts = {record.metrics["FD-lite0@T1"].n for record in records if "FD-lite0@T1" in record.metrics}
    return " or ".join(f"{n:,}" for n in sorted(counts))


def _split(dotted: str) -> tuple[str, str]:
    """ "cqlib.models.x.Class.method" -> ("cqlib.models.x", "Class.method")."""
    parts = dotted.split(".")
    for k in range(len(parts) - 1, 0, -1):
        if (ROOT / Path(*parts[:k])).with_suffix(".py").is_file():
            return ".".join(parts[:k]), ".".join(parts[k:])
    raise ValueError(f"{dotted} is not in this repository")
