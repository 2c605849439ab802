"""VAE, VAE-F, CQ, CQ-F and GAN: a companion to "Coverage and Quality Driven Training of Generative Image Models"
(arXiv 1901.01091), published as "Adaptive Density Estimation for Generative Models" (NeurIPS 2019).

    import cqlib
    model = cqlib.load("table1/cq-f", profile="quick", data="photodigits", seed=0)   # published weights, or a run
    model = cqlib.CQF(size=28, channels=1).fit(images, steps=4000)                   # images of your own
    cqlib.save_grid(model.sample(64), "samples.png")

Importing the package costs nothing: what needs torch is loaded when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from cqlib.util import VERSION as __version__

if TYPE_CHECKING:
    from cqlib.suite.experiments.library import CQ, CQF, GAN, VAE, VAEF
    from cqlib.suite.experiments.load import load
    from cqlib.suite.experiments.measures import bits_per_dimension, save_grid, scores
    from cqlib.suite.experiments.run import run

__all__ = ["CQ", "CQF", "GAN", "VAE", "VAEF", "__version__", "bits_per_dimension", "load", "run", "save_grid", "scores"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'cqlib' has no attribute '{name}'")
    measures = dict.fromkeys(("bits_per_dimension", "save_grid", "scores"), "measures")
    home = {"load": "load", "run": "run", **measures}.get(name, "library")
    return getattr(import_module(f"cqlib.suite.experiments.{home}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
