"""The parts of README.md that are rendered: `python -m cqlib readme` writes them, a test keeps them equal.

A part stands between `<!-- NAME -->` and `<!-- /NAME -->`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from cqlib.data.catalogue import ENTRIES
from cqlib.experiments import paper
from cqlib.experiments.record import Record, load_records
from cqlib.metrics.metric import STARRED
from cqlib.report import evidence
from cqlib.report.claim_cards import cards, count_claims
from cqlib.report.evidence import table_row
from cqlib.report.parts import GPU_HOURS
from cqlib.report.run_sets import RunSet, mean_and_std, run_sets
from cqlib.report.tables import remarks
from cqlib.util.errors import UserError
from cqlib.util.files import write_atomic
from cqlib.util.paths import ROOT
from cqlib.util.text import rough_duration, without_paths

README = ROOT / "README.md"
RECORDS = ROOT / "reports" / "published" / "records"
COLUMNS = ("BPD", "IS-lite0@T1", "FD-lite0@T1", "FD-lite0@T0", "KD-lite0@T1")
BESIDE = {"table2": ("table3/cqf-2-scales",)}
"""Rows shown with a table that they do not stand in."""
DECIMALS = {"BPD": 2, "IS-lite0@T1": 2, "FD-lite0@T1": 1, "FD-lite0@T0": 1, "KD-lite0@T1": 3}


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


def table(which: paper.Table, sets: Sequence[RunSet]) -> str:
    """A table's paper numbers beside the published records', means ± standard deviation over seeds."""
    runs = _fullest(which, sets)
    head = ["", "paper BPD", "paper IS", "paper FID", *(name.replace("@", " ") for name in COLUMNS), "seeds"]
    lines = [table_row(head), table_row(["---"] * len(head))]
    rows = [*which.rows, *(paper.ROWS[row] for row in BESIDE.get(which.id, ()))]
    for row in rows:
        records = runs.of(row.id)
        cells = [f"{number.text}{number.mark and ' ' + number.mark}" for number in row.numbers[:3]]  # CIFAR-10
        cells += [_mean(records, name) for name in COLUMNS] + [str(len(records) or "none yet")]
        label = row.label + (f" [{', '.join(row.ticks)}]" if row.ticks and which.id == "table2" else "")
        lines.append(table_row([label, *(cell.replace("*", r"\*") for cell in cells)]))
    floor = _mean(list(runs.records)[:1], "FD-lite0-floor")
    footnote = paper.FOOTNOTES["frozen-gan"].text
    return "\n".join(
        [
            *lines,
            "",
            f"The paper: CIFAR-10, Inception features. Measured: {runs.label}, EfficientNet-lite0 features (FD, not "
            f"FID), n = {_n(runs.records)}; mean ± standard deviation over seeds. FD-lite0 between training and test "
            f"images at the same n: {floor}. \\*: {footnote[0].lower()}{footnote[1:]}.",
        ]
    )


def everywhere(sets: Sequence[RunSet]) -> str:
    """Table 1's BPD and FD on every data set and size that was published, under the paper's BPD; the training images
    tell how hard a set is to cover."""
    rows = paper.TABLE1.rows
    names = [row.label for row in rows]
    head = ["", "training images", "n of FD", "seeds", *(f"{kind} {name}" for kind in ("BPD", "FD") for name in names)]
    printed = [f"{n.text}{n.mark and ' ' + n.mark}".replace("*", r"\*") for n in (row.numbers[0] for row in rows)]
    lines = [table_row(head), table_row(["---"] * len(head))]
    cifar10 = paper.DATA_SETS["cifar10"]
    about = [f"the paper: {cifar10.label}", f"{cifar10.n_train:,}", "", ""]
    lines.append(table_row([*about, *printed, *[""] * len(rows)]))
    for runs in sets:
        found = [runs.of(row.id) for row in rows]
        if not any(found):
            continue
        many = sorted({len(records) for records in found if records})
        trained_on = sorted({record.config.get("n_train", 0) for records in found for record in records})
        cells = [", ".join(f"{n:,}" for n in trained_on), _n([record for records in found for record in records])]
        cells += [" to ".join(map(str, dict.fromkeys((many[0], many[-1]))))]
        cells += [_mean(records, name) for name in ("BPD", "FD-lite0@T1") for records in found]
        lines.append(table_row([without_paths(runs.label), *(cell.replace(" *", r" \*") for cell in cells)]))
    return "\n".join([*lines, "", *(f"- {remark}" for remark in remarks(sets, [row.id for row in rows]))])


def claims(which: paper.Table, sets: Sequence[RunSet]) -> str:
    """The claims of a table by verdict, from the published records."""
    found = cards([_fullest(which, sets)], which.id)
    counts = ", ".join(f"{name}: {count}" for name, count in count_claims(found).items() if count)
    lines = [f"{len(found)} claims of Table {which.id[-1]}. {counts[0].upper()}{counts[1:]}.", ""]
    lines += [table_row(["verdict", "claim", "measured effect and 95 % interval"]), table_row(["---"] * 3)]
    for card in found:
        found_at = [finding for line in card.lines for finding in line.findings]
        effects = "; ".join(f"{f.at}: {f.effect}" if f.at else f.effect for f in found_at)
        lines.append(table_row([card.standing, card.claim.sentence, effects]))
    notes: dict[str, list[str]] = {}
    for card in found:
        notes.setdefault(card.claim.note, []).append(f"“{card.claim.sentence}”")
    told = [f"{', '.join(sentences)}: {note}" for note, sentences in notes.items() if note]
    return "\n\n".join(["\n".join(lines), *told])


def headlines(sets: Sequence[RunSet]) -> str:
    """The chief claims of Table 1 with their verdicts, a line each."""
    runs = _fullest(paper.TABLE1, sets)
    found = {card.claim.id: card for card in cards([runs], "table1")}
    seeds = max(len(runs.of(row.id)) for row in paper.TABLE1.rows)
    lines = [f"In short, on {runs.label}, {seeds} seeds:", ""]
    for text, claims in HEADLINES.items():
        said = dict.fromkeys(found[f"table1/{claim}"].standing for claim in claims)
        lines.append(f"- {text}: **{' and '.join(said)}**.")
    return "\n".join(lines)


def equations(_: Sequence[RunSet]) -> str:
    """The equation -> code map."""
    lines = [table_row(["equation", "what", "code"]), table_row(["---"] * 3)]
    for equation in paper.EQUATIONS:
        module, name = _split(equation.where)
        link = f"[`{name}`]({module.replace('.', '/')}.py)"
        lines.append(table_row([f"({equation.number})", equation.name, link]))
    return "\n".join(lines)


def datasets(_: Sequence[RunSet]) -> str:
    """The published data sets: what they are, which files, and how they come."""
    lines = [table_row(["name", "what", "files", "how it comes", "terms"]), table_row(["---"] * 5)]
    for entry in ENTRIES.values():
        files = " and ".join(f"`{file.name}` ({file.size})" for file in entry.files)
        lines.append(table_row([f"`{entry.name}`", entry.about, files, entry.how, entry.terms]))
    return "\n".join(lines)


def gpu_hours(_: Sequence[RunSet]) -> str:
    """The estimated GPU-hours of a whole reproduction under `paper`, one seed, by part of the paper."""
    estimates = json.loads(GPU_HOURS.read_text())
    parts: dict[str, list[dict[str, Any]]] = {}
    for run in estimates["runs"]:
        parts.setdefault(run["part"], []).append(run)
    lines = [table_row(["part", "runs", "GPU-hours", "longest run"]), table_row(["---"] * 4)]
    for part, runs in parts.items():
        longest = max(runs, key=lambda run: run["hours"])
        took = f"`{longest['row']}` on {longest['data']}, {rough_duration(3600 * longest['hours'])}"
        lines.append(table_row([part, str(len(runs)), f"{sum(run['hours'] for run in runs):,.0f}", took]))
    count, total = len(estimates["runs"]), sum(run["hours"] for run in estimates["runs"])
    for seeds, words in (1, "all, one seed"), (5, "all, five seeds"):
        lines.append(table_row([words, str(seeds * count), f"{seeds * total:,.0f}", ""]))
    card = estimates["card"]["name"]
    note = (
        f"An estimate for one {card}, training only: no row of `paper` has been timed on a GPU. Each kernel of a step "
        "was given the longest of its launch, its arithmetic and its memory traffic "
        "(`reports/published/gpu_hours.json`); expect to be off by a factor of two or more. "
        f"One seed of all is {rough_duration(3600 * total)} on one card."
    )
    return "\n".join([*lines, "", note])


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
    "datasets": datasets,
    "gpu-hours": gpu_hours,
    "robustness": lambda _: evidence.robustness(),
}


def render(text: str, published: Sequence[Record]) -> str:
    """README's `text` with every part rendered anew. ValueError when a part's marks are missing."""
    sets = run_sets([], published)
    for name, part in PARTS.items():
        pattern = re.compile(f"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
        if not pattern.search(text):
            raise ValueError(f"README.md has no part <!-- {name} --> … <!-- /{name} -->")
        made = part(sets)
        text = pattern.sub(lambda match, made=made: match[1] + made + "\n" + match[2], text)
    return text


def _fullest(which: paper.Table, sets: Sequence[RunSet]) -> RunSet:
    """The published run set with the most records of a table."""
    return max(sets, key=lambda runs: sum(len(runs.of(row.id)) for row in which.rows))


def _mean(records: Sequence[Record], name: str) -> str:
    found = [record.metrics[name] for record in records if name in record.metrics]
    if not found:
        return ""
    mean, std = mean_and_std([metric.value for metric in found])
    places = DECIMALS.get(name, 1)
    star = " *" if any(metric.protocol.startswith(STARRED) for metric in found) else ""
    return f"{mean:.{places}f}" + ("" if std is None else f" ± {std:.{places}f}") + star


def _n(records: Sequence[Record]) -> str:
    counts = {m.n for record in records for name, m in record.metrics.items() if name == "FD-lite0@T1"}
    return " or ".join(f"{n:,}" for n in sorted(counts))


def _split(dotted: str) -> tuple[str, str]:
    """ "cqlib.models.x.Class.method" -> ("cqlib.models.x", "Class.method")."""
    parts = dotted.split(".")
    for k in range(len(parts) - 1, 0, -1):
        if (ROOT / Path(*parts[:k])).with_suffix(".py").is_file():
            return ".".join(parts[:k]), ".".join(parts[k:])
    raise ValueError(f"{dotted} is not in this repository")


def write() -> None:
    """Render README.md in place. UserError where a published record cannot be read."""
    records, problems = load_records(RECORDS)
    if problems or not records:
        raise UserError(problems[0] if problems else f"there are no records in {RECORDS}")
    write_atomic(README, render(README.read_text(), records))
