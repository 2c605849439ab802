"""The report: records -> one self-contained `index.html`, readable without a network or a script.

Everything that comes from outside (records, messages, names) passes through an environment that escapes it and cuts
absolute paths to their last part. Notebooks show pieces of the same page.
"""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from cqlib.experiments import paper
from cqlib.experiments.experiment import AVAILABLE, experiment
from cqlib.experiments.record import Record, load_records
from cqlib.experiments.rows import ROWS
from cqlib.report import ablations, facts, pictures, small_tables, tables
from cqlib.report.claim_cards import VERDICTS, cards, count_claims
from cqlib.report.run_sets import ORIGINS, RunSet, run_sets
from cqlib.util import VERSION
from cqlib.util.errors import UserError
from cqlib.util.files import write_atomic
from cqlib.util.paths import PUBLISHED
from cqlib.util.text import without_paths

TITLE = "Coverage and Quality Driven Training of Generative Image Models"
TONES = {"reproduced": "good", "close": "good", "not reproduced": "bad"}
CONTENTS = {
    "summary": "Summary", "claims": "Claims", "not-reproduced": "Not reproduced", "tables": "Tables",
    "samples": "Samples", "curves": "Curves", "costs": "Costs", "protocol": "Protocol",
    "notebooks": "Notebooks", "footnotes": "Footnotes", "provenance": "Provenance",
}  # fmt: skip


def build(
    out: Path,
    *,
    local: Sequence[Record],
    published: Sequence[Record] = (),
    failures: Sequence[str] = (),
    notebooks: Sequence[Path] = (),
    local_pictures: Path | None = None,
    published_pictures: Path | None = None,
    data_dir: Path | None = None,
    profile: str | None = None,
    available: Collection[str] = (),
    tried: Mapping[str, ablations.Table] | None = None,
    alone: bool = False,
) -> Path:
    """Write `out`/index.html, whole or not at all; its path. Equal input gives an equal page.

    `failures` are one-line messages; `notebooks` are executed ones and their pages, at or below `out`. Sample grids are
    looked up as FOLDER/SLUG/samples_T1 and samples_T0 (.png, .webp). Real test images are drawn where the data set
    can be loaded (`data_dir`: local copies). `alone`: the page is about the published records and the same everywhere;
    grids below `out` are linked, and real images are shown of data that need no files. `tried`: the ablations of a
    claim, by its id. `profile` is the one of the commands shown; rows of `available` can be trained. OSError when `out`
    cannot be written.
    """
    sets = run_sets(local, published)
    profile = profile or next((runs.profile for runs in sets if runs.origin == "local"), "quick")
    all_cards = cards(sets)
    folders = {"local": local_pictures, "published": published_pictures}
    page = _environment().get_template("index.html.j2").render(
        title=TITLE,
        css=_css("style.css"),
        contents=CONTENTS.items(),
        version=VERSION,
        alone=alone,
        sets=sets,
        tables=tables,
        small_tables=small_tables,
        facts=facts,
        failures=[" ".join(line.split()) for line in failures],
        cards={name: [card for card in all_cards if card.verdict == name] for name in VERDICTS},
        claim_counts=count_claims(all_cards),
        tried=tried or {},
        shortfalls=facts.shortfalls(sets, all_cards, available),
        views=[tables.view(table, sets, available, profile, alone) for table in paper.TABLES],
        systems=[row for row in ROWS if paper.canonical(row) == row],
        table1=[row.id for row in paper.TABLE1.rows],
        samples=pictures.samples_of(sets, folders, data_dir, Path(out) if alone else None),
        plots=pictures.plots_of(sets, alone),
        notebooks=_links(notebooks, out),
        fresh=functools.partial(next, itertools.count(1)),
    )  # fmt: skip
    return write_atomic(Path(out) / "index.html", page)


def render(
    out: Path, *, runs_dir: Path, failures: Sequence[str] = (), data_dir: Path | None = None,
    profile: str | None = None,
) -> Path:  # fmt: skip
    """Render `out`/index.html from the records in `runs_dir`, the published ones, and `out`/notebooks; where `runs_dir`
    is `PUBLISHED`, from those alone.

    A record that cannot be read is named among the failures and left out, as is one of an older recipe beside others.
    """
    alone = os.path.realpath(runs_dir) == os.path.realpath(PUBLISHED)  # a loop of links is no error
    local, unreadable = ([], []) if alone else load_records(runs_dir)
    local, stale = _of_one_recipe(local)
    published, damaged = load_records(PUBLISHED / "records")
    tried, left_out = ablations.tables()
    problems = [f"record left out: {line}" for line in (*unreadable, *stale, *damaged, *left_out)]
    return build(
        Path(out),
        local=local,
        published=published,
        failures=[*failures, *problems],
        notebooks=sorted((Path(out) / "notebooks").glob("*.*")),
        local_pictures=Path(runs_dir),
        published_pictures=PUBLISHED / "samples",
        data_dir=data_dir,
        profile=profile,
        available=AVAILABLE,
        tried=tried,
        alone=alone,
    )


def _of_one_recipe(records: Sequence[Record]) -> tuple[list[Record], list[str]]:
    """The records without those of another recipe than today's where the same row has some of today's: they have no
    mean. And a line for each that is left out."""

    def is_current(record: Record) -> bool:
        try:
            e = experiment(record.row, record.profile, record.data.name, record.seed)
        except UserError:  # a row or data set that no longer exists
            return False
        return e.config_hash == record.config_hash

    def kind(record: Record) -> tuple[str, ...]:
        return paper.canonical(record.row), record.profile, record.data.name

    old = [record for record in records if not is_current(record)]
    renewed = {kind(record) for record in records if record not in old}
    stale = [record for record in old if kind(record) in renewed]
    return [record for record in records if record not in stale], [
        f"{r.row} on {without_paths(r.data.name)}, {r.profile}, seed {r.seed} is of another recipe than today's; "
        f"trained again with --seeds {r.seed}, (and the comma) it is of the same"
        for r in stale
    ]


@functools.cache
def published_records() -> tuple[Record, ...]:
    """The records that come with the project; those that cannot be read are left out."""
    return tuple(load_records(PUBLISHED / "records")[0])


def macro(name: str, *arguments: Any) -> Markup:
    """A piece of the report as HTML for a notebook: macro `name` of `macros.html.j2`."""
    return scoped(getattr(_environment().get_template("macros.html.j2").make_module({}), name)(*arguments))


def scoped(body: str) -> Markup:
    """HTML for a notebook with the few rules it needs, which touch nothing else; `body` is HTML already."""
    return Markup('<div class="cqlib"><style>{}</style>{}</div>').format(_css("notebook.css"), Markup(body))


def table_html(table: str, local: Sequence[Record], published: Sequence[Record] | None = None) -> Markup:
    """Table "table1", "table2" or "table3" as HTML for a notebook, the published records beside `local`."""
    wanted = next(item for item in paper.TABLES if item.id == table)
    return macro("paper_table", tables.view(wanted, _sets(local, published), ROWS, "quick"))


def claims_html(table: str, local: Sequence[Record], published: Sequence[Record] | None = None) -> Markup:
    """The tested claims of a table as HTML for a notebook, those that do not hold first."""
    tested = [card for card in cards(_sets(local, published), f"{table}/") if card.verdict != "not run"]
    return macro("claim_list", tested) if tested else Markup("<p>No claim has been tested yet.</p>")


def shortfalls_html(local: Sequence[Record], published: Sequence[Record] | None = None) -> Markup:
    """What could not be reproduced, as a list for a notebook."""
    sets = _sets(local, published)
    lines = facts.shortfalls(sets, cards(sets), AVAILABLE) + facts.unfinished(sets)
    items = Markup("").join(Markup("<li>{}</li>").format(without_paths(line)) for line in lines)
    return scoped(Markup("<ul>{}</ul>").format(items))


def _sets(local: Sequence[Record], published: Sequence[Record] | None) -> list[RunSet]:
    return run_sets(local, published_records() if published is None else published)


def _environment() -> Environment:
    """Jinja2 that escapes all text and takes machine paths out of it."""
    environment = Environment(
        loader=PackageLoader("cqlib.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        finalize=lambda value: without_paths(value) if type(value) is str else value,
    )
    environment.globals.update(
        tones=TONES, verdicts=VERDICTS, footnotes=paper.FOOTNOTES, equal=paper.EQUAL, origins=ORIGINS
    )
    return environment


def _css(name: str) -> Markup:
    return Markup((Path(__file__).parent / "templates" / name).read_text(encoding="utf-8"))


def _links(files: Sequence[Path], out: Path) -> dict[str, list[tuple[str, str]]]:
    """Notebooks by name with relative links to their pages."""
    links: dict[str, list[tuple[str, str]]] = {}
    for file in map(Path, files):
        if kind := {".html": "page", ".ipynb": "notebook"}.get(file.suffix):
            link = file.relative_to(out) if file.is_relative_to(out) else file
            links.setdefault(file.stem, []).append((kind, link.as_posix()))
    return links
