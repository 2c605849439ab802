"""The estimate of GPU-hours: what kernels are given, what a step adds up, and that no recipe has changed since."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from cqlib import gpu_hours
from cqlib.experiments import build, experiment
from cqlib.gpu_hours import Card, Roofline, hours, step_seconds


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


def test_what_is_stored_is_of_todays_recipes():
    found = gpu_hours.stored()
    runs = sum(gpu_hours.parts().values(), [])
    assert {e.training_hash for e in runs} == set(found), "run: python -m cqlib.gpu_hours"
    assert hours(experiment("table1/vae", "paper")) == pytest.approx(
        found[experiment("table1/vae", "paper").training_hash], rel=1e-2
    )
