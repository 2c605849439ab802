"""What lessons write out in their cells agrees with the package; and their own tables show it if it does not."""

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
    """The cells that lead to a table, the columns of that table which hold differences, the largest that may be there,
    and texts of the cells with what would be wrong in their place."""

    lesson: str
    cells: tuple[str, ...]
    columns: slice
    limit: float
    mistakes: tuple[tuple[str, str], ...]


LINE = ("def kl(", "Two ways to the same divergence")
PLANE = ("class Linears", "class PlaneModels")
GAUSSIANS = ("class Factorised",)
LAYERS = ("def split_checkerboard", "class Coupling(")
CHECKS = {
    "01 divergences": Check(
        "01",
        LINE,
        slice(-1, None),
        1e-6,
        (
            ("(log_p - log_q), grid", "(log_q - log_p), grid"),
            ("log_p.exp() * (log_p", "log_q.exp() * (log_p"),
            ("- s.log() -", "-"),
            ("math.log(w) + log_normal", "w + log_normal"),
        ),
    ),
    "01 forward fit": Check(
        "01",
        (*LINE, "def descend("),
        slice(-1, None),
        1e-6,
        (
            ("kl(log_p, log_q), m + 3", "kl(log_q, log_p), m + 3"),
            ("math.e * s**2", "s**2"),
            ("(grid - m) ** 2", "grid**2"),
        ),
    ),
    "01 minima": Check(
        "01",
        (*LINE, "def descend(", "least curvature"),
        slice(3, 5),
        1e-6,
        (("kl(log_q, log_p), m, s", "kl(log_p, log_q), m, s"), ("(0, 3), (3, 1)", "(3, 1), (0, 3)")),
    ),
    "02 losses": Check(
        "02",
        ("def quality_loss(",),
        slice(-1, None),
        1e-6,
        (
            ("- logsigmoid(-of_fake).mean()", "- logsigmoid(of_fake).mean()"),
            ("-log_p.mean()", "log_p.mean()"),
            ("logsigmoid(of_fake) - logsigmoid(-of_fake)", "logsigmoid(of_fake)"),
        ),
    ),
    "02 likelihood": Check(
        "02",
        (*PLANE, "The likelihood of a model"),
        slice(-1, None),
        2e-3,
        (
            ("0.5 * mean.square() * precision", "mean.square() * precision"),
            ("+ sigma.log()", "- sigma.log()"),
            ("- math.log(log_p.shape[-1])", ""),
        ),
    ),
    "03 both Gaussians": Check(
        "03",
        (*GAUSSIANS, "Eq. (5) on the first test image"),
        slice(-1, None),
        1e-8,
        (
            ("- self.sigma.log() -", "-"),
            ("- self.root.diagonal().log().sum() -", "-"),
            ("0.5 * x.shape[1]", "x.shape[1]"),
            ("(x - self.mean) / self.sigma", "x / self.sigma"),
        ),
    ),
    "03 cost of independence": Check(
        "03",
        (*GAUSSIANS, "def cost("),
        slice(4, 5),
        1e-9,
        (
            ("- root.diagonal().log().sum()", ""),
            ("(c - 1 - c.log())", "(c - c.log())"),
            ("zero, zero + 1", "zero, zero + 2"),
        ),
    ),
    "03 linear decoder": Check(
        "03",
        (*GAUSSIANS, "cut @ S @ cut.T"),
        slice(3, 5),
        2e-5,
        (
            ("- sigma2).sqrt()", ").sqrt()"),
            ("values[:-codes].mean()", "values.mean()"),
            ("+ W @ (torch.eye", "+ 0 * W @ (torch.eye"),
        ),
    ),
    "04 masks": Check(
        "04",
        ("def split_checkerboard", "Values that differ"),
        slice(-1, None),
        0,
        (
            ("torch.stack([a, d], 2)", "torch.stack([d, a], 2)"),
            ("torch.stack([c, d], -1)", "torch.stack([d, c], -1)"),
            ("permute(0, 1, 3, 5, 2, 4)", "permute(0, 3, 1, 5, 2, 4)"),
            ("permute(0, 1, 4, 2, 5, 3)", "permute(0, 1, 4, 3, 5, 2)"),
        ),
    ),
    "04 layer": Check(
        "04",
        (*LAYERS, "The layer above and the package's"),
        slice(-1, None),
        1e-12,
        (
            ("t + log_s.exp() * x2", "(t + x2) * log_s.exp()"),
            ("log_s.flatten(1).sum(1)", "log_s.exp().flatten(1).sum(1)"),
            ("(y2 - t) * (-log_s).exp()", "y2 * (-log_s).exp() - t"),
        ),
    ),
    "04 flows": Check(
        "04",
        (*LAYERS, "class Flow(", "class TwoScales(", "The flows above and the package's"),
        slice(2, None),
        1e-10,
        (
            ("log_det = log_det + term", "log_det = term"),
            ("reversed([*enumerate(self.couplings)])", "enumerate(self.couplings)"),
            ("of_fine + of_channels + of_coarse", "of_fine + of_coarse"),
            ("self.fine.inverse(self.channels.inverse(x))", "self.channels.inverse(self.fine.inverse(x))"),
        ),
    ),
    "05 equations": Check(
        "05",
        ("class Decoder", "def elbo(", "y, drawn =", "The first test image"),
        slice(-1, None),
        5e-3,
        (
            ("flatten(1).sum(1) + log_det", "flatten(1).sum(1)"),
            ("self.f.inverse(y)", "self.f(y)[0]"),
            ("log_v.exp() - 1 - log_v", "log_v.exp() - log_v"),
            ("softplus(raw - 1.5)", "softplus(raw)"),
            ("log_prob(x, z) - kl", "log_prob(x, z) + kl"),
        ),
    ),
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
        "02": {"profile": "smoke", "seeds": [4], "first": "eight-gaussians", "lattice": Lattice(toy2d.density())},
        "03": {"images": images, "moments": moments, "codes": 16, "linear": "linear", "decoders": decoders,
               "seen": residuals.reconstructions(decoders, images)},
        "04": {"images": images},
        "05": {"images": images, "model": model},
    }  # fmt: skip


def largest(check: Check, names: dict, swap: tuple[str, str] = ("", "")) -> float:
    """The largest difference in the table of a check; infinite where it is not a number any more."""
    if "The likelihood of a model" in check.cells:
        # models as they are before the first step
        names = {**names, "train": lambda data, steps, seeds, **weights: untrained(check, seeds, swap)}
    lines = cells(run_cells(check.lesson, check.cells, swap, **names)["_"])
    differences = [float(text) for line in lines for text in line[check.columns] if text]
    return math.inf if any(map(math.isnan, differences)) else max(differences)


def untrained(check: Check, seeds: list[int], swap: tuple[str, str]):
    shown = run_cells(check.lesson, PLANE, swap if swap[0] else ("", ""))
    return shown["PlaneModels"]([torch.Generator().manual_seed(seed) for seed in seeds]).double().requires_grad_(False)


@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS)
def test_the_cells_agree_with_the_package(check, names):
    assert largest(check, names[check.lesson]) <= check.limit


CASES = {f"{name}: {new}": (check, (old, new)) for name, check in CHECKS.items() for old, new in check.mistakes}


@pytest.mark.parametrize(("check", "swap"), CASES.values(), ids=CASES)
@pytest.mark.slow
def test_a_mistake_in_the_cells_is_seen_in_their_table(check, swap, names):
    assert largest(check, names[check.lesson], swap) > 10 * check.limit
