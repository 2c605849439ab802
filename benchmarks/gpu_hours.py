"""What a whole `paper` reproduction costs in GPU-hours: an estimate, made without a GPU.

A training step of each row is taken once at its real batch size on tensors without content, and every kernel that it
launches is given the longest of three times on a card: to launch it, to do its arithmetic, to move its operands (the
roofline model, Williams, Waterman, Patterson 2009). `python -m benchmarks.gpu_hours` writes the result, which takes
minutes; `cqlib/report/readme.py` shows it, and a test tells when a recipe has changed since.
`cqlib/experiments/estimate.py` times real steps.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from cqlib.cli import options
from cqlib.cli.guard import guarded
from cqlib.experiments.estimate import duration
from cqlib.experiments.experiment import AVAILABLE, Experiment, build, experiment
from cqlib.experiments.rows import ROOT
from cqlib.models.base import System
from cqlib.models.frozen_decoder import FrozenDecoder
from cqlib.recipe import TrainingConfig
from cqlib.util.errors import UserError
from cqlib.util.files import write_atomic

FILE = ROOT / "reports" / "published" / "gpu_hours.json"
PARTS = {"Table 1": "table1", "Table 2": "table2", "Table 3": "table3", "the seven data sets": "table4",
         "figures and walkthroughs": "all"}  # fmt: skip
"""Part of the paper -> what `--only` calls it; a run that two parts share is counted in the first."""
SMALL = 2
"""Images per step where a step depends on the images' content, so that it is taken on real ones."""
UPDATE = 40
"""Bytes moved per parameter and update: Adam reads four numbers and writes three, the average takes three more."""


@dataclass(frozen=True)
class Card:
    """A GPU as kernels see it: operations and bytes per second that they come to, seconds to launch one."""

    name: str
    flops: float
    bandwidth: float
    launch: float


A100 = Card("A100", 0.3 * 156e12, 0.7 * 1.555e12, 8e-6)
"""Of the data sheet's peaks (40 GB; TF32, in which PyTorch computes the fp32 convolutions of `paper`) the shares that
large kernels often come to; PyTorch without compilation."""


class Roofline(TorchDispatchMode):
    """Adds up, in `seconds`, what the kernels of the operations inside would take on `card`; those on `scale` times as
    many images."""

    def __init__(self, card: Card, scale: float = 1.0) -> None:
        super().__init__()
        self.card, self.scale, self.seconds = card, scale, 0.0

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        """Run the operation and add its time; a view takes none."""
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        if not func.is_view:
            tensors = [leaf for leaf in tree_leaves((args, kwargs, out)) if isinstance(leaf, torch.Tensor)]
            moved = sum(t.numel() * t.element_size() for t in tensors) / self.card.bandwidth
            counted = flop_registry.get(func._overloadpacket)
            flops = counted(*args, **kwargs, out_val=out) / self.card.flops if counted else 0.0
            self.seconds += max(self.card.launch, self.scale * max(flops, moved))
        return out


def step_seconds(make: Callable[[], System], config: TrainingConfig, card: Card = A100) -> float:
    """Seconds per training step, in the middle of training, of the system that `make` builds."""
    try:
        return _step(make, config, card, small=False)
    except (DataDependentOutputException, DynamicOutputShapeException):
        return _step(make, config, card, small=True)


def _step(make: Callable[[], System], config: TrainingConfig, card: Card, small: bool) -> float:
    def once(losses: Callable[..., dict], parameters: list[nn.Parameter], batch: int) -> float:
        n = min(SMALL, batch) if small else batch
        x = torch.rand(n, *system.shape) * 2 - 1
        labels = {"labels": torch.arange(n) % 2} if system.uses_labels else {}
        with Roofline(card, batch / n) as roofline:
            losses(x, **labels)["total"].backward()
        return roofline.seconds + UPDATE * sum(p.numel() for p in parameters) / card.bandwidth

    with torch.random.fork_rng(devices=[]), nullcontext() if small else FakeTensorMode(allow_non_fake_inputs=True):
        system = make().train()
        system.schedule(config.steps // 2, config.steps)
        generator, critic = list(system.generator_parameters()), list(system.critic_parameters())
        batch = config.generator_batch or config.batch_size
        seconds = config.n_generator * once(system.generator_losses, generator, batch)
        if critic:
            losses = lambda x, **labels: system.critic_losses(x, step=config.steps // 2, **labels)  # noqa: E731
            seconds += config.n_critic * once(losses, critic, config.batch_size)
    return seconds


def hours(e: Experiment, card: Card = A100) -> float:
    """GPU-hours of training in all its stages; measuring is not included."""
    first = e.recipe.training
    seconds = first.steps * step_seconds(lambda: build(e.recipe.system), first, card)
    if (stage := e.recipe.frozen_decoder) is not None:
        second = stage.training
        make = lambda: FrozenDecoder(stage.config, build(e.recipe.system))  # noqa: E731
        seconds += second.steps * step_seconds(make, second, card)
    return seconds / 3600


def parts() -> dict[str, list[Experiment]]:
    """The runs of a whole reproduction with one seed, by part of the paper."""
    from cqlib.cli.run_all import plan

    found: dict[str, list[Experiment]] = {}
    seen: set[tuple[str, str]] = set()
    for part, only in PARTS.items():
        pairs = plan(options.parse(["--profile", "paper", "--only", only]), AVAILABLE).rows
        found[part] = [experiment(row, "paper", data) for row, data in pairs if (row, data) not in seen]
        seen.update(pairs)
    return found


def stored() -> dict[str, float]:
    """Hours on `A100` by the hash of the training that they belong to; none from another idea of that card."""
    found = json.loads(FILE.read_text())
    return {run["training_hash"]: run["hours"] for run in found["runs"]} if found["card"] == asdict(A100) else {}


def markdown() -> str:
    """The stored hours as a table for README. UserError when a recipe has changed since."""
    found, rows, by_part = stored(), [], parts()
    if {e.training_hash for runs in by_part.values() for e in runs} - found.keys():
        raise UserError("a recipe of `paper` has changed: python -m benchmarks.gpu_hours estimates it anew")
    for part, runs in by_part.items():
        each = {e: found[e.training_hash] for e in runs}
        longest = max(each, key=lambda e: each[e])
        took = f"`{longest.row}` on {longest.data}, {duration(3600 * each[longest])}"
        rows.append((part, len(each), sum(each.values()), took))
    count, total = (sum(row[k] for row in rows) for k in (1, 2))
    rows += [("all, one seed", count, total, ""), ("all, five seeds", 5 * count, 5 * total, "")]
    lines = ["| part | runs | GPU-hours | longest run |", "| --- | --- | --- | --- |"]
    lines += [f"| {part} | {runs} | {took:,.0f} | {longest} |" for part, runs, took, longest in rows]
    told = (
        f"An estimate for one {A100.name}, training only: no row of `paper` has been timed on a GPU. Each kernel of a "
        "step is given the longest of its launch, its arithmetic and its memory traffic (`benchmarks/gpu_hours.py`); "
        "expect "
        f"to be off by a factor of two or more. One seed of all is {duration(3600 * total)} on one card."
    )
    return "\n".join([*lines, "", told])


def main(path: Path = FILE) -> int:
    """Estimate every run and write the file; those whose recipe has not changed are kept."""
    with guarded("python -m benchmarks.gpu_hours"):
        known = stored() if path.exists() else {}
        every = sum(parts().values(), [])
        for e in every:
            if e.training_hash not in known:
                known[e.training_hash] = round(hours(e), 3)
            print(f"{e.row} on {e.data}: {known[e.training_hash]:.1f} h", flush=True)
            runs = ({"row": o.row, "data": o.data, "training_hash": o.training_hash, "hours": known[o.training_hash]}
                    for o in every if o.training_hash in known)  # fmt: skip
            lines = ",\n".join(f"  {json.dumps(run)}" for run in runs)
            write_atomic(path, f'{{"card": {json.dumps(asdict(A100))}, "runs": [\n{lines}\n]}}\n')
    return 0


if __name__ == "__main__":
    sys.exit(main())
