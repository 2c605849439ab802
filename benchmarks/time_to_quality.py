"""Time to quality: seconds from nothing until CQ-F of `quick` is as good as its published records, by this package's
training and by the textbook loop, both at the same time, with one thread each.

"As good" means: the BPD is at most the mean over the published seeds plus their standard deviation, and likewise the
Fréchet distance. Both are measured as for records, every `EVERY` steps from a third of the training on. The
time of measuring is not counted; that of starting Python and reading the data is. Between two measurements the time at
which a quality passed its bound is interpolated. A side that does not get there within the recipe's steps, after which
its learning rate is 0, counts with the seconds of all steps: if it is ours, the target is missed; if it is the other,
the ratio is a lower bound.

`python -m benchmarks.time_to_quality ours|textbook` trains one side and prints a line of JSON for each measurement.
"""

from __future__ import annotations

import functools
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil
import torch
from torch import Tensor

from benchmarks import sides
from benchmarks.comparison import Ratio
from benchmarks.steps import TEXTBOOK
from benchmarks.textbook import TextbookLoop
from cqlib.data.dataset import Dataset
from cqlib.experiments.experiment import Experiment, experiment
from cqlib.experiments.load import load_data
from cqlib.experiments.record import load_records
from cqlib.metrics import fidelity
from cqlib.metrics.bpd import bits_per_dimension, held_out_nll
from cqlib.metrics.evaluation import TEST_SEED, draw_samples
from cqlib.metrics.features import extract, lite0
from cqlib.models.base import System
from cqlib.models.registry import build
from cqlib.training.device import fork_rng, select_device
from cqlib.training.loop import CHECKPOINT_SECONDS, Loop
from cqlib.util import provenance
from cqlib.util.errors import StoppedEarly, UserError
from cqlib.util.paths import RECORDS
from cqlib.util.stop import StopRequest

ROW, PROFILE, SEED = "table1/cq-f", "quick", 101
"""The seed is one for tuning, whose records are not among those that set the bounds."""
EVERY = 250
"""Steps between two measurements; a multiple of the steps between two lines of the log."""
BPD, DISTANCE = "BPD", "FD-lite0"


@dataclass(frozen=True)
class Learning:
    """What a side had learned: its `qualities` after so many `steps` and `seconds`; `bounds`, those to be reached."""

    name: str
    side: str
    seed: int
    steps: tuple[int, ...]
    seconds: tuple[float, ...]
    qualities: dict[str, tuple[float, ...]]
    bounds: dict[str, float]
    device: str
    commit: str | None = None

    @property
    def last(self) -> str:
        """ "BPD 4.74, FD-lite0 433": the last qualities."""
        return ", ".join(f"{name} {values[-1]:.3g}" for name, values in self.qualities.items())

    @property
    def reached(self) -> float | None:
        """Seconds until all qualities were within their bounds at once; None where that was never measured."""
        within = [[value <= self.bounds[name] for value in values] for name, values in self.qualities.items()]
        i = next((i for i, all_of in enumerate(zip(*within, strict=True)) if all(all_of)), None)
        if i is None:
            return None
        if i == 0:
            return self.seconds[0]
        shares = [0.0]
        for name, values in self.qualities.items():
            before, after, bound = values[i - 1], values[i], self.bounds[name]
            if before > bound:
                shares.append((before - bound) / (before - after))
        return self.seconds[i - 1] + max(shares) * (self.seconds[i] - self.seconds[i - 1])


def bounds(folder: Path = RECORDS) -> dict[str, float]:
    """Quality -> its bound: mean plus standard deviation over the published seeds of `ROW`. UserError with fewer than
    two."""
    wanted = (ROW, PROFILE, {}, experiment(ROW, PROFILE).data)
    records = [r for r in load_records(folder)[0] if (r.row, r.profile, r.changes, r.data.name) == wanted]
    if len(records) < 2:
        raise UserError(f"fewer than two seeds of {ROW} are published under {PROFILE}")
    values = {name: [r.metrics[name].value for r in records] for name in (BPD, DISTANCE)}
    return {name: statistics.mean(of) + statistics.stdev(of) for name, of in values.items()}


def judge(e: Experiment, data: Dataset, device: torch.device) -> Callable[[System], dict[str, float]]:
    """A function that measures a model as for a record of the experiment, the state of random numbers left alone."""
    c, features = e.evaluation, lite0(e.evaluation.side)

    def pooled(images: Tensor) -> Tensor:
        return extract(images, features, features.pooled, device=device)[features.pooled]

    @functools.cache
    def real() -> Tensor:
        return pooled(data.test.images[: c.fidelity_images])

    def qualities(model: System) -> dict[str, float]:
        with fork_rng(device):
            nll = held_out_nll(model, data.test.images[: c.bpd_images])
            fake = pooled(draw_samples(model, len(real()), temperature=1.0, seed=TEST_SEED + e.seed))
        (distance,) = fidelity.pooled_scores(fake, real(), ("fid",), features=features).values()
        return {BPD: float(bits_per_dimension(nll.mean(), data.train.images[0].numel())), DISTANCE: distance.value}

    return qualities


Note = Callable[[int, System], bool]
"""(step, model with averaged weights) -> whether training is to go on."""


def train_ours(system: System, data: Dataset, e: Experiment, device: torch.device, note: Note) -> None:
    """Train as rows are trained, logs and checkpoints included, until `note` says stop."""
    stop = StopRequest()

    def progress(step: int, steps: int, left: float) -> None:
        if not note(step, loop.average.module):
            stop.requested = "as good as the records"

    with tempfile.TemporaryDirectory() as folder, suppress(StoppedEarly):
        loop = Loop(system, data.train.images, None, e.recipe.training, e.seed, Path(folder), "training", device)
        loop.run(stop, progress, CHECKPOINT_SECONDS)


def train_textbook(system: System, data: Dataset, e: Experiment, device: torch.device, note: Note) -> None:
    """Train the same recipe and seed by the textbook loop, until `note` says stop."""
    torch.manual_seed(e.seed)
    loop = TextbookLoop(system, data.train.images, e.recipe.training, device)
    for step in range(1, e.recipe.training.steps + 1):
        loop.step()
        if not note(step, loop.average.module):
            return


SIDES = {"ours": train_ours, "textbook": train_textbook}


def learn(side: str, e: Experiment, device: torch.device, bound: dict[str, float], every: int = EVERY) -> None:
    """Train until all qualities are within their bounds, or all steps are taken; prints a line of JSON for each
    measurement."""
    began, measuring, steps = psutil.Process().create_time(), 0.0, e.recipe.training.steps
    data = load_data(e, None)
    qualities = judge(e, data, device)
    torch.manual_seed(e.seed)
    system = build(e.recipe.system)

    def note(step: int, model: System) -> bool:
        nonlocal measuring
        if (step % every or 3 * step < steps) and step != steps:
            return True
        now = time.time()
        found = qualities(model)
        good = all(found[name] <= bound[name] for name in bound)
        line = {"step": step, "seconds": now - began - measuring, "last": good or step == steps, **found}
        print(json.dumps(line), flush=True)
        measuring += time.time() - now
        return not good

    SIDES[side](system, data, e, device, note)


class TimeToQuality:
    """The row of time to quality. Its target is that of CQ-F's step."""

    name = "time-to-quality"
    kinds = ("cpu",)

    def results(self, device: torch.device) -> list[Ratio | Learning]:
        """Both sides at once, in one round."""
        bound = bounds()
        name = provenance.device_name(device, bf16=False, threads=1)

        def follow(side: str) -> Learning:
            lines = list(_lines(side))
            columns = {key: tuple(line[key] for line in lines) for key in ("step", "seconds", *bound)}
            steps, seconds, *found = columns.values()
            learned = Learning(self.name, side, SEED, steps, seconds, dict(zip(bound, found, strict=True)), bound, name)
            print(f"{self.name:<20} {side}: {'reached' if learned.reached else 'not reached'}", flush=True)
            return learned

        with ThreadPoolExecutor() as pool:
            ours, other = pool.map(follow, SIDES)
        return [compared(ours, other), ours, other]


def _lines(side: str) -> Iterator[dict[str, Any]]:
    """The measurements that the process of a side prints, up to the last."""
    with sides.process(f"the time to quality of {side}", "benchmarks.time_to_quality", side, threads=1) as ask:
        line: dict[str, Any] = {"last": False}
        while not line["last"]:
            line = json.loads(ask())
            yield line


def compared(ours: Learning, other: Learning) -> Ratio:
    """The ratio of the seconds until the qualities were reached, or of the whole training of a side that did not reach
    them."""
    words = f"{TEXTBOOK}{'' if other.reached else ' (not reached, so at least)'}"
    times = [[side.reached or side.seconds[-1]] for side in (ours, other)]
    ratio = Ratio.of_rounds(ours.name, times[0], words, times[1], 1.5, ours.device)
    return ratio if ours.reached else replace(ratio, holds=False, ours="not reached, so at least")


ROWS = (TimeToQuality(),)

if __name__ == "__main__":
    learn(sys.argv[1], experiment(ROW, PROFILE, seed=SEED), select_device(), bounds())
