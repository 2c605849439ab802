"""A step reads nothing from the device, so that on a GPU the host runs ahead of it: no `.item()`, no `float`, `bool` or
`if` of a tensor, no copy to the host, and no shape that depends on values."""

from contextlib import ExitStack

import pytest
import torch
from small_models import images
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from cqlib.models.frozen_decoder import FrozenDecoder
from cqlib.models.registry import build
from cqlib.suite.experiments import paper
from cqlib.suite.experiments.experiment import experiment
from cqlib.suite.experiments.rows import ROWS
from cqlib.training.loop import Loop

aten = torch.ops.aten
READS = {aten._local_scalar_dense, aten.nonzero, aten.masked_select, aten.equal, aten._unique2}
"""What torch itself calls to read a number, or to know how many there are."""
COPIES = {"tolist", "numpy", "cpu", "__array__"}
"""Methods that a CPU's tensors answer without a call of torch's."""


class Reads(TorchDispatchMode):
    """Counts what the host reads, also from inside torch."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        by_mask = func.overloadpacket in (aten.index, aten.index_put, aten.index_put_) and any(
            index is not None and index.dtype in (torch.bool, torch.uint8) for index in args[1]
        )
        if func.overloadpacket in READS or by_mask:
            self.seen.append(str(func))
        return func(*args, **kwargs or {})


class Copies(TorchFunctionMode):
    """Counts copies to the host."""

    def __init__(self, seen):
        super().__init__()
        self.seen = seen

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if getattr(func, "__name__", "") in COPIES:
            self.seen.append(func.__name__)
        return func(*args, **kwargs or {})


def counted(function):
    """What the host reads in a call of `function`."""
    with ExitStack() as modes:
        reads = modes.enter_context(Reads())
        modes.enter_context(Copies(reads.seen))
        function()
    return reads.seen


def loop_of(system, training, folder):
    """A training after its first step, which may initialise weights by its data."""
    labels = torch.arange(64) % 4
    loop = Loop(system, images(64, system.shape[-1], system.shape[0]), labels, training, 0, folder, "x",
                torch.device("cpu"))  # fmt: skip
    take_step(loop)
    loop.log.read()
    return loop


def take_step(loop):
    losses, finite = loop.one_step()
    loop.step += 1
    loop.log.take(loop.step, losses, finite)


@pytest.mark.parametrize("row", [row for row in ROWS if paper.canonical(row) == row])
def test_a_step_of_any_row_reads_nothing(row, tmp_path):
    recipe = experiment(row, "smoke").recipe
    torch.manual_seed(0)
    system = build(recipe.system)
    loop = loop_of(system, recipe.training, tmp_path)
    for _ in range(2):
        assert counted(lambda: take_step(loop)) == []
    assert len(counted(loop.log.read)) >= 2 * 2  # of each step a loss and a flag, at least
    if stage := recipe.frozen_decoder:
        loop = loop_of(FrozenDecoder(stage.config, system), stage.training, tmp_path)
        assert counted(lambda: take_step(loop)) == []


@pytest.mark.parametrize("read", [
    lambda x: x.sum().item(), lambda x: float(x.sum()), lambda x: int(x.sum()), lambda x: bool(x.sum() > 0),
    lambda x: 1 if x.sum() > 0 else 0, lambda x: x.tolist(), lambda x: x.cpu(), lambda x: x.numpy(), lambda x: x[x > 0],
    lambda x: x.nonzero(), lambda x: torch.equal(x, x), lambda x: x.clamp(max=x.mean().item()),
])  # fmt: skip
def test_every_way_to_read_is_counted(read):
    assert counted(lambda: read(torch.rand(4)))
    assert not counted(lambda: torch.rand(4).mean().clamp(max=1.0)[None].to("cpu").add_(1))
