"""Sliders that need no kernel: every picture is drawn beforehand, and the page shows the one that is chosen."""

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from IPython.display import HTML
from markupsafe import Markup
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from cqlib.data.grids import webp
from cqlib.suite.report import page, plots

COLOURS = 256
"""Of a picture: half as large a file as with all of them."""
STILLS = 4
"""So many pictures along the first slider are shown where no script runs."""


def frames(
    draw: Callable[..., Figure], values: Mapping[str, Sequence[Any]], alt: str, start: Sequence[Any] = ()
) -> HTML:
    """A slider for each name in `values`, and below them the figure that `draw` returns for the values chosen, in that
    order. They begin at `start`, by default at the first values; `alt` describes all figures in words. ValueError where
    `start` is not among the values."""
    names, (along, *others) = [*values], values.values()
    begin = tuple(start) or tuple(some[0] for some in values.values())
    stills = {along[k * (len(along) - 1) // (STILLS - 1)] for k in range(STILLS)}
    sliders = [{"name": name, "last": len(some) - 1, "at": [*some].index(value)}
               for (name, some), value in zip(values.items(), begin, strict=True)]  # fmt: skip
    drawn = []
    for chosen in product(along, *others):
        words = ", ".join(f"{name} = {_text(value)}" for name, value in zip(names, chosen, strict=True))
        figure = draw(*chosen)
        still = chosen[0] in stills and chosen[1:] == begin[1:]
        drawn.append({"words": words, "shown": chosen == begin, "still": still, **_picture(figure, f"{alt}: {words}")})
        plt.close(figure)  # else the cell shows it, too
    return HTML(page.macro("frames", sliders, drawn))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else f"{value:,g}"


def _picture(figure: Figure, alt: str) -> dict[str, Any]:
    """For the macro `image`."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    few = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB").quantize(COLOURS).convert("RGB")
    source = Markup(plots.data_uri(webp(np.asarray(few)), "image/webp"))
    return {"src": source, "alt": alt, "width": few.width, "height": few.height}
