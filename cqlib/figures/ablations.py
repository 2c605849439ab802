"""The notebook on ablations: what each change to a recipe does to the scores of the rows that it changes."""

from pathlib import Path

from IPython.display import HTML

from cqlib.experiments.ablations import ABLATIONS, FOLDER, PUBLISHED
from cqlib.experiments.record import Record, load_records
from cqlib.report import ablations, page


def read(runs_dir: Path | str) -> list[Record]:
    """The published runs of ablations, and those below `runs_dir`, which replace published ones of the same name."""
    local, published = (load_records(folder)[0] for folder in (Path(runs_dir) / FOLDER, PUBLISHED))
    return list({record.folder: record for record in (*published, *local)}.values())


def overview(records: list[Record]) -> str:
    """How many of the rows that ablations change have a finished run, in words."""
    variants = {record.variant for record in records if record.done}
    changed = {ablation.variant(row) for ablation in ABLATIONS for row in ablation.changes}
    return f"{len(variants & changed)} of {len(changed)} changed rows have a finished run"


def table(records: list[Record]) -> HTML:
    """The effects on every score, question by question, with the command for what is missing."""
    return HTML(page.macro("effect_table", ablations.effect_table(ablations.run_set(records))))
