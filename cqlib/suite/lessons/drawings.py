"""The drawings of the model and of a coupling layer, docs/pictures/*.svg, as a cell shows them."""

import re
from html import escape

from IPython.display import HTML

from cqlib.suite.report.plots import data_uri
from cqlib.util.paths import ROOT


def drawing(name: str) -> HTML:
    """A drawing by the name of its file, inside the notebook, so that it needs no other file once it is shown. Its text
    for screen readers is the title and the description in the file."""
    svg = (ROOT / "docs" / "pictures" / f"{name}.svg").read_text(encoding="utf-8")
    words = [re.findall(rf"<{part}\b.*?>(.*?)</{part}>", svg, re.DOTALL)[0] for part in ("title", "desc")]
    alt = " ".join(". ".join(words).split())
    return HTML(f'<img alt="{escape(alt)}" src="{data_uri(svg.encode(), "image/svg+xml")}">')
