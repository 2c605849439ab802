"""One step of a row under `smoke`, from fixed weights, images and noise."""

from contextlib import nullcontext
from dataclasses import replace

import torch

from cqlib.models.registry import build
from cqlib.suite.experiments.experiment import experiment
from cqlib.training.device import to_device

CPU = torch.device("cpu")


def losses_and_gradients(row, *, channels_last=False, bf16=False):
    """[(losses, gradient)] of the generator and of the critic, where there is one; the same weights, images and noise
    for every way."""
    recipe = experiment(row, "smoke").recipe
    torch.manual_seed(1)
    system = to_device(build(recipe.system), replace(recipe.training, channels_last=channels_last), CPU).train()
    system.schedule(recipe.training.steps // 2, recipe.training.steps)
    with torch.no_grad():
        for p in system.parameters():  # at the start some ReLUs stand at exactly 0, where rounding decides
            p.add_(0.01 * torch.randn(p.shape))
    x = torch.randint(256, (8, *system.shape), dtype=torch.uint8)
    labels = {"labels": torch.arange(8) % 4} if system.uses_labels else {}
    found = []
    for critic, parameters in ((False, system.generator_parameters()), (True, system.critic_parameters())):
        if not parameters:
            continue
        torch.manual_seed(2)
        with torch.autocast("cpu", torch.bfloat16) if bf16 else nullcontext():
            of = system.critic_losses(x, step=0, **labels) if critic else system.generator_losses(x, **labels)
        gradients = torch.autograd.grad(of["total"], parameters, allow_unused=True)
        named = {name: value.item() for name, value in of.items()}
        found.append((named, torch.cat([g.flatten() for g in gradients if g is not None])))
    return found
