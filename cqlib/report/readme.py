"""The rendered parts of README.md and docs, between `<!-- NAME -->` and `<!-- /NAME -->`; a test keeps them so."""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import groupby
from operator import itemgetter
from pathlib import Path

from cqlib.data.catalogue import ENTRIES
from cqlib.data.photos10 import PHOTOS
from cqlib.experiments import paper
from cqlib.experiments.experiment import experiment_of, image_size
from cqlib.experiments.record import Record, load_records
from cqlib.experiments.rows import PROFILES, default_data, notebooks
from cqlib.report import markdown
from cqlib.report.run_sets import RunSet, run_sets
from cqlib.util.errors import UserError
from cqlib.util.files import write_atomic
from cqlib.util.paths import PUBLISHED, ROOT
from cqlib.util.text import duration, fill, markdown_table, megabytes

README, DOCS = ROOT / "README.md", ROOT / "docs"
EXECUTED = PUBLISHED / "notebooks"
"""Executed notebooks, which are linked where they are there; else the sources are."""
DEFAULT_RUN = PUBLISHED / "bench" / "default_run.json"
"""Time and memory of the default command, as measured."""
GPU_HOURS = PUBLISHED / "gpu_hours.json"

Part = Callable[[Sequence[RunSet]], str]


def profiles(sets: Sequence[RunSet]) -> str:
    """What each profile takes, and what CQ-F reaches by today's recipe; a dash where nothing has been measured."""
    lines = []
    for profile in list(PROFILES)[1:]:  # without that of tests
        data = default_data("table1/cq-f", profile)[0]
        size = image_size(data, profile)
        names = (runs for runs in sets if (runs.profile, runs.data, runs.size) == (profile, data, size))
        runs = next((runs for runs in names if _is_of_today(runs)), None)
        reached = [markdown.mean(runs, "table1/cq-f", name) for name in ("BPD", "FD-lite0@T0")] if runs else ["—", "—"]
        lines.append([f"`{profile}`", f"`{data}` {size}×{size}", *_cost(profile, runs), *reached])
    table = markdown_table(["profile", "images", "time", "memory", "CQ-F: BPD", "FD-lite0, T = 0"], lines)
    return f"{table}\n\n{_default_run()}".strip()


def _is_of_today(runs: RunSet) -> bool:
    """Whether CQ-F has been run by today's recipe and scored by today's rule."""
    done = runs.done("table1/cq-f")
    return bool(done) and all(run.config_hash == experiment_of(run).config_hash for run in done)


def _cost(profile: str, runs: RunSet | None) -> tuple[str, str]:
    """Time and memory: of the default command, as measured; of one seed of Table 1, by records or as estimated."""
    if profile == "quick":
        if not DEFAULT_RUN.is_file():
            return "not timed yet", "not timed yet"
        run = json.loads(DEFAULT_RUN.read_text())
        return duration(run["seconds"]), megabytes(run["memory_mb"] * 1e6)
    if profile == "paper":
        return f"{_gpu_hours('Table 1'):.0f} h of an A100, estimated", "—"
    done = [run for row in paper.TABLE1.rows for run in (runs.done(row.id)[:1] if runs else ())]
    if len(done) < len(paper.TABLE1.rows):
        return "—", "—"
    memory = max(run.peak_memory_bytes or 0 for run in done)
    return f"{duration(sum(run.seconds for run in done))} of a core", megabytes(memory)


def _default_run() -> str:
    """On what the default command was timed."""
    if not DEFAULT_RUN.is_file():
        return ""
    run = json.loads(DEFAULT_RUN.read_text())
    again = duration(run["seconds_again"])
    return f"`quick` is the whole default command, installation included, on {run['machine']}; started again, {again}."


def _gpu_hours(part: str = "") -> float:
    """Estimated hours of one seed of all runs of a part of the paper, "Table 1"; of everything by default."""
    return sum(run["hours"] for run in json.loads(GPU_HOURS.read_text())["runs"] if part in run["part"])


def gpu_hours(_: Sequence[RunSet]) -> str:
    """What the paper's own numbers would take."""
    hours = [f"{_gpu_hours(part):.0f}" for part in ("Table 1", "", "Table 3")]
    return (
        f"One seed of Table 1 takes about {hours[0]} GPU-hours, one of everything {hours[1]}, of which {hours[2]} are "
        f"Table 3's: an estimate for one {json.loads(GPU_HOURS.read_text())['card']['name']}, training only."
    )


def equations(_: Sequence[RunSet]) -> str:
    """The equation -> code map, a line for each function."""
    lines = []
    numbered = [(where, f"({number})", what) for number, (what, where) in enumerate(paper.EQUATIONS, 1)]
    for where, same in groupby(numbered, key=itemgetter(0)):
        module, name = where.split(":")
        _, numbers, texts = zip(*same, strict=True)
        lines.append([f"{', '.join(numbers)} {'; '.join(texts)}", f"[`{name}`]({module.replace('.', '/')}.py)"])
    return markdown_table(["equation", "code"], lines)


def _title(file: Path) -> str:
    """The first heading of a notebook."""
    cells = json.loads(file.read_text())["cells"]
    lines = (line for cell in cells if cell["cell_type"] == "markdown" for line in cell["source"])
    return next(line for line in lines if line.startswith("# ")).removeprefix("# ").strip()


def _shown(file: Path) -> str:
    """Where a notebook can be read, from the root: executed, if that is published."""
    executed = EXECUTED / file.name
    return str((executed if executed.is_file() else file).relative_to(ROOT))


def lessons(_: Sequence[RunSet]) -> str:
    """Links to the lessons, whose titles begin "01 · ", and to the one to play in."""
    files = (file for name, file in notebooks().items() if name[0].isdigit() or name == "explore")
    return ", ".join(f"[{_title(file).rpartition(' · ')[2]}]({_shown(file)})" for file in files)


def all_notebooks(_: Sequence[RunSet]) -> str:
    """Every notebook, what it shows, and the command that trains what it needs and runs it."""
    lines = [[f"[{name}](../{_shown(file)})", _title(file), f"`./run_all.sh --only {name}`"]
             for name, file in notebooks().items()]  # fmt: skip
    return markdown_table(["notebook", "what", "command"], lines)


def data_sets(_: Sequence[RunSet]) -> str:
    """The published data sets: what they are, which files, and how they come."""
    files = {name: " and ".join(f"`{file.name}` ({file.size})" for file in e.files) for name, e in ENTRIES.items()}
    lines = [[f"`{name}`", e.about, files[name], e.how, e.terms] for name, e in ENTRIES.items()]
    return markdown_table(["name", "what", "files", "how it comes", "terms"], lines)


def photographs(_: Sequence[RunSet]) -> str:
    """The photographs of photos10 with their authors and terms."""
    lines = [[f"`{name}`", p.shows, p.author, p.terms, f"`{p.file}`"] for name, p in PHOTOS.items()]
    return markdown_table(["class", "what it shows", "by", "terms", "file in the installed packages"], lines)


DOCUMENTS: Mapping[Path, Mapping[str, Part]] = {
    README: {
        "headlines": markdown.headlines,
        "lessons": lessons,
        "profiles": profiles,
        "table1": partial(markdown.slim_table, paper.TABLE1),
        "equations": equations,
    },
    DOCS / "results.md": {
        **{which.id: partial(markdown.table, which) for which in paper.TABLES},
        **{f"{which.id}-claims": partial(markdown.claims, which) for which in paper.TABLES},
        "table1-elsewhere": partial(markdown.other_tables, paper.TABLE1),
    },
    DOCS / "running.md": {"notebooks": all_notebooks, "gpu-hours": gpu_hours},
    DOCS / "data.md": {"photos10": photographs, "datasets": data_sets},
}
"""File -> its parts by name."""


def render(text: str, parts: Mapping[str, Part], published: Sequence[Record]) -> str:
    """`text` with every one of `parts` rendered anew. ValueError when a part's marks are missing."""
    sets = run_sets([], published)
    return fill(text, {name: part(sets) for name, part in parts.items()})


def write() -> None:
    """Render `DOCUMENTS` in place. UserError where a published record cannot be read."""
    records, problems = load_records(PUBLISHED / "records")
    if problems or not records:
        raise UserError(problems[0] if problems else f"there are no records in {PUBLISHED / 'records'}")
    for file, parts in DOCUMENTS.items():
        write_atomic(file, render(file.read_text(), parts, records))
