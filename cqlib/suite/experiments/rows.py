"""Names on the command line: rows, profiles, data sets and notebooks; and the labels of rows.

Standard library only: `cqlib/suite/cli/options.py` checks options before anything is installed.
"""

import shlex
from collections.abc import Collection, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType

from cqlib import data as data_sets
from cqlib.suite.experiments import ablations, paper, trade_off
from cqlib.suite.experiments.variants import Changes, as_options, in_words, row_and_changes
from cqlib.util.errors import UsageError, unknown_name
from cqlib.util.paths import ROOT
from cqlib.util.text import without_paths

PROFILES = {
    "smoke": "tests: tiny nets, tens of steps",
    "quick": "the default: small nets, minutes on a CPU",
    "study": "an evening on a CPU, minutes on a GPU",
    "paper": "the paper's recipes: a GPU, hours for Table 1, weeks for all",
}
RESULT_PROFILES = tuple(PROFILES)[1:]
"""Profiles with results; `smoke` is for tests."""

MAX_SEED = 9_999
"""Samples are drawn with seeds from 10,000 on (`metrics.evaluation.TEST_SEED`)."""

DEVELOPMENT_DATA = "photodigits"
"""The default data set of every profile but `paper`."""

EXTRA = {
    "extra/vae-full-covariance": "VAE, correlated Gaussian",
    "extra/vae-pixelcnn": "VAE, PixelCNN decoder",
    "extra/cq-f-conditional": "CQ-F, colourisation",
    "extra/improved-gan-unlabelled": "Improved GAN, no labels",
    "extra/m-batchgan": "M-BatchGAN",
}
"""Row -> its label, for rows that figures need and that are in none of the paper's tables."""

ROWS = (*paper.ROWS, *EXTRA)
TWO_SCALES = "table3/cqf-2-scales"

NOTEBOOK_ROWS = {
    "figure_decoders": (
        "table1/vae", "extra/vae-full-covariance", "extra/vae-pixelcnn", "table1/vae-f",
        "table3/pixelcnnpp", "table3/pixelrnn", "table3/nvp", "table3/vae-iaf",
        "table1/gan", "table3/sngan", "table3/wgan-gp", "table1/cq-f",
    ),
    "colourisation": ("extra/cq-f-conditional", "table1/cq-f"),
    "figure_samples": ("table1/cq-f",),
    trade_off.NOTEBOOK: tuple(row.id for row in paper.TABLE1.rows),
    "figure_nvp_comparison": ("table1/cq-f", TWO_SCALES, "table3/nvp"),
}  # fmt: skip
"""Short name of a notebook -> the rows that it needs; the notebook of a table also needs the table's rows."""

NOTEBOOK_DATA = {"figure_nvp_comparison": ("cifar10", "celeba", "lsun-bedroom", "imagenet64")}
"""Short name of a notebook -> the data sets of its rows under `paper`; other notebooks take each row's own."""
OFFLINE_DATA = {"colourisation": "photos10", "extra/cq-f-conditional": "photos10"}
"""Short name of a notebook, or row -> its data set under the other profiles, if that is not `DEVELOPMENT_DATA`."""


def notebook_runs(name: str, profile: str) -> list[tuple[str, Changes]]:
    """(row, changes) of the runs that a notebook (by short name) needs under a profile."""
    rows = NOTEBOOK_ROWS.get(name, ())
    plain: list[tuple[str, Changes]] = [(row, {}) for row in ROWS if row.startswith(f"{name}/") or row in rows]
    return plain + (trade_off.changed_rows(profile) if name == trade_off.NOTEBOOK else [])


COLAB = "colab.ipynb"
"""The notebook that installs the project by itself, on a machine of Colab; nothing here runs it."""
LECTURE = "lecture.ipynb"
"""Cells of the lessons once more, for slides, written by tools/notebooks.py."""


def notebooks() -> dict[str, Path]:
    """Short name -> file of every notebook but `COLAB` and `LECTURE`. The short name is the file's stem
    (`figure_samples`); for a notebook of a table, only its first word (`table1`)."""
    files = sorted(file for file in (ROOT / "notebooks").glob("*.ipynb") if file.name not in (COLAB, LECTURE))
    return {file.stem.split("_")[0] if file.stem.startswith("table") else file.stem: file for file in files}


def _check(kind: str, valid: Collection[str], name: str) -> str:
    """`name` if it is one of `valid`; else UsageError with the nearest one."""
    if name not in valid:
        raise unknown_name(kind, name, valid)
    return name


check_profile = partial(_check, "profile", PROFILES)
check_row = partial(_check, "row", ROWS)


def check_data(name: str) -> str:
    """`name` if it is the name of a data set (no file is read); else UsageError with the nearest one."""
    data_sets.check(name)
    return name


def check_target(name: str) -> str:
    """`name` if it is valid for `--only` (`all`, a row, a notebook or its stem, an ablation, `ablations`); else
    UsageError with the nearest one."""
    books = notebooks()
    stems = (file.stem for file in books.values())
    return _check("name", ["all", *books, *stems, *ROWS, *ablations.GROUPS], name)


def targets(only: Sequence[str], profile: str) -> tuple[list[tuple[str, Changes, str]], list[Path]]:
    """The runs and the notebooks of `--only` (default: every notebook, and the rows of Table 1), as two lists: of (row,
    changes, short name of the notebook that needs it, or ""), and of notebook files. UsageError for an ablation of
    another profile."""
    books = notebooks()
    if not only:
        return [(row.id, {}, "") for row in paper.TABLE1.rows], [*books.values()]
    rows: list[tuple[str, Changes, str]] = []
    files: list[Path] = []
    for name in only:
        for ablation in ablations.GROUPS.get(name, ()):
            if profile != ablations.PROFILE:
                raise UsageError(f"{name}: changes the recipes of --profile {ablations.PROFILE}, not of {profile}")
            rows += [(row, changes, "") for row, changes in ablation.runs]
        shown = {short: file for short, file in books.items() if name in ("all", short, file.stem)}
        files += shown.values()
        rows += [(row, changes, short) for short in shown for row, changes in notebook_runs(short, profile)]
        rows += [(row, {}, "") for row in ROWS if name in ("all", row)]
    return rows, files


def default_data(row: str, profile: str, notebook: str = "") -> tuple[str, ...]:
    """The data sets of a row if none is named. Under `paper` they are those of the `notebook` (by short name) that
    shows the row, if it has its own, else those of the row's table."""
    if profile != "paper":
        return (OFFLINE_DATA.get(notebook) or OFFLINE_DATA.get(row, DEVELOPMENT_DATA),)
    if notebook in NOTEBOOK_DATA:
        return NOTEBOOK_DATA[notebook]
    return next((table.data for table in paper.TABLES if row.startswith(f"{table.id}/")), ("cifar10",))


def label_of(row: str) -> str:
    """A row's name on the slides, made unique if the slides use it twice ("CQ-F + Residual"), and followed by the row's
    changes ("CQ-F, λ 25")."""
    plain, changes = row_and_changes(row)
    if changes:
        return f"{label_of(plain)}, {in_words(changes)}"
    if row not in paper.ROWS:
        return EXTRA.get(row, row)
    label, ticks = paper.ROWS[row].label, paper.ROWS[row].ticks
    return label if row.startswith("table1/") or "(" in label else " + ".join([label, *ticks])


def short_label(row: str) -> str:
    """`label_of` for narrow places."""
    return {TWO_SCALES: "CQ-F, 2 scales", "table3/cqf-large-d": "CQ-F (large Discr.)"}.get(row) or label_of(row)


def marker_numbers(rows: Collection[str]) -> dict[str, int]:
    """Short label -> its number in `plots.colour_and_marker`, which is the same for a system in every table."""
    systems = list(dict.fromkeys(map(paper.canonical, ROWS)))
    numbers = {system: number for number, system in enumerate(systems)}
    return {short_label(row): numbers.get(paper.canonical(row), len(numbers)) for row in rows}


def training_command(
    only: str, profile: str, data: str = "", seed: int = 0, changes: Changes = MappingProxyType({})
) -> str:
    """The command that trains `only` (a row or a notebook) with `profile` on `data` (empty: the profile's own). Of an
    absolute path it shows only the last part, because pages with the command are passed on."""
    if data == DEVELOPMENT_DATA and profile != "paper":  # it is the profile's own
        data = ""
    if data != without_paths(data):
        data = without_paths(data).replace(":", ":PATH/", 1)
    options = "" if profile == "quick" else f" --profile {profile}"
    options += f" --only {only}" + (f" --data {shlex.quote(data)}" if data else "")
    options += f" --seeds {seed}" if seed else ""
    options += as_options(changes)
    return f"./run_all.sh{options}"
