"""The report: records -> one self-contained `index.html`; notebooks show pieces of it. Text from outside is escaped,
and absolute paths in it are cut to their last part."""

import functools
import itertools
import os
import statistics
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

from cqlib.metrics.quantities import QUANTITIES, heading
from cqlib.suite.experiments import paper
from cqlib.suite.experiments.ablations import FOLDER, SEEDS
from cqlib.suite.experiments.record import Record, load_records
from cqlib.suite.experiments.rows import PROFILES, ROWS, label_of
from cqlib.suite.experiments.variants import in_words
from cqlib.suite.report import (
    ablations,
    answer,
    digits,
    facts,
    fronts,
    pictures,
    regimes,
    small_tables,
    tables,
    trade_off,
)
from cqlib.suite.report.claim_cards import VERDICTS, against_the_paper, cards, matrix, scales, tally
from cqlib.suite.report.jinja import environment
from cqlib.suite.report.numbers import COMPARABLE, count_numbers
from cqlib.suite.report.run_sets import ORIGINS, RunSet, display_groups, nearest_first, run_sets
from cqlib.util import VERSION
from cqlib.util.files import write_atomic
from cqlib.util.paths import PUBLISHED
from cqlib.util.text import without_paths

TITLE = "Coverage and Quality Driven Training of Generative Image Models"


def render(
    out: Path, *, runs_dir: Path, failures: Sequence[str] = (), data_dir: Path | None = None,
    profile: str | None = None,
) -> Path:  # fmt: skip
    """Write `out`/index.html, whole or not at all, and return its path. It is made from the records and samples in
    `runs_dir`, from the published ones, and from the pages in `out`/notebooks; equal input gives an equal page. It
    names `failures` and the records that cannot be read. OSError where it cannot be written.

    Where `runs_dir` is `PUBLISHED`, the page is about the published runs alone and the same on every machine: grids
    below `out` are linked, and real test images are shown only of data sets that need no files. Else they are shown of
    all data that can be loaded (`data_dir`: local copies). `profile` is the one in the commands shown, by default that
    of this machine's runs, else "quick".
    """
    alone = os.path.realpath(runs_dir) == os.path.realpath(PUBLISHED)  # a loop of links is no error
    local, unreadable = ([], []) if alone else load_records(runs_dir)
    published, damaged = load_records(PUBLISHED / "records")
    changed, broken = load_records(PUBLISHED / FOLDER)
    problems = [f"record left out: {line}" for line in (*unreadable, *damaged, *broken)]
    sets = run_sets(local, published)
    profile = profile or next((runs.profile for runs in sets if runs.origin == "local"), "quick")
    all_cards = cards(sets)
    beside = out if alone else None
    table1 = [row.id for row in paper.TABLE1.rows]
    shown = [(table, display_groups(sets, [row.id for row in table.rows], profile) or [[]]) for table in paper.TABLES]
    drawn = functools.partial(_strip, runs_dir=runs_dir, data_dir=data_dir, beside=beside)
    parts = [_parts(table, groups, tables.missing(table, sets, profile, alone), drawn) for table, groups in shown]
    said = parts[0][0][0].remarks  # once is enough
    parts[1:] = [[(replace(view, remarks=tuple(each for each in view.remarks if each not in said)), strip), *others]
                 for (view, strip), *others in parts[1:]]  # fmt: skip
    first = shown[0][1][0]
    counted = digits.lines(first, table1)
    already = [figure["of"] for of_table in parts for _, strip in of_table for figure in strip]
    rest = [(runs, [row for row in runs.rows if (runs, row) not in already]) for runs in sets]
    more = [(runs, pictures.grids([runs], rows, runs_dir, data_dir, beside)) for runs, rows in rest]
    # published runs of recipes that leave some rows as they are stand in tables and claims; `export` has all of them
    whole = [runs for runs in sets if runs.origin == "local" or not runs.unaffected]
    ordered = [*nearest_first(first), *(runs for runs in whole if runs not in first)]
    ends = scales(sets, table1)
    columns = [*(runs for runs in first if runs.origin == "local" and runs not in ends), *ends]
    of_table1 = [card for card in all_cards if card.claim.table == "table1"]
    others = [card for card in all_cards if card not in of_table1]
    page = _environment().get_template("index.html.j2").render(
        title=TITLE,
        css=_css("style.css"),
        version=VERSION,
        answer=answer.sentences(ends),
        sets=sets,
        number_counts=count_numbers(sets),
        small_tables=small_tables,
        whole=whole,
        failures=[" ".join(line.split()) for line in (*failures, *problems)],
        first=first,
        nearest=pictures.nearest_images(out, alone),
        digits=counted,
        how_read=digits.how_read(),
        alone=alone,
        profiles=PROFILES,
        parts=parts,
        trade_off=[figure for i, runs in enumerate(trade_off.sets_with_fronts(sets, profile))
                   for figure in trade_off.figures(runs, how_to_read=i == 0)],
        fronts=[(runs, found) for runs in sets if (found := fronts.results(runs))],
        chosen_late=fronts.CHOSEN_LATE,
        regimes=[(runs, of_set) for runs in first if (of_set := regimes.lines(runs, table1))],
        two_regimes=(regimes.HEAD, regimes.MEANING),
        tallies=[(runs, *tally([runs])) for runs in columns],
        claims=matrix(of_table1, columns),
        other_claims=matrix(others, columns),
        untested=[card for card in all_cards if not card.tests],
        effects=ablations.effect_table(ablations.run_set(published, changed)) if changed else None,
        all_cards=all_cards,
        systems=[row for row in ROWS if paper.canonical(row) == row],
        samples=[(runs, found) for runs, found in more if found],
        exact=pictures.EXACT,
        plots=pictures.plots_of(ordered, alone),
        notebooks={file.stem: f"notebooks/{file.name}" for file in sorted((out / "notebooks").glob("*.html"))},
        fresh=functools.partial(next, itertools.count(1)),
    )  # fmt: skip
    return write_atomic(out / "index.html", page)


def _parts(
    table: paper.Table, groups: Sequence[Sequence[RunSet]], commands: tuple[tuple[str, str], ...],
    drawn: Callable[[paper.Table, Sequence[RunSet]], list[dict[str, Any]]],
) -> list[tuple[tables.View, list[dict[str, Any]]]]:  # fmt: skip
    """The views of a table, each with what `drawn` gives of its rows: of the first group, with the commands for missing
    rows, then of each other group of run sets that has a row of this table which is not a row of an earlier table
    too."""
    first, *more = groups
    parts = [(tables.view(table, first, commands), drawn(table, first))]
    others = (place for place in more if any(runs.records_of(row) for runs in place for row in table.new_rows))
    for i, place in enumerate(others, 2):
        title = f"{table.name}. {place[0].label}"
        parts.append((replace(tables.view(table, place), id=f"{table.id}-{i}", title=title), drawn(table, place)))
    return parts


def _strip(
    table: paper.Table, runs: Sequence[RunSet], runs_dir: Path, data_dir: Path | None, beside: Path | None
) -> list[dict[str, Any]]:
    """Samples of the rows that a table has and no earlier one, from `runs`, by the changes of their recipes; before
    those of Table 1, real images. Each figure says how many of its digits could be read by eye."""
    counted = {line.label: f"{line.by_eye} legible" for line in digits.lines(runs, table.new_rows) if line.by_eye}
    alike: dict[str, list[RunSet]] = {}
    for each in sorted(runs, key=lambda each: len(each.changes)):
        alike.setdefault(in_words(each.changes), []).append(each)
    found: list[dict[str, Any]] = []
    for changes, sets in alike.items():
        for figure in pictures.grids(sets, table.new_rows, runs_dir, data_dir, beside):
            if figure["of"] or (table is paper.TABLE1 and not found):
                legible = "" if changes else counted.get(figure["label"].replace("Real test", "Real"), "")
                label = f"{figure['label']}, {changes}" if changes else figure["label"]
                found.append({**figure, "label": label, "legible": legible})
    return found


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
    """Jinja2 that escapes all text and takes machine paths out of it."""
    html = environment(autoescape=True, finalize=lambda value: without_paths(value) if type(value) is str else value)
    html.globals.update(
        tones=COMPARABLE,
        verdicts=VERDICTS,
        better=ablations.BETTER,
        origins=ORIGINS,
        footnotes=paper.FOOTNOTES,
        quantities=QUANTITIES,
        facts=facts,
        label_of=label_of,
        heading=heading,
        median=statistics.median,
        against_the_paper=against_the_paper,
        ablation_seeds=f"{SEEDS[0]}-{SEEDS[-1]}",
    )
    return html


def _css(name: str) -> Markup:
    return Markup((Path(__file__).parent / "templates" / name).read_text(encoding="utf-8"))
