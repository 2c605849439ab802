"""The models that lesson 02 shows beside those it trains: `python tools/plane_models.py`, ten minutes of a core.

Runs the cells of the lesson that are tagged `stored` and writes cqlib/suite/lessons/plane_models.json. Each model is
given by its Gaussians, one (mean, mean, sigma, sigma) in a line:

- frontier: weight lambda -> the density of the least KL(p || q) + lambda KL(q || p) that was found;
- trained: training -> the ends of seeds 0 to 9.
"""

import json
import runpy
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
import torch

ROOT = Path(__file__).resolve().parent.parent
LESSON = ROOT / "notebooks" / "solutions" / "02_coverage_and_quality.ipynb"
FILE = ROOT / "cqlib" / "suite" / "lessons" / "plane_models.json"
STARTS, SEEDS, STEPS = 30, 10, 600
"""Random starts of the search for the frontier; seeds and steps of each training."""
OTHERS: dict[str, tuple[float, float, int]] = {
    "CQ, critic × 10": (1.0, 10.0, 10),
    "GAN, critic × 10": (0.0, 1.0, 10),
    "CQ, λ = 1": (1.0, 1.0, 1),
    "CQ, λ = 3": (1.0, 3.0, 1),
    "CQ, λ = 30": (1.0, 30.0, 1),
}
"""Trainings beside the lesson's own -> the weights of L_C and of L_Q, and updates of the critic in each step."""


def lesson() -> dict[str, Any]:
    """All names after the lesson's parameters and its cells tagged `stored`."""
    cells = nbformat.read(LESSON, 4).cells
    code = [cell.source for cell in cells if {"parameters", "stored"} & set(cell.metadata.get("tags", []))]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "lesson.py")
        file.write_text("\n\n\n".join(code), encoding="utf-8")
        return runpy.run_path(str(file))


def rounded(gaussians: torch.Tensor) -> list[list[float]]:
    """Gaussians (6, 4), in the file's digits."""
    return [[round(value, 5) for value in line] for line in gaussians.tolist()]


def search(names: dict[str, Any]) -> dict[str, list[list[float]]]:
    """Weight -> the best minimum of all starts."""
    generator = torch.Generator().manual_seed(0)
    best: dict[float, tuple[float, torch.Tensor]] = {}
    for _ in range(STARTS):
        for weight, gaussians in names["along"](names["weights"], names["random_start"](generator)):
            forward, reverse = names["divergences"](gaussians)
            value = float(forward + weight * reverse)
            if weight not in best or value < best[weight][0]:
                best[weight] = value, gaussians
    return {f"{weight:g}": rounded(best[weight][1]) for weight in sorted(best)}


def trained(names: dict[str, Any]) -> dict[str, list[list[list[float]]]]:
    """Training -> the Gaussians of each seed's end."""
    ways = {label: (*weights, 1) for label, weights in names["objectives"].items()} | OTHERS
    ends: dict[str, list[list[list[float]]]] = {}
    for label, (coverage, quality, critic_steps) in ways.items():
        for seed in range(SEEDS):
            model, _ = names["train"](coverage, quality, seed, STEPS, critic_steps=critic_steps)
            ends.setdefault(label, []).append(rounded(model.gaussians().detach()))
        print(label, flush=True)
    return ends


def main(file: Path = FILE) -> None:
    """Search, train and write `file`."""
    torch.set_num_threads(1)
    names = lesson()
    models = {"trained": trained(names), "frontier": search(names)}
    file.write_text(json.dumps(models, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
