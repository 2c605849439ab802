"""Lesson 02, pictures of densities of the plane, given by their logs on the lattice."""

from collections.abc import Mapping, Sequence

from IPython.display import HTML
from matplotlib.colors import PowerNorm
from torch import Tensor

from cqlib.lessons.coverage_and_quality.distances import CELLS, SIDE, Lattice
from cqlib.report.cells import picture, subplots


def density_board(
    lattice: Lattice, rows: Sequence[tuple[str, Mapping[str, Tensor]]], width: float, height: float, alt: str
) -> HTML:
    """Densities in colour, by their square roots, to make thin mass visible, with the outline of the data's support.
    What is denser than the data anywhere has the last colour. `rows` are (label of the row, title -> log-density
    (CELLS^2,))."""
    extent, outline = (-SIDE, SIDE, -SIDE, SIDE), lattice.support.view(CELLS, CELLS).double()
    look = {"norm": PowerNorm(0.5, vmin=0, vmax=float(lattice.log_p.max().exp())), "interpolation": "none"}
    columns = len(rows[0][1])
    with subplots(width, height, len(rows), columns, sharex=True, sharey=True, squeeze=False) as (figure, axes):
        for line, (label, densities) in zip(axes, rows, strict=True):
            for ax, (title, log_q) in zip(line, densities.items(), strict=True):
                image = ax.imshow(log_q.exp().view(CELLS, CELLS), origin="lower", extent=extent, **look)
                ax.contour(outline, [0.5], extent=extent, colors="#ffffff", linewidths=0.5)
                ax.set_title(title, fontsize=8)
                ax.set(aspect="equal", xticks=[-1, 0, 1], yticks=[-1, 0, 1])
                ax.grid(False)
            line[0].set_ylabel(label)
        figure.colorbar(image, ax=list(axes.flat), label="density", shrink=0.6, extend="max")
    return picture(figure, alt)


def single_density(lattice: Lattice, title: str, log_q: Tensor) -> HTML:
    """A picture of one density, from its log (CELLS^2,)."""
    return density_board(lattice, [("", {title: log_q})], 4.2, 3.6, f"A density of the plane: {title}")
