"""Renders the parts of README.md and docs between `<!-- NAME -->` and `<!-- /NAME -->` by the macros of `docs.md.j2`,
from the published records, the notebooks and the data sets. A test fails where a committed part is out of date."""

import functools
import json
import statistics
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

from jinja2 import Template

from cqlib.data.photos10 import PHOTOS
from cqlib.data.sets import ENTRIES
from cqlib.experiments import paper
from cqlib.experiments.claims import IS_MISLEADS as IS_MISLEADS
from cqlib.experiments.experiment import image_size
from cqlib.experiments.load import published_weights
from cqlib.experiments.record import slug, undamaged_records
from cqlib.experiments.rows import RESULT_PROFILES, default_data, notebooks, training_command
from cqlib.metrics.quantities import QUANTITIES, decimal, heading
from cqlib.report import claims_file, mixture
from cqlib.report.claim_cards import cards, count_claims
from cqlib.report.facts import gpu_hours
from cqlib.report.headlines import headlines, in_words
from cqlib.report.jinja import environment
from cqlib.report.run_sets import RunSet, display_groups, run_sets
from cqlib.report.tables import NO_IS as NO_IS
from cqlib.util.errors import UserError
from cqlib.util.files import write_atomic
from cqlib.util.paths import PUBLISHED, RECORDS, ROOT
from cqlib.util.text import count_of, duration, fill_sections, format_bytes

README, DOCS = ROOT / "README.md", ROOT / "docs"
TABLES = {table.id: table for table in paper.TABLES}
DOCUMENTS: Mapping[Path, Mapping[str, str]] = {
    README: {
        "headlines": "headlines",
        "lessons": "lessons",
        "profiles": "profiles",
        "table1": "slim_table table1",
        "equations": "equations",
    },
    DOCS / "results.md": {
        **{name: f"table {name}" for name in TABLES},
        **{f"{name}-claims": f"claims {name}" for name in TABLES},
    },
    DOCS / "running.md": {"notebooks": "all_notebooks", "gpu-hours": "gpu_hours"},
    DOCS / "data.md": {"photos10": "photographs", "datasets": "data_sets"},
}
"""File -> its parts by name -> the macro of `docs.md.j2`, and the table that it is about."""
EXECUTED = PUBLISHED / "notebooks"
"""Folder of executed notebooks. A notebook's link leads there if it is there, else to its source."""
FD, COVERAGE = (QUANTITIES[id].lite0 for id in ("fid", "coverage"))
COLUMNS = ("BPD", *(QUANTITIES[id].lite0 for id in ("is", "fid", "kid", "coverage")))
"""What is measured, in the tables of docs."""


def part(macro: str, sets: Sequence[RunSet]) -> str:
    """The text that a macro of `docs.md.j2`, given as "NAME" or "NAME TABLE", makes of the published run sets."""
    name, _, which = macro.partition(" ")
    module: Any = _template().make_module({"sets": sets})
    return str(getattr(module, name)(*([TABLES[which]] if which else []))).strip()


@functools.cache
def _template() -> Template:
    markdown = environment()
    markdown.filters["printed"] = printed
    markdown.globals |= {
        **TABLES, "m": sys.modules[__name__], "ENTRIES": ENTRIES, "PHOTOS": PHOTOS, "heading": heading,
        "notebooks": notebooks, "training_command": training_command,
        "count_claims": count_claims, "cards": cards, "mixture": mixture,
        "chief_claims": headlines, "in_words": in_words,
    }  # fmt: skip
    return markdown.get_template("docs.md.j2")


def render(text: str, parts: Mapping[str, str], sets: Sequence[RunSet]) -> str:
    """`text` with every one of `parts` rendered anew. ValueError when a part's marks are missing."""
    return fill_sections(text, {name: part(macro, sets) for name, macro in parts.items()})


def write() -> list[Path]:
    """Render `DOCUMENTS` in place and write the claims as data; returns the files written. UserError for a damaged
    record, or without any."""
    if not (records := undamaged_records(RECORDS)):
        raise UserError(f"there are no records in {RECORDS}")
    sets = run_sets([], records)
    for file, parts in DOCUMENTS.items():
        write_atomic(file, render(file.read_text(encoding="utf-8"), parts, sets))
    return [*DOCUMENTS, claims_file.write(sets)]


# --- what the template asks


def displayed(sets: Sequence[RunSet], which: paper.Table) -> RunSet | None:
    """The published run set with the most rows of a table; of equals that of `quick`; None without any."""
    groups = display_groups(sets, [row.id for row in which.rows], "quick")
    return groups[0][0] if groups else None


def with_weights(runs: RunSet, row: paper.Row) -> str:
    """The label of a row, a link to the published weights of its first seed if there are any."""
    file = published_weights(slug(paper.canonical(row.id), runs.data, runs.profile, 0))
    return f"[{row.label}]({file.relative_to(ROOT)})" if file.is_file() else row.label


def printed(number: paper.PaperNumber) -> str:
    """A number of the paper with its mark."""
    return f"{number.text} {number.mark}".strip().replace("*", r"\*")


def seeds(runs: RunSet, which: paper.Table) -> str:
    """ "5 seeds"; "up to 5 seeds" where rows have fewer."""
    counts = {len(runs.done(row.id)) for row in which.all_rows} - {0}
    return "up to " * (len(counts) > 1) + count_of(most_seeds(runs, which), "seed")


def most_seeds(runs: RunSet, which: paper.Table) -> int:
    """How many seeds a table's row has at most."""
    return max(len(runs.done(row.id)) for row in which.all_rows)


def scoring(runs: RunSet) -> str:
    """ "n = 2,000 at side 96": how many samples the scores are of, and to how many pixels a side they are resized."""
    counts = sorted({run.metrics[FD].n for run in runs.records if FD in run.metrics})
    return f"n = {' or '.join(f'{n:,}' for n in counts)} at side {' or '.join(map(str, runs.sides))}"


def starred(runs: RunSet, which: paper.Table) -> bool:
    """Whether any BPD in the table was obtained with a VAE around a frozen GAN."""
    return any(bpd.starred for row in which.all_rows if (bpd := runs.mean(row.id, "BPD")))


def mean(runs: RunSet, row: str, metric: str) -> str:
    """ "5.25 ± 0.05" over seeds; empty where the metric has not been measured."""
    if runs.mean(row, metric) is None:
        return ""
    cell = runs.cell(row, metric)
    return cell.text + f" ± {cell.std}" * bool(cell.std) + r" \*" * bool(cell.mark)


def of_real_images(runs: RunSet, name: str) -> str:
    """The score of real images; empty for BPD, and where no run has measured it."""
    bar = runs.real_images(name)
    return "" if bar is None else decimal(name, bar.value)


def mixed(runs: RunSet, names: Sequence[str]) -> list[str]:
    """What the mixture of GAN and VAE-F has in the columns `names`, BPD first; empty without both."""
    return [cell.text.replace("—", "") for cell in (mixture.cells(runs, names) or ())[:-1]]


def profile_runs(sets: Sequence[RunSet]) -> Iterator[tuple[str, str, RunSet | None]]:
    """For each profile but "smoke": its name, its images, and the run set in which CQ-F has been run, or None."""
    for profile in RESULT_PROFILES:
        data = default_data("table1/cq-f", profile)[0]
        size = image_size(data, profile)
        found = (runs for runs in sets if (runs.profile, runs.data, runs.size) == (profile, data, size))
        yield profile, f"`{data}` {size}×{size}", next((runs for runs in found if runs.done("table1/cq-f")), None)


def cost(profile: str, runs: RunSet | None) -> tuple[str, str]:
    """Time and memory of a profile. `quick`: those of the default command, if measured. `paper`: one seed of Table 1,
    as estimated. Others: one seed of Table 1, by the rows' median times over seeds and the most memory of any run."""
    if profile == "quick" and (run := default_run()):
        return duration(run["seconds"]), format_bytes(run["memory_mb"] * 1e6)
    if profile == "paper":
        return f"{gpu_hours('Table 1'):.0f} h of an A100, estimated", "—"
    done = [runs.done(row.id) if runs else [] for row in paper.TABLE1.rows]
    if not all(done):
        return "—", "—"
    memory = max(run.peak_memory_bytes for of_row in done for run in of_row)
    seconds = sum(statistics.median(run.seconds for run in of_row) for of_row in done)
    return f"{duration(seconds)} of a core", format_bytes(memory)


def default_run() -> dict[str, Any] | None:
    """Time and memory of the default command, of the slowest machine that it was measured on; None before it was."""
    measured = json.loads((PUBLISHED / "bench" / "default_run.json").read_text())
    return max(measured, key=itemgetter("seconds"), default=None)


def equation_map() -> Iterator[tuple[str, Iterable[str], Iterable[str]]]:
    """Where equations are computed, "module:name", with their numbers and what they are."""
    numbered = [(where, f"({number})", what) for number, (what, where) in enumerate(paper.EQUATIONS, 1)]
    for where, same in groupby(numbered, key=itemgetter(0)):
        _, numbers, texts = zip(*same, strict=True)
        yield where, numbers, texts


def title(file: Path) -> str:
    """The first heading of a notebook."""
    cells = json.loads(file.read_text())["cells"]
    lines = (line for cell in cells if cell["cell_type"] == "markdown" for line in cell["source"])
    return next(line for line in lines if line.startswith("# ")).removeprefix("# ").strip()


def place(file: Path) -> str:
    """Where a notebook can be read, from the root: executed, if that is published."""
    executed = EXECUTED / file.name
    return str((executed if executed.is_file() else file).relative_to(ROOT))
