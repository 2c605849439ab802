"""Renders the parts of README.md and of docs between `<!-- NAME -->` and `<!-- /NAME -->` from the published
records. A test fails where a committed part is out of date."""

import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from itertools import chain, product
from operator import itemgetter
from pathlib import Path
from typing import Any

from cqlib.metrics.quantities import QUANTITIES, heading
from cqlib.suite.experiments import paper
from cqlib.suite.experiments.experiment import image_size
from cqlib.suite.experiments.record import Record, undamaged_records
from cqlib.suite.experiments.rows import RESULT_PROFILES, default_data, training_command
from cqlib.suite.report import answers, details
from cqlib.suite.report.findings import RULE, answer, scales, write_claims
from cqlib.suite.report.groups import Group, data_title, groups, side_by_side
from cqlib.util.errors import UserError
from cqlib.util.files import write_atomic
from cqlib.util.paths import PUBLISHED, RECORDS, ROOT
from cqlib.util.text import count_of, duration, fill_sections, format_bytes, markdown_table

README, DOCS = ROOT / "README.md", ROOT / "docs"
FD, COVERAGE = (QUANTITIES[id].lite0 for id in ("fid", "coverage"))
Groups = Sequence[Group]


def displayed(sets: Groups, table: paper.Table) -> Group | None:
    """The published group with the most rows of a table; of equals that of `quick`; None without any."""
    groups = side_by_side(sets, [row.id for row in table.rows], "quick")
    return groups[0][0] if groups else None


def findings(sets: Groups) -> str:
    """What was found on the smallest and on the largest images."""
    told = answer(scales(sets, [row.id for row in paper.TABLE1.rows]))
    return "\n".join([*(f"- **{each.place}.** {each.text}" for each in told), "", RULE])


def default_cost(sets: Groups) -> str:
    """What the default command takes; no records say so, but its own measurement."""
    run = default_run()
    time, memory = duration(run["seconds"]), format_bytes(run["memory_mb"] * 1e6)
    return f"From a fresh clone, `./run_all.sh` took {time} and at most {memory} of memory ({run['machine']})."


def profiles(sets: Groups) -> str:
    """What each profile but `smoke` costs, and what CQ-F gets under it."""
    lines = []
    for profile in RESULT_PROFILES:
        data = default_data("table1/cq-f", profile)[0]
        size = image_size(data, profile)
        unchanged = (runs for runs in sets if not runs.changes)
        alike = (runs for runs in unchanged if (runs.profile, runs.data, runs.size) == (profile, data, size))
        runs = next((runs for runs in alike if runs.done("table1/cq-f")), None)
        scores = [mean(runs, "table1/cq-f", name) if runs else "—" for name in ("BPD", FD)]
        lines.append([f"`{profile}`", f"`{data}` {size}×{size}", *cost(profile, runs), *scores])
    table = markdown_table(["profile", "images", "time", "memory", f"CQ-F: {heading('BPD')}", heading(FD)], lines)
    quick = f"`quick`: the default command (seed 0), installation included, on {default_run()['machine']}."
    return f"{table}\n\n{quick} `study` and `paper`: one seed of Table 1."


def cost(profile: str, runs: Group | None) -> tuple[str, str]:
    """Time and memory of a profile. `quick`: those of the default command. `paper`: one seed of Table 1, as estimated.
    Others: one seed of Table 1, by the rows' median times over seeds and the most memory of any run."""
    if profile == "quick":
        run = default_run()
        return duration(run["seconds"]), format_bytes(run["memory_mb"] * 1e6)
    if profile == "paper":
        return f"{details.gpu_hours('Table 1'):.0f} h of an A100, estimated", "—"
    done = [runs.done(row.id) if runs else [] for row in paper.TABLE1.rows]
    if not all(done):
        return "—", "—"
    seconds = sum(statistics.median(run.seconds for run in of_row) for of_row in done)
    return f"{duration(seconds)} of a core", format_bytes(max(run.peak_memory_bytes for run in chain(*done)))


def paper_hours(sets: Groups) -> str:
    """What one seed of the paper's tables takes on a GPU; no records say so, but an estimate."""
    table1, table3, every = (details.gpu_hours(part) for part in ("Table 1", "Table 3", ""))
    return (f"Estimated for the training, without measuring, on one A100: about {table1:.0f} GPU-hours for one seed of "
            f"Table 1, and {every:.0f} for one seed of everything, of which {table3:.0f} are Table 3’s.")  # fmt: skip


def default_run() -> dict[str, Any]:
    """Time and memory of the default command, on the slowest machine that it was measured on."""
    return max(json.loads((PUBLISHED / "bench" / "default_run.json").read_text()), key=itemgetter("seconds"))


# --- tables


def short_table(sets: Groups) -> str:
    """Table 1 for README: the paper's numbers beside the published ones, and the scale of the latter."""
    table, columns = paper.TABLE1, [("BPD", 0), (FD, 2)]
    if (runs := displayed(sets, table)) is None:
        return f"Not trained yet: `{training_command(table.id, 'quick')}`."
    lines = []
    for row in table.rows:
        pairs = ((printed(row.numbers[place]), mean(runs, row.id, name)) for name, place in columns)
        lines.append([row.label, *chain(*pairs), mean(runs, row.id, COVERAGE)])
    header = ["model", "bits: paper", "bits: here", "distance: paper", "distance: here", "coverage: here"]
    scale = f"{data_title(runs.data)}, {runs.size}×{runs.size} pixels, {seeds(runs, table)}"
    return f"Here: {scale}; mean ± standard deviation.\n\n{markdown_table(header, lines)}"


def seeds(runs: Group, table: paper.Table) -> str:
    """ "5 seeds"; "up to 5 seeds" where rows have fewer."""
    counts = {len(runs.done(row.id)) for row in table.all_rows} - {0}
    return "up to " * (len(counts) > 1) + count_of(max(counts, default=0), "seed")


def mean(runs: Group, row: str, metric: str) -> str:
    """ "5.25 ± 0.05" over seeds; empty where the metric has not been measured."""
    if runs.mean(row, metric) is None:
        return ""
    cell = runs.cell(row, metric)
    return cell.text + f" ± {cell.std}" * bool(cell.std) + r" \*" * bool(cell.mark)


def printed(number: paper.PaperNumber) -> str:
    """A number of the paper with its mark."""
    return f"{number.text} {number.mark}".strip().replace("*", r"\*")


def two_regimes(sets: Groups) -> str:
    """sigma at codes of images and at drawn codes, of the rows of Table 1."""
    runs = displayed(sets, paper.TABLE1)
    lines = details.regime_lines(runs, [row.id for row in paper.TABLE1.rows]) if runs else []
    cells = [[cell if isinstance(cell, str) else cell.text for cell in line] for line in lines]
    return markdown_table(details.REGIMES, cells)


def speed(sets: Groups) -> str:
    """What a step of each model of Table 1 took, and all steps of its recipe, at every size: of the fastest run, which
    other work on its machine disturbed least."""
    runs = [run for group in sets if not group.changes for run in group.finished if run.profile != "smoke"]
    lines = []
    for size, row in product(sorted({run.data.shape[-1] for run in runs}), paper.TABLE1.rows):
        found = [run for run in runs if run.data.shape[-1] == size and run.row == row.id and run.images_per_second]
        if found:
            run = min(found, key=seconds_a_step)
            taken = seconds_a_step(run)
            minutes = f"{run.steps:,} steps: {duration(run.steps * taken)}"
            lines.append([f"{size}×{size}", row.label, f"{taken:.3f}", minutes, run.machine])
    return markdown_table(["images", "model", "seconds a step", "a training", "machine"], lines)


def seconds_a_step(run: Record) -> float:
    """What a step of its training took."""
    return float(run.setting("recipe", "training", "batch_size")) / run.images_per_second


DOCUMENTS: Mapping[Path, Mapping[str, Callable[[Groups], str]]] = {
    README: {"cost": default_cost, "findings": findings, "table1": short_table},
    DOCS / "running.md": {"profiles": profiles},
    DOCS / "clusters.md": {"hours": paper_hours},
    DOCS / "performance.md": {"speed": speed},
    DOCS / "results.md": {"questions": answers.questions, "regimes": two_regimes, "claims": answers.claims},
}
"""File -> its parts by name -> the function that renders it from the published groups."""


def render(text: str, parts: Mapping[str, Callable[[Groups], str]], sets: Groups) -> str:
    """`text` with every one of `parts` rendered. ValueError when a part's marks are missing."""
    return fill_sections(text, {name: part(sets) for name, part in parts.items()})


def write() -> list[Path]:
    """Render `DOCUMENTS` in place and write the claims as data; returns the files written. UserError for a damaged
    record, or without any."""
    if not (records := undamaged_records(RECORDS)):
        raise UserError(f"there are no records in {RECORDS}")
    sets = groups([], records)
    for file, parts in DOCUMENTS.items():
        write_atomic(file, render(file.read_text(encoding="utf-8"), parts, sets))
    return [*DOCUMENTS, write_claims(sets)]
