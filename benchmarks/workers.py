"""The rows of the default command, shortened, shared out in several ways: `--jobs`, threads, a Ray cluster of nodes
with a core each; all on this machine, which needs two cores."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks.comparison import Ratio, installed
from cqlib.cli import cluster
from cqlib.cli.tasks import Start, Task, run_tasks, start_here, thread_limits
from cqlib.experiments.experiment import Experiment, experiment
from cqlib.experiments.paper import TABLE1
from cqlib.experiments.run import run_experiment
from cqlib.recipe import EVALUATION
from cqlib.util import provenance
from cqlib.util.errors import UserError
from cqlib.util.stop import StopRequest

STEPS = 120
"""Steps of each training; the model is then measured as under `smoke`."""
NODE = {"num_cpus": 1, "object_store_memory": 80_000_000, "node_ip_address": "127.0.0.1", "include_log_monitor": False}
TARGET = 1 / 0.6
"""Two workers are to take at most 0.6 of the time of one."""


def shortened(row: str, steps: int = STEPS) -> Experiment:
    """A row of `quick`, but of so many steps, and measured as under `smoke`."""
    e = experiment(row, "quick")
    recipe = replace(e.recipe, training=replace(e.recipe.training, steps=steps))
    if (stage := recipe.frozen_decoder) is not None:
        recipe = replace(recipe, frozen_decoder=replace(stage, training=replace(stage.training, steps=steps)))
    return replace(e, recipe=recipe, evaluation=EVALUATION["smoke"])


def seconds(start: Start, jobs: int) -> float:
    """The seconds that the rows of Table 1, `shortened`, the longest first, take to be trained and measured, `jobs` at
    a time. UserError where one fails."""
    with tempfile.TemporaryDirectory() as folder:
        experiments = sorted((shortened(row.id) for row in TABLE1.rows), key=lambda e: -e.cost)
        todo = [Task(e.title, ("-m", "benchmarks.workers", e.row, f"{folder}/runs"), e.folder) for e in experiments]
        began = time.perf_counter()
        outcomes = run_tasks(todo, start, jobs, stop=StopRequest(), logs=Path(folder) / "logs")
        taken = time.perf_counter() - began
    for outcome in outcomes:
        if outcome.status != "done":
            raise UserError(f"{outcome.task.name} ended as {outcome.status}: {outcome.message}")
    return taken


def here(processes: int, threads: int) -> float:
    """The `seconds` in so many processes at a time, of so many threads each."""
    return seconds(start_here([thread_limits(threads)] * processes), processes)


@contextlib.contextmanager
def nodes(count: int) -> Iterator[str]:
    """Context with the address of a Ray cluster of `count` nodes on the loopback network, which ends with it."""
    os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")  # or 127.0.0.1 becomes another address
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={**NODE, "include_dashboard": False, "no_monitor": True})
    try:
        for _ in range(count - 1):
            made.add_node(**NODE)
        yield made.address
    finally:
        made.shutdown()


def on_cluster(count: int) -> float:
    """The `seconds` on a Ray cluster of so many nodes; Ray's own start is not counted."""
    with nodes(count) as address, cluster.connected(address):
        return seconds(cluster.start_there(gpus=0.25), count)


class Workers:
    """Two processes against one, against one of two threads; two nodes of a cluster against one."""

    name = "workers"
    kinds = ("cpu",)

    def results(self, device: torch.device) -> list[Ratio]:
        """A ratio for each comparison, from one round."""
        two = here(2, 1)
        ways = [("2 processes", two, "1 process", here(1, 1), TARGET),
                ("2 processes", two, "1 process of 2 threads", here(1, 2), 1.0)]  # fmt: skip
        if installed(self.name, "ray"):
            ways.append(("2 Ray nodes", on_cluster(2), "1 Ray node", on_cluster(1), TARGET))
        name = provenance.device_name(device, bf16=False)
        return [replace(Ratio.of_rounds(self.name, [ours_s], other, [other_s], target, name), ours=ours)
                for ours, ours_s, other, other_s, target in ways]  # fmt: skip


ROWS = (Workers(),)

if __name__ == "__main__":  # a task
    run_experiment(shortened(sys.argv[1]), runs_dir=sys.argv[2])
