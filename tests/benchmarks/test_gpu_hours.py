"""The estimate of GPU-hours: what kernels are given, what a step adds up, and that no recipe has changed since."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from benchmarks import gpu_hours
from benchmarks.gpu_hours import Card, Roofline, hours, step_seconds
from cqlib.experiments.experiment import experiment
from cqlib.models.registry import build


def test_a_kernel_takes_the_longest_of_launch_arithmetic_and_traffic():
    a, b = torch.ones(8, 16), torch.ones(16, 4)
    flops, moved = 2 * 8 * 16 * 4, 4 * (8 * 16 + 16 * 4 + 8 * 4)
    for card, seconds in (
        (Card("slow to launch", 1e30, 1e30, 0.5), 0.5),
        (Card("slow to compute", 2.0, 1e30, 1e-9), flops / 2),
        (Card("slow to move", 1e30, 4.0, 1e-9), moved / 4),
    ):
        with Roofline(card) as roofline:
            a @ b
        assert roofline.seconds == pytest.approx(seconds)
    with Roofline(Card("slow to launch", 1e30, 1e30, 0.5), scale=10) as roofline:
        a.view(-1), a @ b, a @ b  # a view is no kernel; more images do not make more of them
    assert roofline.seconds == pytest.approx(1.0)


@pytest.mark.parametrize("row", ["table1/cq-f", "table3/wgan-gp"])
def test_without_content_a_step_costs_what_it_does_on_images(row):
    """Fake tensors at the real batch size, against real ones at a small batch, scaled; launches cost nothing here."""
    recipe, card = experiment(row, "smoke").recipe, Card("any", 1e9, 1e30, 0.0)
    make = lambda: build(recipe.system)  # noqa: E731
    whole, scaled = (gpu_hours._step(make, recipe.training, card, small=small) for small in (False, True))
    assert whole == pytest.approx(scaled, rel=0.05) and whole > 0


def test_a_step_that_depends_on_images_is_taken_on_some():
    recipe = experiment("table3/batchgan", "smoke").recipe
    assert step_seconds(lambda: build(recipe.system), recipe.training) > 0


def test_every_stage_is_counted(monkeypatch):
    monkeypatch.setattr(gpu_hours, "step_seconds", lambda make, config, card: 3600 * (make() is not None))
    recipe = experiment("table1/gan", "smoke").recipe
    assert hours(experiment("table1/gan", "smoke")) == recipe.training.steps + recipe.frozen_decoder.training.steps


def test_hours_on_another_idea_of_the_card_are_not_taken_for_todays(monkeypatch):
    monkeypatch.setattr(gpu_hours, "A100", replace(gpu_hours.A100, flops=2 * gpu_hours.A100.flops))
    assert gpu_hours.stored() == {}


def test_an_estimate_that_is_broken_off_keeps_the_others(monkeypatch, tmp_path):
    """The second run is unknown, the third stays; what a first pass had written is still there."""
    runs = [experiment(row, "paper") for row in ("table1/vae", "table1/cq", "table1/gan")]
    monkeypatch.setattr(gpu_hours, "parts", lambda: {"Table 1": runs})
    monkeypatch.setattr(gpu_hours, "stored", lambda: {runs[0].training_hash: 3.0, runs[2].training_hash: 5.0})
    monkeypatch.setattr(gpu_hours, "hours", lambda e: pytest.fail("estimated again"))
    path = tmp_path / "hours.json"
    path.touch()
    with pytest.raises(pytest.fail.Exception):
        gpu_hours.main(path)
    assert [run["hours"] for run in json.loads(path.read_text())["runs"]] == [3.0, 5.0]


def test_what_is_stored_is_of_todays_recipes():
    found = gpu_hours.stored()
    runs = sum(gpu_hours.parts().values(), [])
    assert {e.training_hash for e in runs} == set(found), "run: python -m benchmarks.gpu_hours"
    assert hours(experiment("table1/vae", "paper")) == pytest.approx(
        found[experiment("table1/vae", "paper").training_hash], rel=1e-2
    )
