"""Renders the parts of README.md and of docs between `<!-- NAME -->` and `<!-- /NAME -->` from the published
records. A test fails where a committed part is out of date."""

import json
import statistics
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import chain, groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

from cqlib.metrics.quantities import QUANTITIES, heading
from cqlib.suite.experiments import paper
from cqlib.suite.experiments.claims import IS_MISLEADS
from cqlib.suite.experiments.experiment import image_size
from cqlib.suite.experiments.record import slug, undamaged_records
from cqlib.suite.experiments.rows import RESULT_PROFILES, default_data, training_command
from cqlib.suite.report import details, trade_off
from cqlib.suite.report.findings import RULE, VERDICTS, Card, answer, cards, scales, write_claims
from cqlib.suite.report.groups import Group, data_title, groups, side_by_side
from cqlib.suite.report.tables import MIXTURE, MIXTURE_MEANS, NO_IS, mixture_cells
from cqlib.util.errors import UserError
from cqlib.util.files import write_atomic
from cqlib.util.paths import PUBLISHED, RECORDS, ROOT
from cqlib.util.text import count_of, duration, fill_sections, format_bytes, markdown_table

README, DOCS = ROOT / "README.md", ROOT / "docs"
FD, COVERAGE = (QUANTITIES[id].lite0 for id in ("fid", "coverage"))
COLUMNS = ("BPD", *(QUANTITIES[id].lite0 for id in ("is", "fid", "kid", "coverage")))
"""What is measured, in the tables of docs."""
PAPERS = ("paper: BPD ↓", "paper: IS ↑", "paper: FID ↓")
TABLES = {table.id: table for table in paper.TABLES}
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
    return f"From a fresh clone, the first command takes {time} and at most {memory} of memory ({run['machine']})."


def profiles(sets: Groups) -> str:
    """What each profile but `smoke` costs, and what CQ-F gets under it."""
    lines = []
    for profile in RESULT_PROFILES:
        data = default_data("table1/cq-f", profile)[0]
        size = image_size(data, profile)
        alike = (runs for runs in sets if (runs.profile, runs.data, runs.size) == (profile, data, size))
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


def whole_table(which: str, sets: Groups) -> str:
    """A table of the paper for docs, the paper's numbers beside the published ones."""
    table = TABLES[which]
    if (runs := displayed(sets, table)) is not None:
        return measured(table, runs)
    lines = [[_name(row, table), *map(printed, row.numbers[:3])] for row in table.rows]
    command = training_command(which, "quick")
    return "\n\n".join([f"Not trained yet: `{command}`.", markdown_table(["", *PAPERS], lines), *_footnotes(table)])


def measured(table: paper.Table, runs: Group) -> str:
    """A table of the paper, its numbers beside those of a group."""
    empty = [""] * len(PAPERS)
    lines = [[_name(row, table), *map(printed, row.numbers[:3]), *(mean(runs, row.id, name) for name in COLUMNS),
              _seeds_of(runs, row.id)] for row in table.all_rows]  # fmt: skip
    lines.append([*_real(runs, COLUMNS, empty), ""])
    mixed = mixture_cells(runs, COLUMNS) if table is paper.TABLE1 else None
    if mixed:
        lines.append([MIXTURE, *empty, *(cell.text.replace("—", "") for cell in mixed)])
    command = runs.command(table.id, [row.id for row in table.rows])
    header = ["", *PAPERS, *map(heading, COLUMNS), "seeds"]
    parts = [f"{caption(runs, table)} To train it: `{command}`.", markdown_table(header, lines)]
    parts += [MIXTURE_MEANS] * bool(mixed) + [NO_IS.format(runs.data)] * (runs.data in IS_MISLEADS)
    return "\n\n".join([*parts, *_footnotes(table)])


def _footnotes(table: paper.Table) -> list[str]:
    return [paper.FOOTNOTES[note] for row in table.rows for note in row.footnotes]


def caption(runs: Group, table: paper.Table) -> str:
    """Data, profile, seeds, how samples are scored, and the records that all numbers are of."""
    scores = [run.metrics[FD] for run in runs.records if FD in run.metrics]
    n, sides = sorted({score.n for score in scores}), sorted({score.protocol.side or 0 for score in scores})
    scored = f"n = {' or '.join(f'{count:,}' for count in n)} at side {' or '.join(map(str, sides))}"
    text = f"Here: {runs.name}, {seeds(runs, table)}, {scored}."
    if any(bpd.starred for row in table.all_rows if (bpd := runs.mean(row.id, "BPD"))):
        note = paper.FOOTNOTES["frozen-gan"]
        text += rf" \*: {note[0].lower()}{note[1:]}."
    files = slug("ROW", runs.data, runs.profile, 0, runs.changes).replace("--0", "--SEED", 1)
    return f"{text} Records: `{PUBLISHED.relative_to(ROOT)}/records/{files}.json`."


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


def _name(row: paper.Row, table: paper.Table) -> str:
    return f"{row.label} [{', '.join(row.ticks)}]" if row.ticks and table.id == "table2" else row.label


def _seeds_of(runs: Group, row: str) -> str:
    command = f"not trained yet: `{training_command(row, runs.profile, runs.data)}`"
    return runs.diverged(row) or str(len(runs.done(row)) or command)


def _real(runs: Group, names: Sequence[str], papers: Sequence[str]) -> list[str]:
    return ["real images", *papers, *(runs.real_cell(name).text for name in names)]


# --- claims


def fronts(sets: Groups) -> str:
    """What f does to the trade-off, on each group that has fronts."""
    lines = [[result.label, result.sentence, data_title(runs.data) + f" {runs.size}×{runs.size}", result.text,
              str(result.seeds)] for runs in sets for result in trade_off.front_results(runs)]  # fmt: skip
    header = ["verdict", "claim (ours)", "images", "measured effect and 95 % interval", "seeds"]
    return f"{trade_off.CHOSEN_LATE}\n\n{markdown_table(header, lines)}" if lines else "No front has been trained yet."


def two_regimes(sets: Groups) -> str:
    """sigma at codes of images and at drawn codes, of the rows of Table 1."""
    runs = displayed(sets, paper.TABLE1)
    lines = details.regime_lines(runs, [row.id for row in paper.TABLE1.rows]) if runs else []
    cells = [[cell if isinstance(cell, str) else cell.text for cell in line] for line in lines]
    table = [markdown_table(details.REGIMES, cells)] if cells else []
    return "\n\n".join([details.REGIMES_MEAN, *table])


def claims(which: str, sets: Groups) -> str:
    """The claims of a table; those of Table 1 on the smallest and on the largest images."""
    table = TABLES[which]
    shown: list[Group | None] = [*scales(sets, [row.id for row in table.rows])] if table is paper.TABLE1 else []
    shown = shown or [displayed(sets, table)]
    parts = ((f"**{runs.label}.** " if len(shown) > 1 and runs else "") + _claims(which, runs) for runs in shown)
    return "\n\n".join(parts)


def _claims(which: str, runs: Group | None) -> str:
    """The claims of a table on a group: how many have which verdict, those tested with their effects, and those not
    run."""
    found = cards([runs] if runs else [], f"{which}/")
    own = [card for card in found if card.claim.own]
    counts = _counts([card for card in found if card not in own], TABLES[which].name)
    parts = [" ".join(filter(None, (counts, _counts(own, "this project's own"))))]
    tested = [card for card in found if card.tests]
    if not tested:
        return parts[0]
    notes = list(dict.fromkeys(card.claim.note for card in tested if card.claim.note))
    lines = []
    for card in tested:
        result, claim = card.tests[0], card.claim
        mark = f" <sup>{notes.index(claim.note) + 1}</sup>" if claim.note else ""
        lines.append([card.verdict, claim.sentence + " (ours)" * claim.own + mark, card.published,
                      (result.reason or result.text) + " †" * result.survives_holm])  # fmt: skip
    parts.append(markdown_table(["verdict", "claim", "paper", "measured effect and 95 % interval"], lines))
    if any(card.tests[0].survives_holm for card in tested):
        parts.append(f"†: survives Holm's correction for the number of tests of {TABLES[which].name}.")
    untested = sorted((card for card in found if not card.tests), key=lambda card: card.reason)
    for reason, same in groupby(untested, key=lambda card: card.reason):
        parts.append(f"Not run ({reason}): {'; '.join(card.claim.sentence for card in same)}.")
    return "\n\n".join([*parts, *(f"<sup>{i}</sup> {note}" for i, note in enumerate(notes, 1))])


def _counts(of: Sequence[Card], whose: str) -> str:
    counts = Counter(card.verdict for card in of)
    verdicts = ", ".join(f"{name}: {counts[name]}" for name in VERDICTS if counts[name])
    return f"{len(of)} claims of {whose}; {verdicts}." if of else ""


DOCUMENTS: Mapping[Path, Mapping[str, Callable[[Groups], str]]] = {
    README: {"cost": default_cost, "findings": findings, "table1": short_table},
    DOCS / "running.md": {"profiles": profiles},
    DOCS / "results.md": {"fronts": fronts, "regimes": two_regimes}
    | {name: partial(whole_table, name) for name in TABLES}
    | {f"{name}-claims": partial(claims, name) for name in TABLES},
}  # fmt: skip
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
