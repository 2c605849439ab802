"""The page's picture of held-out images and, below each, the nearest image that each published model of Table 1 can
draw: python tools/nearest.py, about a minute. `figure_samples` shows the same.
"""

import argparse

from matplotlib.text import Text

from cqlib.suite.experiments.rows import DEVELOPMENT_DATA
from cqlib.suite.experiments.selection import Selection
from cqlib.suite.figures import nearest
from cqlib.suite.figures.common import trained_models
from cqlib.suite.figures.strips import strips
from cqlib.util.paths import PUBLISHED

IMAGES, DPI = 8, 144
INK = "#79818c"
"""Colour of the labels: read on a light page and on a dark one."""
TARGET = PUBLISHED / "nearest" / f"{DEVELOPMENT_DATA}-quick.webp"


def main() -> None:
    """Search, draw, write."""
    argparse.ArgumentParser(description=__doc__).parse_args()  # there are no options
    nowhere = PUBLISHED / "no-runs"  # the published weights alone
    models = trained_models(Selection(nearest.ROWS, runs_dir=nowhere))
    x = next(iter(models.values())).data.test.images[:IMAGES]
    figure = strips({nearest.REAL: x, **nearest.found_by(models, x, nowhere)})
    for text in figure.findobj(Text):
        text.set_color(INK)
    TARGET.parent.mkdir(exist_ok=True)
    figure.savefig(TARGET, dpi=DPI, transparent=True, pil_kwargs={"lossless": True, "method": 6})
    print(TARGET)


if __name__ == "__main__":
    main()
