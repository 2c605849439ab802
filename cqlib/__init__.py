"""A companion to "Coverage and Quality Driven Training of Generative Image Models" (arXiv 1901.01091).

    import cqlib
    model = cqlib.load("table1/cq-f", profile="quick", data="photos10", seed=0)
    images = model.sample(64)

Importing the package costs nothing: what needs torch is loaded when it is first used.
"""

from importlib import import_module
from typing import Any

from cqlib.util import VERSION as __version__

__all__ = ["__version__", "load", "run"]


def __getattr__(name: str) -> Any:
    if name in ("load", "run"):
        return getattr(import_module(f"cqlib.experiments.{name}"), name)
    raise AttributeError(f"module 'cqlib' has no attribute '{name}'")
