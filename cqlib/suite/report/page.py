"""The report: records -> one self-contained `index.html`; notebooks show pieces of it. Text from outside is escaped,
and absolute paths in it are cut to their last part.

The page has a dataclass for each section, which holds what its part of `index.html.j2` shows.
"""

import functools
import itertools
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from cqlib.metrics.quantities import QUANTITIES, heading
from cqlib.suite.experiments import paper
from cqlib.suite.experiments.ablations import SEEDS
from cqlib.suite.experiments.record import Record, load_records
from cqlib.suite.experiments.rows import PROFILES, ROWS, label_of
from cqlib.suite.experiments.variants import in_words
from cqlib.suite.report import ablations, details, findings, pictures, tables, trade_off
from cqlib.suite.report.groups import Cell, Group, groups_of, local_first, side_by_side
from cqlib.suite.report.table import ORIGINS, Table, is_published, read
from cqlib.suite.report.verdicts import COMPARABLE, count_numbers
from cqlib.util import VERSION
from cqlib.util.files import canonical_json, write_atomic
from cqlib.util.paths import PUBLISHED
from cqlib.util.text import without_paths

TITLE = "Coverage and Quality Driven Training of Generative Image Models"
TABLE1 = [row.id for row in paper.TABLE1.rows]
Figures = list[dict[str, Any]]
"""Pictures for the macros `strip`, `grids` or `figures`."""


@dataclass(frozen=True)
class Source:
    """What the page is made from: groups of runs, and where their samples and images are. `published_only`: it is about
    the published runs and the same on every machine."""

    groups: Sequence[Group]
    ablations: Table
    profile: str
    published_only: bool
    out: Path
    runs_dir: Path
    data_dir: Path | None

    def grids(self, groups: Sequence[Group], rows: Iterable[str]) -> Figures:
        """Samples of `rows`, with real images before them."""
        return pictures.grids(groups, list(rows), self.runs_dir, self.data_dir, self.link_root)

    @property
    def link_root(self) -> Path | None:
        """The folder whose files the page links to; None where it holds them itself."""
        return self.out if self.published_only else None

    @functools.cached_property
    def whole(self) -> list[Group]:
        """All groups, but for published ones of changed recipes that leave some rows as they are: those stand in tables
        and claims, and `export` has all."""
        return [group for group in self.groups if group.origin == "local" or not group.unaffected]

    @functools.cached_property
    def first(self) -> list[Group]:
        """The groups that Table 1 shows first."""
        return next(iter(side_by_side(self.groups, TABLE1, self.profile)), [])

    @functools.cached_property
    def pictured(self) -> list[Group]:
        """The groups whose samples stand first: of each data set of Table 1 the largest images at which all its models
        were trained."""

        def whole(group: Group) -> bool:
            return not group.changes and all(group.done(row) for row in TABLE1)

        places = self.scales if self.published_only else self.first
        return [max((other for other in self.groups
                     if other is group or (other.origin, other.data) == (group.origin, group.data) and whole(other)),
                    key=lambda other: other.size) for group in places]  # fmt: skip

    @functools.cached_property
    def scales(self) -> list[Group]:
        """The groups whose claims are told: of the smallest and of the largest scale."""
        return findings.scales(self.groups, TABLE1)


@dataclass(frozen=True)
class Shown:
    """A table of the paper on groups side by side, with the samples of its rows."""

    view: tables.View
    samples: Figures


@dataclass(frozen=True)
class Table1:
    """Sections "Samples" and "Table 1": the table on the first groups, then on the others."""

    first: Shown
    others: Sequence[Shown]
    nearest: Figures
    digits: Sequence[details.DigitLine]
    how_read: str
    regimes: Sequence[tuple[Group, list[tuple[str | Cell, ...]]]]
    profiles: dict[str, str]


@dataclass(frozen=True)
class TradeOff:
    """Section "Trade-off": the claims about the fronts, and the fronts."""

    claims: Sequence[tuple[Group, list[trade_off.FrontResult]]]
    figures: Figures


@dataclass(frozen=True)
class Claims:
    """Section "Claims": those of Table 1, then the others."""

    tallies: Sequence[tuple[Group, int, dict[str, int]]]
    table1: findings.Matrix
    others: findings.Matrix
    untested: Sequence[findings.Card]
    effects: dict[str, Any] | None
    cards: Sequence[findings.Card]


@dataclass(frozen=True)
class Measured:
    """Section "How it was measured"."""

    samples: Sequence[tuple[Group, Figures]]
    plots: Sequence[tuple[Group, Figures]]
    numbers: Sequence[tuple[Group, list[str], list[str]]]
    baselines: list[dict[str, Any]]
    costs: list[dict[str, Any]]
    other_costs: list[dict[str, Any]]
    number_counts: dict[str, int]
    notebooks: dict[str, str]


def render(
    out: Path, *, runs_dir: Path, failures: Sequence[str] = (), data_dir: Path | None = None,
    profile: str | None = None,
) -> Path:  # fmt: skip
    """Write `out`/index.html, whole or not at all, and return its path. It is made from the records and samples in
    `runs_dir`, from the published ones, and from the pages in `out`/notebooks; equal input gives an equal page. It
    names `failures` and the records that cannot be read. OSError where it cannot be written.

    Where `runs_dir` is `PUBLISHED`, the page is about only the published runs, and the same on every machine: grids
    below `out` are linked, and real test images are shown only of data sets that need no files. Else they are shown of
    all data that can be loaded (`data_dir`: local copies). `profile` is the one in the commands shown, by default that
    of this machine's runs, else "quick".
    """
    every, of_ablations, problems = read(runs_dir)
    groups = groups_of(every)
    profile = profile or next((group.profile for group in groups if group.origin == "local"), "quick")
    source = Source(groups, of_ablations, profile, is_published(runs_dir), out, runs_dir, data_dir)
    told = [*failures, *(f"record left out: {problem}" for problem in problems)]
    table1, *others = shown_tables(source)
    front = trade_off_section(source)
    page = _environment().get_template("index.html.j2").render(
        title=TITLE,
        css=_css("style.css"),
        version=VERSION,
        published_only=source.published_only,
        groups=groups,
        answer=findings.answer(source.scales),
        model=findings.MODEL,
        rule=findings.RULE,
        failures=[" ".join(line.split()) for line in told],
        table1=table1_section(source, table1),
        trade_off=front,
        claims=claims_section(source, every),
        tables=others,
        measured=measured_section(source, [table1, *others], front),
        next_id=functools.partial(next, itertools.count(1)),
    )  # fmt: skip
    return write_atomic(out / "index.html", page)


def shown_tables(source: Source) -> list[list[Shown]]:
    """Each table of the paper: on the first groups, with the commands for missing rows, then on all others that have a
    row of it which is not a row of an earlier table too. A remark is made once."""
    tables_shown, said = [], set[str]()
    for table in paper.TABLES:
        first, *more = side_by_side(source.groups, [row.id for row in table.rows], source.profile) or [[]]
        if table is paper.TABLE1 and source.published_only:
            first = source.scales
            more = [rest for place in more if (rest := [group for group in place if group not in first])]
        view = tables.view(table, first, tables.missing(table, source.groups, source.profile, source.published_only))
        view = replace(view, remarks=tuple(remark for remark in view.remarks if remark not in said))
        said.update(view.remarks)
        parts = [Shown(view, strip(source, table, source.pictured if table is paper.TABLE1 else first))]
        others = (place for place in more if any(group.lines_of(row) for group in place for row in table.new_rows))
        for i, place in enumerate(others, 2):
            view = replace(tables.view(table, place), id=f"{table.id}-{i}", title=f"{table.name}. {place[0].label}")
            rest = [group for group in place if table is not paper.TABLE1 or group not in source.pictured]
            parts.append(Shown(view, strip(source, table, rest)))
        tables_shown.append(parts)
    return tables_shown


def strip(source: Source, table: paper.Table, groups: Sequence[Group]) -> Figures:
    """Samples of the rows that a table has and no earlier one, from `groups`, by data and by the changes of their
    recipes; before those of Table 1, real images. Each figure has its bits, and how many of its digits could be read
    by eye or else its distance."""
    alike: dict[str, list[Group]] = {}
    for group in sorted(groups, key=lambda group: len(group.changes)):
        alike.setdefault(canonical_json([group.data, group.changes]), []).append(group)
    found: Figures = []
    for together in alike.values():
        one, changes = together[0], in_words(together[0].changes)
        place = findings.place(one) if table is paper.TABLE1 else one.images  # others: several groups side by side
        legible = {line.row: line.by_eye for line in details.digit_lines(together, table.new_rows)}
        for figure in source.grids(together, table.new_rows):
            if figure["of"] or (table is paper.TABLE1 and not found):
                label = f"{figure['label']}, {changes}" if changes else figure["label"]
                text = pictures.scores(figure, {} if changes else legible)
                found.append({**figure, "label": label, "text": text, "place": place})
    return found


def table1_section(source: Source, shown: Sequence[Shown]) -> Table1:
    """What is shown of Table 1."""
    first = source.first
    profiles = dict.fromkeys(group.profile for group in first if group.profile in PROFILES)
    return Table1(
        first=shown[0],
        others=shown[1:],
        nearest=pictures.nearest_images(source.out, source.published_only),
        digits=details.digit_lines(first, TABLE1),
        how_read=details.how_read(),
        regimes=[(group, lines) for group in first if (lines := details.regime_lines(group, TABLE1))],
        profiles={profile: PROFILES[profile] for profile in profiles},
    )


def trade_off_section(source: Source) -> TradeOff:
    """What is shown of the trade-off."""
    drawn = enumerate(trade_off.sets_with_fronts(source.groups, source.profile))
    return TradeOff(
        claims=[(group, found) for group in source.groups if (found := trade_off.front_results(group))],
        figures=[figure for i, group in drawn
                 for figure in trade_off.figures(group, source.runs_dir, source.link_root, how_to_read=i == 0)],
    )  # fmt: skip


def claims_section(source: Source, every: Table) -> Claims:
    """What is shown of claims: this machine's groups and both ends of the scale have a column each."""
    cards = findings.cards(source.groups)
    columns = [group for group in source.first if group.origin == "local" and group not in source.scales]
    columns += source.scales
    of_table1 = [card for card in cards if card.claim.table == "table1"]
    changed = source.ablations.select(origin="published")
    of_ablations = ablations.group(every.select(origin="published"), changed)
    return Claims(
        tallies=[(group, *findings.tally([group])) for group in columns],
        table1=findings.matrix(of_table1, columns),
        others=findings.matrix([card for card in cards if card not in of_table1], columns),
        untested=[card for card in cards if not card.tests],
        effects=ablations.effect_table(of_ablations) if changed else None,
        cards=cards,
    )


def measured_section(source: Source, shown: Sequence[Sequence[Shown]], front: TradeOff) -> Measured:
    """What is shown of samples that stand nowhere else, curves, all numbers and costs."""
    first, whole = source.first, source.whole
    already = [figure["of"] for parts in shown for part in parts for figure in part.samples]
    already += [choice["of"] for figure in front.figures for choice in figure["choices"]]
    rest = ((group, [row for row in group.rows if (group, row) not in already]) for group in source.groups)
    more = ((group, source.grids([group], rows)) for group, rows in rest)
    systems = [row for row in ROWS if paper.canonical(row) == row]
    ordered = [*local_first(first), *(group for group in whole if group not in first)]
    return Measured(
        samples=[(group, figures) for group, figures in more if figures],
        plots=pictures.plots_of(ordered, source.published_only),
        numbers=[(group, *details.all_numbers(group)) for group in whole if group.metrics],
        baselines=details.baselines(source.groups, systems),
        costs=details.costs(first),
        other_costs=details.costs([group for group in whole if group not in first]),
        number_counts=count_numbers(source.groups),
        notebooks={file.stem: f"notebooks/{file.name}" for file in sorted((source.out / "notebooks").glob("*.html"))},
    )


@functools.cache
def published_records() -> tuple[Record, ...]:
    """The records that come with the project; those that cannot be read are left out."""
    return tuple(load_records(PUBLISHED / "records")[0])


def macro(name: str, *arguments: Any) -> Markup:
    """A piece of the report as HTML for a notebook: macro `name` of `macros.html.j2`."""
    return scoped(getattr(_environment().get_template("macros.html.j2").make_module({}), name)(*arguments))


def scoped(body: str) -> Markup:
    """HTML for a notebook: `body`, itself HTML, with the few CSS rules it needs, which touch nothing else there."""
    return Markup('<div class="cqlib"><style>{}</style>{}</div>').format(_css("notebook.css"), Markup(body))


@functools.cache
def _environment() -> Environment:
    """Jinja2 that escapes all text and takes machine paths out of it. A name that is not there is an error."""
    loader, cut = (
        PackageLoader("cqlib.suite.report"),
        lambda value: without_paths(value) if type(value) is str else value,
    )
    html = Environment(loader=loader, undefined=StrictUndefined, trim_blocks=True, autoescape=True, finalize=cut)
    html.globals.update(
        tones=COMPARABLE,
        verdicts=findings.VERDICTS,
        better=ablations.BETTER,
        origins=ORIGINS,
        footnotes=paper.FOOTNOTES,
        quantities=QUANTITIES,
        details=details,
        chosen_late=trade_off.CHOSEN_LATE,
        regimes_head=details.REGIMES,
        regimes_mean=details.REGIMES_MEAN,
        mixture_means=tables.MIXTURE_MEANS,
        exact=pictures.EXACT,
        label_of=label_of,
        heading=heading,
        median=statistics.median,
        against_the_paper=findings.against_the_paper,
        ablation_seeds=f"{SEEDS[0]}-{SEEDS[-1]}",
    )
    return html


def _css(name: str) -> Markup:
    return Markup((Path(__file__).parent / "templates" / name).read_text(encoding="utf-8"))
