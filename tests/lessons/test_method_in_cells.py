"""What lessons write out in their cells agrees with the package."""

import math
from typing import NamedTuple

import pytest
import torch
from lesson_cells import run_cells
from notebook_cells import cells
from small_models import shaken

from cqlib import data as data_sets
from cqlib.lessons import models, toy2d
from cqlib.lessons.coverage_and_quality.distances import Lattice
from cqlib.lessons.factorised_decoders import linear_decoder, residuals


class Check(NamedTuple):
    """The cells that lead to a table, the columns of that table which hold differences, and the largest that may be
    there."""

    lesson: str
    cells: tuple[str, ...]
    columns: slice
    limit: float


LAST = slice(-1, None)
LINE = ("def kl(", "Two ways to the same divergence")
PLANE = ("class Linears", "class PlaneModels")
GAUSSIANS = ("class Factorised",)
LAYERS = ("def split_checkerboard", "class Coupling(")
CHECKS = {
    "01 divergences": Check("01", LINE, LAST, 1e-6),
    "01 forward fit": Check("01", (*LINE, "def descend("), LAST, 1e-6),
    "01 minima": Check("01", (*LINE, "def descend(", "least curvature"), slice(3, 5), 1e-6),
    "02 losses": Check("02", ("def quality_loss(",), LAST, 1e-6),
    "02 likelihood": Check("02", (*PLANE, "The likelihood of a model"), LAST, 2e-3),
    "03 both Gaussians": Check("03", (*GAUSSIANS, "Eq. (5) on the first test image"), LAST, 1e-8),
    "03 cost of independence": Check("03", (*GAUSSIANS, "def cost("), slice(4, 5), 1e-9),
    "03 linear decoder": Check("03", (*GAUSSIANS, "cut @ S @ cut.T"), slice(3, 5), 2e-5),
    "04 masks": Check("04", ("def split_checkerboard", "Values that differ"), LAST, 0),
    "04 layer": Check("04", (*LAYERS, "The layer above and the package's"), LAST, 1e-12),
    "04 flows": Check(
        "04", (*LAYERS, "class Flow(", "class TwoScales(", "The flows above and the package's"), slice(2, None), 1e-10
    ),
    "05 equations": Check("05", ("class Decoder", "def elbo(", "y, drawn =", "The first test image"), LAST, 5e-3),
}


@pytest.fixture(scope="module")
def names():
    """Lesson -> what its cells find there: the parameters, and what is made by cells that are not run here."""
    images = data_sets.load("photos10", size=16).first(900, 60)
    moments = linear_decoder.training_moments(images)
    decoders = {"linear": linear_decoder.fit(moments, 16)}
    model = models.untrained_model("table1/cq-f", images).model
    shaken(model.flow, 0.15, seed=0)  # away from the identity
    return {
        "01": {"profile": "smoke", "changes": {}},
        "02": {"profile": "smoke", "seeds": [4], "first": "eight-gaussians", "lattice": Lattice(toy2d.density()),
               "train": untrained},
        "03": {"images": images, "moments": moments, "codes": 16, "linear": "linear", "decoders": decoders,
               "seen": residuals.reconstructions(decoders, images)},
        "04": {"images": images},
        "05": {"images": images, "model": model},
    }  # fmt: skip


def untrained(data, steps: int, seeds: list[int], **weights):
    """Models of lesson 02 as they are before the first step."""
    models = run_cells("02", PLANE)["PlaneModels"]([torch.Generator().manual_seed(seed) for seed in seeds])
    return models.double().requires_grad_(False)


@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS)
def test_the_cells_agree_with_the_package(check, names):
    lines = cells(run_cells(check.lesson, check.cells, **names[check.lesson])["_"])
    differences = [float(text) for line in lines for text in line[check.columns] if text]
    assert differences and not any(map(math.isnan, differences)) and max(differences) <= check.limit
