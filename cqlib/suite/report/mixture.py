"""A model that nobody trained: with probability 99 % a sample of the GAN, else one of VAE-F.

Its likelihood is nearly that of VAE-F, its samples are nearly the GAN's (Theis et al. 2016, arXiv 1511.01844, section
3.2): few bits do not show that a model's samples cover the data. What it scores follows from the records of the two.
"""

import math
from collections.abc import Sequence

from cqlib.suite.experiments.trade_off import CQ_F, GAN, WITHOUT_L_Q
from cqlib.suite.report.run_sets import RunSet
from cqlib.suite.report.values import Cell

COVERS, SHARE = WITHOUT_L_Q[CQ_F], 0.01
"""The row with few bits, and its share of the samples; the others are the GAN's."""
LABEL = "99\u00a0% GAN + 1\u00a0%\u00a0VAE-F"
MEANING = (
    "The row “99 % GAN + 1 % VAE-F” is computed, not trained: a mixture that draws from the GAN with probability 99 %, "
    "else from VAE-F. Since p ≥ 0.01 p(VAE-F), it needs at most log2(100) bits per image more than VAE-F, yet nearly "
    "all its samples are the GAN’s. A low BPD alone therefore does not show that samples cover the data (Theis et al. "
    "2016, arXiv 1511.01844, section 3.2); coverage does show it, since the mixture’s is about the GAN’s."
)


def most_bits(bpd: float, dimensions: int, share: float = SHARE) -> float:
    """An upper bound on the bits per dimension of a mixture in which a model that needs `bpd` of them, or fewer, has
    this share: bpd + log2(1 / share) / dimensions."""
    return bpd - math.log2(share) / dimensions


def cells(runs: RunSet, names: Sequence[str]) -> tuple[Cell, ...] | None:
    """The mixture's cells in the columns `names`, BPD first, and for the number of seeds; None without both models."""
    bpd = runs.mean(COVERS, "BPD")
    if bpd is None or not runs.done(GAN):
        return None
    most = most_bits(bpd.value, math.prod(runs.done(COVERS)[0].data.shape[-3:]))
    scores = (runs.cell(GAN, name) for name in names[1:])
    about = (Cell(cell.text if cell.text == "—" else f"≈\u00a0{cell.text}", source=cell.source) for cell in scores)
    return (Cell(f"≤\u00a0{math.ceil(100 * most) / 100:.2f}", source=bpd.source), *about, Cell(""))
