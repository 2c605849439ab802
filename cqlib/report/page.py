"""The report: records -> one self-contained `index.html`, readable without a network or a script.

`build` makes the page from records and pictures; `render` finds both in the folders that run_all.sh uses.
`table_html` and `claims_html` give a notebook the same tables. Everything that comes from outside (records,
messages, names) passes through an environment that escapes it and cuts absolute paths to their last part.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import groupby
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from cqlib.experiments import paper
from cqlib.experiments.record import Record, load_records
from cqlib.experiments.rows import ROWS
from cqlib.report import ablations as tried
from cqlib.report import parts as report_parts
from cqlib.report import pictures as report_pictures
from cqlib.report import report_tables, tables
from cqlib.report.claim_cards import STANDINGS, cards, count_claims
from cqlib.report.run_sets import RunSet, run_sets
from cqlib.report.tables import Judgement, View
from cqlib.util import VERSION
from cqlib.util.errors import UserError
from cqlib.util.files import write_atomic
from cqlib.util.paths import ROOT
from cqlib.util.text import without_paths

__all__ = ["build", "claims_html", "macro", "published_records", "render", "scoped",
           "shortfalls_html", "table_html", "view_html"]  # fmt: skip

TITLE = "Coverage and Quality Driven Training of Generative Image Models"
TABLE_NAMES = {"table1": "Table 1", "table2": "Table 2", "table3": "Table 3"}
TONES = {"reproduced": "good", "close": "good", "not reproduced": "bad"}
CONTENTS = {
    "summary": "Summary", "claims": "Claims", "not-reproduced": "Not reproduced", "tables": "Tables",
    "samples": "Samples", "curves": "Curves", "costs": "Costs", "protocol": "Protocol",
    "notebooks": "Notebooks", "footnotes": "Footnotes", "provenance": "Provenance",
}  # fmt: skip
HEADINGS = {
    "does not hold": "Claims that do not hold",
    "depends on the temperature": "Claims that depend on the temperature",
    "seen once, contrary": "Seen once, and contrary to the claim",
    "undecided": "Undecided",
    "seen once, depends on the temperature": "Seen once, and depending on the temperature",
    "equal": "No difference",
    "holds": "Claims that hold",
    "seen once, as claimed": "Seen once, as claimed",
}
CONTRARY = ("does not hold", "depends on the temperature", "seen once, contrary")
OTHERS = tuple(name for name in HEADINGS if name not in CONTRARY)
PUBLISHED = ROOT / "reports" / "published"


@dataclass(frozen=True)
class _TableView(View):
    """A view with its name in the paper and the lettered reasons below it."""

    name: str
    notes: Any


class _Notes(dict):
    """Reasons by letter: one that stands often in a table is printed once, below it."""

    def __init__(self, id: str, judgements: Iterable[Judgement]) -> None:
        texts = dict.fromkeys(map(self._text, judgements))
        super().__init__({chr(ord("a") + i % 26) * (1 + i // 26): text for i, text in enumerate(texts)})
        self.id = f"{id}-why"

    def letter(self, judgement: Judgement) -> str:
        """The letter under which the judgement's reason stands."""
        return next(letter for letter, text in self.items() if text == self._text(judgement))

    @staticmethod
    def _text(judgement: Judgement) -> str:
        return f"{judgement.metrics}: {judgement.reason}"


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
    tries: Mapping[str, tried.Tries] | None = None,
    alone: bool = False,
) -> Path:
    """Write `out`/index.html, whole or not at all; its path. Equal input gives an equal page.

    `failures` are one-line messages of what went wrong; `notebooks` are executed notebooks and their pages,
    at or below `out`. Sample grids are looked up as FOLDER/SLUG/samples_T1 and samples_T0 (.png, .webp); they
    become part of the page. Real test images are drawn from the data set where it can be loaded (`data_dir`: local
    copies). `alone`: it is about the published records; their grids, where they lie below `out`, are linked, and real
    images are shown of data that need no files, so that the page is the same everywhere. `tries`: what was tried where
    a claim does not hold. `profile` is the one of the commands shown; rows of `available` can be trained. OSError when
    `out` cannot be written.
    """
    sets = run_sets(local, published)
    here = [runs for runs in sets if runs.place == "here"]
    profile = profile or (here[0].profile if here else "quick")
    made = cards(sets)
    by_standing = {name: list(found) for name, found in groupby(made, lambda card: card.standing)}
    pictures = {"here": local_pictures, "published": published_pictures}
    page = _environment().get_template("index.html.j2").render(
        title=TITLE,
        css=_css("style.css"),
        contents=CONTENTS.items(),
        version=VERSION,
        failures=[" ".join(line.split()) for line in failures],
        facts=report_parts.facts(sets, alone),
        towards_the_paper=report_parts.towards_the_paper(sets),
        lacking=report_parts.lacking(sets),
        claim_counts=count_claims(made),
        number_counts=tables.count_numbers(sets),
        contrary=[(name, by_standing[name]) for name in CONTRARY if name in by_standing],
        tried=tries or {},
        others=[(name, by_standing[name]) for name in OTHERS if name in by_standing],
        untested=by_standing.get("not run", []),
        tested=len(by_standing.keys() - {"not run"}) > 0,
        shortfalls=report_parts.shortfalls(sets, made, available),
        unfinished=report_parts.unfinished(sets),
        views=[_view(table, sets, available, profile, alone) for table in paper.TABLES],
        samples=report_pictures.samples_of(sets, pictures, data_dir, Path(out) if alone else None),
        plots=report_pictures.plots_of(sets, alone),
        costs=report_tables.costs(sets),
        baselines=report_tables.baselines(sets, [row for row in ROWS if paper.canonical(row) == row]),
        coverage=report_tables.coverage(sets, [row.id for row in paper.TABLE1.rows]),
        devices=report_parts.devices(sets),
        protocols=report_tables.protocols(sets),
        other_protocols=report_tables.other_protocols(sets),
        numbers=report_tables.all_numbers(sets),
        notebooks=_links(notebooks, out),
        alone=alone,
        provenance=report_parts.provenance(sets),
        runs=report_parts.runs(sets),
        footnote_link=_footnote_link,
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
    from cqlib.experiments.experiment import AVAILABLE

    alone = Path(runs_dir).resolve() == PUBLISHED.resolve()
    local, wrong_here = ([], []) if alone else load_records(runs_dir)
    local, stale = _of_one_recipe(local)
    published, wrong_there = load_records(PUBLISHED / "records")
    tries, wrong_tries = tried.tries()
    problems = [f"record left out: {line}" for line in (*wrong_here, *stale, *wrong_there, *wrong_tries)]
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
        tries=tries,
        alone=alone,
    )


def _of_one_recipe(records: Sequence[Record]) -> tuple[list[Record], list[str]]:
    """The records without those of another recipe than today's where the same row has some of today's: they have no
    mean. And a line for each that is left out."""
    from cqlib.experiments.experiment import experiment

    def todays(record: Record) -> bool:
        try:
            wanted = experiment(record.row, record.profile, record.data.name, record.seed)
        except UserError:  # a row or data set that there is no more
            return False
        return wanted.config_hash == record.config_hash

    def kind(record: Record) -> tuple[str, ...]:
        return paper.canonical(record.row), record.profile, record.data.name

    now = {id(record): todays(record) for record in records}
    renewed = {kind(record) for record in records if now[id(record)]}
    kept = [record for record in records if now[id(record)] or kind(record) not in renewed]
    return kept, [
        f"{r.row} on {without_paths(r.data.name)}, {r.profile}, seed {r.seed} is of another recipe than today's; "
        f"trained again with --seeds {r.seed}, (and the comma) it is of the same"
        for r in records if not now[id(r)] and kind(r) in renewed
    ]  # fmt: skip


def macro(name: str, *arguments: Any) -> Markup:
    """A piece of the report as HTML for a notebook: macro `name` of `macros.html.j2`."""
    return scoped(getattr(_environment().get_template("macros.html.j2").make_module({}), name)(*arguments))


def table_html(table: str, local: Sequence[Record], published: Sequence[Record] | None = None) -> Markup:
    """Table "table1", "table2" or "table3" as HTML for a notebook, the published records beside `local`."""
    sets = run_sets(local, published_records() if published is None else published)
    wanted = next(item for item in paper.TABLES if item.id == table)
    return macro("paper_table", _view(wanted, sets, ROWS, "quick"))


def view_html(view: View, name: str, columns: tuple[str, str] = ("Model", "Source")) -> Markup:
    """A view that is none of the paper's tables, under `name`, as HTML for a notebook; `columns` head its first two."""
    return macro("paper_table", _named(view, name), None, *columns)


def claims_html(table: str, local: Sequence[Record], published: Sequence[Record] | None = None) -> Markup:
    """The tested claims of a table as HTML for a notebook, those that do not hold first."""
    sets = run_sets(local, published_records() if published is None else published)
    found = [card for card in cards(sets, f"{table}/") if card.standing != "not run"]
    return macro("claim_list", found) if found else Markup("<p>No claim has been tested yet.</p>")


def shortfalls_html(local: Sequence[Record], published: Sequence[Record] | None = None) -> Markup:
    """What could not be reproduced, as a list for a notebook."""
    from cqlib.experiments.experiment import AVAILABLE

    sets = run_sets(local, published_records() if published is None else published)
    lines = report_parts.shortfalls(sets, cards(sets), AVAILABLE) + report_parts.unfinished(sets)
    items = Markup("").join(Markup("<li>{}</li>").format(without_paths(line)) for line in lines)
    return scoped(Markup("<ul>{}</ul>").format(items))


@functools.cache
def published_records() -> tuple[Record, ...]:
    """The records that come with the project; those that cannot be read are left out."""
    return tuple(load_records(PUBLISHED / "records")[0])


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
        tones=TONES, signs=STANDINGS, headings=HEADINGS, footnotes=paper.FOOTNOTES, equal=paper.EQUAL
    )
    return environment


def _css(name: str) -> Markup:
    return Markup((Path(__file__).parent / "templates" / name).read_text(encoding="utf-8"))


def scoped(body: str) -> Markup:
    """HTML for a notebook with the few rules it needs, which touch nothing else; `body` is HTML already."""
    return Markup('<div class="cqlib"><style>{}</style>{}</div>').format(_css("notebook.css"), Markup(body))


def _view(
    table: paper.Table, sets: Sequence[RunSet], available: Collection[str], profile: str, alone: bool = False
) -> _TableView:
    return _named(tables.view(table, sets, available, profile, alone), TABLE_NAMES[table.id])


def _named(view: View, name: str) -> _TableView:
    judged = (item for group in view.groups for line in group.lines for item in line.judgements)
    notes = _Notes(view.id, [item for item in judged if item.label == "not comparable"])
    values = {field.name: getattr(view, field.name) for field in fields(View)}
    return _TableView(**values, name=name, notes=notes)


def _footnote_link(note: str) -> Markup:
    number = list(paper.FOOTNOTES).index(note) + 1
    return Markup('<a href="#note-{}" aria-label="footnote {}">{}</a>').format(note, number, number)


def _links(files: Sequence[Path], out: Path) -> list[dict[str, Any]]:
    """Notebooks by name with relative links to their pages."""
    kinds = {".html": "page", ".ipynb": "notebook"}
    found: dict[str, list[tuple[str, str]]] = {}
    for file in map(Path, files):
        if file.suffix in kinds:
            link = file.relative_to(out) if file.is_absolute() and file.is_relative_to(out) else file
            found.setdefault(file.stem, []).append((kinds[file.suffix], link.as_posix()))
    return [{"name": name, "links": links} for name, links in found.items()]
