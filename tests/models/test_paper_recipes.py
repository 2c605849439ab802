"""The recipes of profile `paper` run: for every row, one update of each net in the middle of training at the smallest
batch, then two images are drawn and two are measured. A row that is added later is here by itself."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from small_models import images

from cqlib.metrics import evaluation
from cqlib.metrics.bpd import held_out_nll
from cqlib.models.base import LikelihoodSystem, System
from cqlib.models.frozen_decoder import FrozenDecoder
from cqlib.models.registry import RECIPES, build, parameter_counts
from cqlib.recipe import TrainingConfig
from cqlib.suite.experiments.experiment import image_size
from cqlib.suite.experiments.paper import canonical
from cqlib.suite.experiments.rows import ROWS, default_data
from cqlib.training.loop import Loop

SIZES = list(dict.fromkeys((canonical(row), image_size(data, "paper"))
                           for row in ROWS for data in default_data(row, "paper")))  # fmt: skip
"""(row, image size): a recipe depends on a data set by its size alone."""
PIXEL_BY_PIXEL = ("table3/pixelrnn", "table3/pixelcnnpp", "extra/vae-pixelcnn")
"""Drawing from these takes minutes on a CPU; the tests of their models draw from small nets."""
LARGE = ("table3/prog-gan", "table3/pixelcnnpp", "table3/vae-iaf", "table3/nvp", "table2/cqf-residual")
"""Nets whose step takes seconds."""
AT_16 = ("table3/pixelrnn", "table3/pixelcnnpp", "table3/vae-iaf")
"""Slow nets whose weights are the same at every size: trained at 16 pixels."""


def quick_first(rows) -> list:
    """Every row; marked as slow where it is large, or where a row before it has the same system."""
    seen: set[type] = set()
    marked = []
    for row in rows:
        system = type(RECIPES[row](row, "smoke", 16).system)
        marked.append(pytest.param(row, marks=[pytest.mark.slow] if row in LARGE or system in seen else []))
        seen.add(system)
    return marked


def flat(parameters: list[torch.nn.Parameter]) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in parameters])


def one_step(system: System, training: TrainingConfig, folder) -> System:
    """The averaged system after an update of each net, which has moved it."""
    nets = [parameters for parameters in (system.generator_parameters(), system.critic_parameters()) if parameters]
    before = [flat(parameters) for parameters in nets]
    smallest = replace(training, batch_size=2, generator_batch=None, n_critic=1, n_generator=1)
    labels = torch.tensor([7, -1])
    loop = Loop(system, images(2, system.shape[-1]), labels, smallest, 0, folder, "training", torch.device("cpu"))
    loop.step = training.steps // 2  # a system that grows has grown by then
    losses, finite = loop.one_step()
    assert finite and all(torch.isfinite(loss) for loss in losses.values())
    for old, parameters in zip(before, nets, strict=True):
        new = flat(parameters)
        assert torch.isfinite(new).all() and not torch.equal(old, new)
    return loop.average.module.eval()


PARAMETERS = {
    "table3/dcgan": (3_828_739, 5_862_657),
    "table3/sngan": (3_813_379, 2_935_873),
    "table3/sngan-resnet-hinge": (4_276_739, 1_053_824),
    "table3/improved-gan": (4_933_382, 1_504_404),
    "table3/wgan-gp": (1_204_483, 1_053_825),
    "table3/nvp": (19_609_545, 0),
    "table3/vae-iaf": (41_096_487, 0),
    "table3/pixelrnn": (9_234_176, 0),
    "table3/pixelcnnpp": (53_659_080, 0),
}
"""Row -> parameters of the generative model and of the critic at 32 pixels, as the layers of the references add up to;
VAE-IAF lacks the 461,440 of its code that nothing reads."""


@pytest.mark.parametrize("row", PARAMETERS)
def test_nets_have_the_size_of_the_references(row):
    counts = parameter_counts(RECIPES[row](row, "paper", 32).system)
    assert (counts["total"], counts.get("critic", 0)) == PARAMETERS[row]


@pytest.mark.slow
@pytest.mark.parametrize("row", quick_first(dict(SIZES)))
def test_one_step_and_two_images(row, tmp_path):
    size = 16 if row in AT_16 else min(size for name, size in SIZES if name == row)
    recipe = RECIPES[row](row, "paper", size)
    torch.manual_seed(0)
    model = one_step(build(recipe.system), recipe.training, tmp_path)
    if row not in PIXEL_BY_PIXEL:
        drawn = evaluation.draw_samples(model, 2, temperature=1.0, seed=0)
        assert drawn.shape == (2, 3, size, size) and drawn.dtype == torch.uint8
    measured = model
    if (stage := recipe.frozen_decoder) is not None:
        measured = one_step(FrozenDecoder(stage.config, model), stage.training, tmp_path)
    if isinstance(measured, LikelihoodSystem):
        nats = held_out_nll(measured, images(2, size, seed=1))
        assert nats.shape == (2,) and torch.isfinite(nats).all() and (nats > 0).all()


@pytest.mark.slow
@pytest.mark.parametrize(("row", "size"), [pair for pair in SIZES if pair[1] != dict(reversed(SIZES))[pair[0]]])
def test_other_sizes_are_built_and_drawn_from(row, size):
    model = build(RECIPES[row](row, "paper", size).system).eval()
    assert row in PIXEL_BY_PIXEL or model.sample(2).shape == (2, 3, size, size)
