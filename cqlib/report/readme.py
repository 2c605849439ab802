"""The rendered parts of README.md and docs, between `<!-- NAME -->` and `<!-- /NAME -->`; a test keeps them so."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from cqlib.experiments import paper
from cqlib.experiments.record import Record, load_records
from cqlib.report import claims_file, markdown
from cqlib.report.run_sets import RunSet, run_sets
from cqlib.util.errors import UserError
from cqlib.util.files import write_atomic
from cqlib.util.paths import PUBLISHED, ROOT
from cqlib.util.text import fill

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
        "table1-elsewhere": "other_tables table1",
    },
    DOCS / "running.md": {"notebooks": "all_notebooks", "gpu-hours": "gpu_hours"},
    DOCS / "data.md": {"photos10": "photographs", "datasets": "data_sets"},
}
"""File -> its parts by name -> the macro of `docs.md.j2`, and the table that it is about."""


def part(macro: str, sets: Sequence[RunSet]) -> str:
    """What a macro makes of the published run sets."""
    environment = Environment(loader=PackageLoader("cqlib.report"), undefined=StrictUndefined, trim_blocks=True)
    environment.filters["printed"] = markdown.printed
    environment.globals |= {**TABLES, "sets": sets, "m": markdown}
    name, _, which = macro.partition(" ")
    module: Any = environment.get_template("docs.md.j2").module
    return str(getattr(module, name)(*([TABLES[which]] if which else []))).strip()


def render(text: str, parts: Mapping[str, str], published: Sequence[Record]) -> str:
    """`text` with every one of `parts` rendered anew. ValueError when a part's marks are missing."""
    sets = run_sets([], published)
    return fill(text, {name: part(macro, sets) for name, macro in parts.items()})


def write() -> list[Path]:
    """Render `DOCUMENTS` in place, and the claims as data; the files written. UserError where a published record cannot
    be read."""
    records, problems = load_records(PUBLISHED / "records")
    if problems or not records:
        raise UserError(problems[0] if problems else f"there are no records in {PUBLISHED / 'records'}")
    for file, parts in DOCUMENTS.items():
        write_atomic(file, render(file.read_text(), parts, records))
    return [*DOCUMENTS, *claims_file.write(run_sets([], records))]
