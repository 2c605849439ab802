"""What a notebook cell shows: a picture in the colours of its page, and whether widgets can live there."""

from __future__ import annotations

import os

from IPython import get_ipython
from IPython.display import HTML
from matplotlib.figure import Figure

from cqlib.report import page as report
from cqlib.report import plots


def picture(figure: Figure, alt: str) -> HTML:
    """A figure in the colours of the page; `alt` says in words what is to be seen."""
    return HTML(report.scoped(plots.to_svg(figure, alt)))


def live() -> bool:
    """Is this kernel behind a page that shows widgets? Jupyter's server and VS Code leave their mark on one."""
    shell = get_ipython()
    return shell is not None and ("JPY_SESSION_NAME" in os.environ or "__vsc_ipynb_file__" in shell.user_ns)
