"""The paper as data: the numbers of the slides' tables as printed ("3.90" in one, "3.9" in another), tolerances,
footnotes and data sets."""

from dataclasses import dataclass

from cqlib.metrics.quantities import QUANTITIES
from cqlib.suite.experiments.claims import Claim

METRICS = {id: f"{QUANTITIES[id].name} {QUANTITIES[id].arrow}" for id in ("bpd", "is", "fid")}

# Set before any run. Numbers: bits per dimension for "bpd", percent of the paper's number for "is" and "fid".
TOLERANCES = {"bpd": 0.05, "is": 5.0, "fid": 10.0}
CLOSE = 2.0  # "close" is within this many tolerances


@dataclass(frozen=True)
class PaperNumber:
    """One cell of a table: `text` as printed, "" for an empty cell, "—" for a dash; `mark` refers to the footnote."""

    row: str
    data: str
    metric: str
    text: str
    mark: str = ""

    @property
    def value(self) -> float | None:
        """The number; None for a cell without one."""
        return None if self.text in ("", "—") else float(self.text)


@dataclass(frozen=True)
class Row:
    """One line of a table: its id on the command line, its label on the slide, its numbers in column order, and the
    columns that the slide ticks."""

    id: str
    label: str
    numbers: tuple[PaperNumber, ...]
    ticks: tuple[str, ...] = ()
    citation: str = ""
    footnotes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Table:
    """One table: ticks first, then bpd, is, fid for each data set in turn."""

    id: str
    title: str
    data: tuple[str, ...]
    rows: tuple[Row, ...]
    footnotes: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    """Rows of another table that are shown in this one's pictures."""

    @property
    def name(self) -> str:
        """ "Table 1"."""
        return f"Table {self.id.removeprefix('table')}"

    @property
    def all_rows(self) -> tuple[Row, ...]:
        """Its own rows and those of `beside`."""
        return (*self.rows, *(ROWS[row] for row in self.beside))

    @property
    def new_rows(self) -> list[str]:
        """The ids of the rows that no earlier table has."""
        return [row.id for row in self.rows if canonical(row.id) == row.id]


@dataclass(frozen=True)
class PaperDataset:
    """A data set of the paper: its label, (C, H, W), and the images in each split (None if its authors do not fix
    them)."""

    label: str
    shape: tuple[int, int, int]
    n_test: int | None = None
    n_train: int | None = None


FOOTNOTES = {
    "frozen-gan": "Obtained using VAE with frozen GAN decoder",
    "starred": "Obtained as in Table 1, using a VAE around the frozen generator; the slide leaves these cells empty.",
    "sngan-hinge-stl10": (
        "On STL-10 the slides give SNGAN-Hinge an IS of 8.7 and a FID of 47.5. Table 2 of the cited paper has 8.69 and "
        "47.5 for twice the updates with the cross-entropy loss, and 8.79 and 43.2 for as many with the hinge loss, so "
        "the label looks inaccurate."
    ),
    "batchgan-m": (
        "BatchGAN is taken to be BGAN, which predicts the share of real images once per batch. From memory, not "
        "checked: the cited paper has 7.05 and 36.5 for BGAN, and 7.5 and 23.7 for M-BGAN, which predicts that share "
        "once per image; the extra row M-BatchGAN is M-BGAN."
    ),
    "improved-gan-labels": (
        "Improved Training GAN uses class labels (it is semi-supervised), so it is not an unconditional model."
    ),
    "iaf-samples": (
        "The README of its authors' code says that VAE-IAF's 3.11 is computed with 10,000 importance samples; with one "
        "sample, as for BPD here, the bound is 3.15."
    ),
    "eq4-sign": "The slides' Eq. (4) lacks a minus sign before the sum; what is computed is −(1/n) Σ ln p(x_i).",
    "seven-data-sets": (
        "The slides speak of seven data sets and name five; LSUN tower and church are inferred, not stated."
    ),
}
"""Id -> footnote. The first is the slides' own, the others are remarks of this project."""

DATA_SETS = {
    "cifar10": PaperDataset("CIFAR-10", (3, 32, 32), 10_000, 50_000),
    "stl10": PaperDataset("STL-10", (3, 48, 48), 8_000),
    "celeba": PaperDataset("CelebA", (3, 64, 64)),
    "imagenet64": PaperDataset("ImageNet", (3, 64, 64), 50_000, 1_281_167),
    "lsun-bedroom": PaperDataset("LSUN-bedrooms", (3, 64, 64)),
    "lsun-tower": PaperDataset("LSUN-tower", (3, 64, 64)),
    "lsun-church": PaperDataset("LSUN-church", (3, 64, 64)),
}

# Rows that are the same model share one run: alias -> the id in its records.
SAME_MODEL = {
    "table2/gan": "table1/gan",
    "table2/cqf": "table1/cq-f",
    "table3/cqf-large-d": "table2/cqf-iaf-residual-large-d",
}


def _row(id: str, label: str, numbers: str, ticks: str = "", citation: str = "", footnotes: str = "") -> Row:
    """A row from its cells as printed, separated by "|"; a word after a number is its footnote mark."""
    cells = []
    for index, cell in enumerate(numbers.split("|")):
        text, _, mark = cell.strip().partition(" ")
        data = ("cifar10", "stl10")[index // 3]
        cells.append(PaperNumber(id, data, tuple(METRICS)[index % 3], text, mark))
    return Row(id, label, tuple(cells), tuple(ticks.split()), citation, tuple(footnotes.split()))


TABLE1 = Table(
    "table1",
    "Impact of training objectives and NVP decoder",
    ("cifar10",),
    (
        _row("table1/vae", "VAE", "4.4 | 2.0 | 171.0", "L_C"),
        _row("table1/vae-f", "VAE-F", "3.5 | 3.0 | 112.0", "L_C NVP"),
        _row("table1/cq", "CQ", "4.4 | 5.1 | 58.6", "L_Q L_C"),
        _row("table1/cq-f", "CQ-F", "3.9 | 7.1 | 28.0", "L_Q L_C NVP"),
        _row("table1/gan", "GAN", "7.0 * | 6.8 | 31.4", "L_Q"),
    ),
    ("frozen-gan",),
)

# The slides write CQF for CQ-F in Tables 2 and 3.
TABLE2 = Table(
    "table2",
    "Evaluation of more advanced architectures",
    ("cifar10",),
    (
        _row("table2/gan", "GAN", "7.0 (*) | 6.8 | 31.4"),
        _row("table2/gan-residual", "GAN", "— | 7.4 | 24.0", "Residual"),
        _row("table2/cqf", "CQ-F", "3.90 | 7.1 | 28.0"),
        _row("table2/cqf-residual", "CQ-F", "3.84 | 7.5 | 26.0", "Residual"),
        _row("table2/cqf-iaf-residual", "CQ-F", "3.77 | 7.9 | 20.1", "IAF Residual"),
        _row("table2/cqf-iaf-residual-large-d", "CQ-F (large Discr.)", "3.74 | 8.1 | 18.6", "IAF Residual"),
    ),
    ("frozen-gan",),
    ("table3/cqf-2-scales",),
)

_MIYATO = "Miyato et al., 2018"
TABLE3 = Table(
    "table3",
    "Comparison to the state of the art",
    ("cifar10", "stl10"),
    (
        _row("table3/dcgan", "DCGAN", "| 6.6 | | | |", "", "Radford et al., 2016"),
        _row("table3/sngan", "SNGAN", "| 7.4 | 29.3 | | 8.3 | 53.1", "", _MIYATO),
        _row("table3/sngan-hinge", "SNGAN-Hinge", "| | | | 8.7 | 47.5", "", _MIYATO, "sngan-hinge-stl10"),
        _row("table3/batchgan", "BatchGAN", "| 7.5 | 23.7 | | 8.7 | 51", "", "Lucas et al., 2018",
             "batchgan-m"),
        _row("table3/wgan-gp", "WGAN-GP", "| 7.9 | | | |", "", "Gulrajani et al., 2017a"),
        _row("table3/improved-gan", "Improved Training GAN", "| 8.1 | | | |", "", "Salimans et al., 2016",
             "improved-gan-labels"),
        _row("table3/sngan-resnet-hinge", "SNGAN-ResNet-Hinge", "| 8.2 | 21.7 | | 9.1 | 40.1", "", _MIYATO),
        _row("table3/prog-gan", "Prog-GAN", "| 8.8 | | | |", "", "Karras et al., 2018"),
        _row("table3/nvp", "NVP", "3.49 | | | | |", "", "Dinh et al., 2017"),
        _row("table3/vae-iaf", "VAE-IAF", "3.11 | | | | |", "", "Kingma et al., 2016b", "iaf-samples"),
        _row("table3/pixelrnn", "PixelRNN", "3.00 | | | | |", "", "van den Oord et al., 2016"),
        _row("table3/pixelcnnpp", "PixelCNN++", "2.92 | | | | |", "", "Salimans et al., 2017"),
        _row("table3/cqf-large-d", "CQ-F [+Residual, +flow, +large D] (Ours)",
             "3.74 | 8.1 | 18.6 | 4.00 | 8.6 | 52.7"),
        _row("table3/cqf-2-scales", "CQ-F [+Residual, +flow, +2 scales] (Ours)",
             "3.48 | 6.9 | 28.9 | 3.82 | 8.6 | 52.1"),
    ),
    ("starred",),
)  # fmt: skip

TABLES = (TABLE1, TABLE2, TABLE3)
ROWS = {row.id: row for table in TABLES for row in table.rows}


def canonical(row: str) -> str:
    """The id in the records of a row: "table1/cq-f" for "table2/cqf"; most rows have their own."""
    return SAME_MODEL.get(row, row)


def row_ids(table: str) -> list[str]:
    """The ids of the rows in the pictures of "table1", "table2" or "table3"."""
    return [row.id for item in TABLES if item.id == table for row in item.all_rows]


def number(row: str, data: str, metric: str) -> PaperNumber | None:
    """The cell of a row of `ROWS`; None if its table has no such column."""
    cells = (cell for cell in ROWS[row].numbers if (cell.data, cell.metric) == (data, metric))
    return next(cells, None)


def published_effect(claim: Claim) -> float | None:
    """The claim's effect in `claim.unit` by the printed numbers; None if the slides do not print both."""
    cells = [number(row, claim.data, claim.metric) for row in (claim.row_a, claim.row_b) if row in ROWS]
    values = [cell.value for cell in cells if cell is not None and cell.value is not None]
    return claim.effect(*values) if len(values) == 2 else None
