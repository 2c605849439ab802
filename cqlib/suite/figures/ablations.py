"""The notebook on ablations: what each change to a recipe does to the scores of the rows that it changes."""

from collections.abc import Container
from pathlib import Path

from IPython.display import HTML

from cqlib.suite.experiments.ablations import BY_NAME, FOLDER, PUBLISHED, SEEDS
from cqlib.suite.experiments.record import load_records
from cqlib.suite.report import ablations, page
from cqlib.suite.report.groups import Group
from cqlib.suite.report.table import of


def read(runs_dir: Path | str) -> Group:
    """The published runs of the tables and of ablations, and those of ablations below `runs_dir`, which replace
    published ones of the same name."""
    published, local = (load_records(folder)[0] for folder in (PUBLISHED, Path(runs_dir) / FOLDER))
    return ablations.group(of([], page.published_records()), of(local, published))


def table(runs: Group, names: Container[str] = BY_NAME) -> HTML:
    """The effects on every score of the changes of these names that have been trained, question by question, and the
    command for the others."""
    found = ablations.effect_table(runs)
    found["groups"] = [(question, [effect for effect in effects if effect.ablation in names])
                       for question, effects in found["groups"]]  # fmt: skip
    effects = [effect for _, group in found["groups"] for effect in group]
    missing = dict.fromkeys(effect.ablation for effect in effects if not effect.tested)
    tested = [(question, [effect for effect in group if effect.tested]) for question, group in found["groups"]]
    found["groups"] = [(question, group) for question, group in tested if group]
    shown = page.macro("effect_table", found) if found["groups"] else ""
    nothing_at_all = names is BY_NAME and not shown
    if not missing:
        return HTML(shown)
    options = f"--seeds {SEEDS[0]}-{SEEDS[-1]} --runs-dir runs/{FOLDER}"
    command = f"./run_all.sh --only {FOLDER if nothing_at_all else ','.join(missing)} {options}"
    return HTML(f"{shown}<p>Not trained yet: {', '.join(missing)}. <code>{command}</code> trains them.</p>")
