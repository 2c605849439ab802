"""Time to quality: seconds from nothing until CQ-F of `quick` is as good as its published records, by this package's
training and by the textbook loop, both at the same time, with one thread each.

"As good" means: the BPD is at most the mean over the published seeds plus their standard deviation, and likewise the
Fréchet distance. Both are measured as for records, every `EVERY` steps from a third of the training on, and the first
measurement that finds both so good counts. The time of measuring is not counted; that of starting Python and reading
the data is. A side that does not get there within the recipe's steps, after which its learning rate is 0, counts with
the seconds of all steps: if it is ours, the target is missed; if it is the other, the ratio is a lower bound.
"""

from __future__ import annotations

import functools
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

import psutil
import torch
from torch import Tensor

from benchmarks.comparison import Ratio
from benchmarks.sides import process
from benchmarks.steps import TEXTBOOK
from benchmarks.textbook import TextbookLoop
from cqlib.data.dataset import Dataset
from cqlib.metrics import fidelity
from cqlib.metrics.bpd import bits_per_dimension, held_out_nll
from cqlib.metrics.evaluation import TEST_SEED, draw_samples
from cqlib.metrics.features import extract, lite0
from cqlib.models.base import System
from cqlib.models.registry import build
from cqlib.suite.experiments.experiment import Experiment, experiment
from cqlib.suite.experiments.load import load_data
from cqlib.suite.experiments.record import load_records
from cqlib.training.loop import CHECKPOINT_SECONDS, Loop
from cqlib.util import provenance
from cqlib.util.device import fork_rng
from cqlib.util.errors import StoppedEarly, UserError
from cqlib.util.paths import RECORDS
from cqlib.util.stop import StopRequest

ROW, PROFILE, SEED = "table1/cq-f", "quick", 101
"""The seed is one for tuning, whose records are not among those that set the bounds."""
EVERY = 250
"""Steps between two measurements; a multiple of the steps between two lines of the log."""
BPD, DISTANCE = "BPD", "FD-lite0"
CPU = torch.device("cpu")


class Arrival(NamedTuple):
    """The seconds of training of a side, and whether the qualities were reached."""

    seconds: float
    reached: bool


def bounds() -> dict[str, float]:
    """Quality -> its bound: mean plus standard deviation over the published seeds of `ROW`. UserError with fewer than
    two."""
    wanted = (ROW, PROFILE, {}, experiment(ROW, PROFILE).data)
    records = [r for r in load_records(RECORDS)[0] if (r.row, r.profile, r.changes, r.data.name) == wanted]
    if len(records) < 2:
        raise UserError(f"fewer than two seeds of {ROW} are published under {PROFILE}")
    values = {name: [r.metrics[name].value for r in records] for name in (BPD, DISTANCE)}
    return {name: statistics.mean(of) + statistics.stdev(of) for name, of in values.items()}


def judge(e: Experiment, data: Dataset) -> Callable[[System], dict[str, float]]:
    """A function that measures a model as for a record of the experiment, the state of random numbers left alone."""
    features = lite0(e.evaluation.side)

    def pooled(images: Tensor) -> Tensor:
        return extract(images, features, features.pooled, device=CPU)[features.pooled]

    @functools.cache
    def real() -> Tensor:
        return pooled(data.test.images[: e.evaluation.fidelity_images])

    def qualities(model: System) -> dict[str, float]:
        with fork_rng(CPU):
            nll = held_out_nll(model, data.test.images[: e.evaluation.bpd_images])
            fake = pooled(draw_samples(model, len(real()), seed=TEST_SEED + e.seed))
        (distance,) = fidelity.pooled_scores(fake, real(), ("fid",), features=features).values()
        return {BPD: float(bits_per_dimension(nll.mean(), data.train.images[0].numel())), DISTANCE: distance.value}

    return qualities


Note = Callable[[int, System], bool]
"""(step, model with averaged weights) -> whether training is to go on."""


def train_ours(system: System, data: Dataset, e: Experiment, note: Note) -> None:
    """Train as rows are trained, logs and checkpoints included, until `note` says stop."""
    stop = StopRequest()

    def progress(step: int, steps: int, left: float) -> None:
        if not note(step, loop.average.module):
            stop.requested = "as good as the records"

    with tempfile.TemporaryDirectory() as folder, suppress(StoppedEarly):
        loop = Loop(system, data.train.images, None, e.recipe.training, e.seed, Path(folder), "training", CPU)
        loop.run(stop, progress, CHECKPOINT_SECONDS)


def train_textbook(system: System, data: Dataset, e: Experiment, note: Note) -> None:
    """Train the same recipe and seed by the textbook loop, until `note` says stop."""
    torch.manual_seed(e.seed)
    loop = TextbookLoop(system, data.train.images, e.recipe.training, CPU)
    for step in range(1, e.recipe.training.steps + 1):
        loop.step()
        if not note(step, loop.average.module):
            return


SIDES = {"ours": train_ours, "textbook": train_textbook}


def learn(connection: Connection, side: str, e: Experiment, bound: dict[str, float], every: int) -> None:
    """Train on one thread until all qualities are within their bounds, or all steps are taken; send the `Arrival`."""
    torch.set_num_threads(1)
    began, measuring, steps = psutil.Process().create_time(), 0.0, e.recipe.training.steps
    data = load_data(e, None)
    qualities = judge(e, data)
    torch.manual_seed(e.seed)
    system = build(e.recipe.system)
    arrival = None

    def note(step: int, model: System) -> bool:
        nonlocal measuring, arrival
        if (step % every or 3 * step < steps) and step != steps:
            return True
        now = time.time()
        found = qualities(model)
        reached = all(found[name] <= bound[name] for name in bound)
        arrival = Arrival(now - began - measuring, reached)
        measuring += time.time() - now
        print(f"{side}, step {step}: {', '.join(f'{name} {value:.4g}' for name, value in found.items())}", flush=True)
        return not reached

    SIDES[side](system, data, e, note)
    connection.send(arrival)


def follow(side: str, e: Experiment, bound: dict[str, float], every: int = EVERY) -> Arrival:
    """`learn` in a process of its own."""
    with process(learn, side, e, bound, every) as connection:
        return connection.recv()


class TimeToQuality:
    """The row of time to quality. Its target is that of CQ-F's step."""

    name = "time-to-quality"

    def results(self, device: torch.device) -> list[Ratio]:
        """Both sides at once, in one round; on the CPU, whatever the device."""
        e, bound = experiment(ROW, PROFILE, seed=SEED), bounds()
        with ThreadPoolExecutor() as pool:
            ours, other = pool.map(lambda side: follow(side, e, bound), SIDES)
        return [compared(ours, other, bound)]


def compared(ours: Arrival, other: Arrival, bound: dict[str, float]) -> Ratio:
    """The ratio of the seconds until the qualities were reached, or of the whole training of a side that did not reach
    them; the target is missed where that is ours."""
    until = "until " + " and ".join(f"{name} is at most {value:.4g}" for name, value in bound.items())
    our_words, words = (f"{text}{'' if side.reached else ' (not reached, so at least)'}"
                        for text, side in ((until, ours), (TEXTBOOK, other)))  # fmt: skip
    where = provenance.device_name(CPU, bf16=False, threads=1)
    ratio = Ratio.of_rounds(TimeToQuality.name, [ours.seconds], [other.seconds], other=words, target=1.5, device=where,
                            our_words=our_words)  # fmt: skip
    return replace(ratio, holds=ratio.holds and ours.reached)


ROWS = (TimeToQuality(),)
