"""A step of every row and its samples are what they were when the published records were made: what moves them asks for
new records. `python tests/training/test_pinned.py` pins rows that are new, and with names of rows those anew."""

import json
import sys
from pathlib import Path

import pytest
import torch

from cqlib.models.registry import build
from cqlib.suite.experiments import paper
from cqlib.suite.experiments.experiment import experiment
from cqlib.suite.experiments.rows import ROWS

sys.path.append(str(Path(__file__).parents[1] / "helpers"))
from one_step import losses_and_gradients

FILE = Path(__file__).with_name("pinned.json")
CANONICAL = [row for row in ROWS if paper.canonical(row) == row]


def numbers(row: str) -> dict[str, float]:
    """Losses and length of the gradient of generator and critic; mean and deviation of samples at both
    temperatures."""
    found = {}
    for who, (losses, gradient) in zip(("generator", "critic"), losses_and_gradients(row), strict=False):
        found |= {f"{who}'s {name}": value for name, value in losses.items()}
        found[f"{who}'s gradient"] = float(gradient.norm())
    torch.manual_seed(3)
    system = build(experiment(row, "smoke").recipe.system).eval()
    with torch.no_grad():
        for p in system.parameters():  # some rows draw grey images at the start
            p.add_(0.05 * torch.randn(p.shape))
        for t in (0.0, 1.0):
            images = system.sample(2, temperature=t, generator=torch.Generator().manual_seed(4))
            found |= {f"mean at T = {t:g}": float(images.mean()), f"deviation at T = {t:g}": float(images.std())}
    return found


@pytest.mark.parametrize("row", CANONICAL)
def test_a_step_and_samples_are_what_they_were(row):
    assert numbers(row) == pytest.approx(json.loads(FILE.read_text())[row], rel=1e-3, abs=1e-4)


if __name__ == "__main__":
    pinned = json.loads(FILE.read_text())
    for row in {*CANONICAL} - pinned.keys() | {*sys.argv[1:]}:
        pinned[row] = {name: float(f"{value:.6g}") for name, value in numbers(row).items()}
    FILE.write_text(json.dumps({row: pinned[row] for row in CANONICAL}, indent=1) + "\n")
