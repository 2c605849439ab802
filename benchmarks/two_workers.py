"""Four equal rows on a Ray cluster of two nodes with a core each, against one such node; all in this machine."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import torch

from benchmarks.measuring import Result
from cqlib.cli import cluster, cluster_nodes
from cqlib.cli.tasks import Task
from cqlib.training.device import fast_bf16
from cqlib.util import provenance
from cqlib.util.errors import UserError
from cqlib.util.stop import StopRequest

ROW, PROFILE, ROWS = "table1/vae", "quick", 4
"""A minute of work each: starting a process is no part of what two workers share."""
NODE = {"num_cpus": 1, "object_store_memory": 80_000_000, "node_ip_address": "127.0.0.1", "include_log_monitor": False}


@contextlib.contextmanager
def nodes(count: int) -> Iterator[str]:
    """The address of a cluster of so many nodes on the loopback, for as long as this lasts."""
    os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")  # or 127.0.0.1 becomes another address
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={**NODE, "include_dashboard": False, "no_monitor": True})
    try:
        for _ in range(count - 1):
            made.add_node(**NODE)
        yield made.address
    finally:
        made.shutdown()


def seconds_on(count: int) -> float:
    """To train and measure `ROW` with `ROWS` seeds on so many nodes, from the first one's start."""
    with tempfile.TemporaryDirectory() as folder, nodes(count) as address, cluster_nodes.connected(address):
        tasks = [
            Task(f"seed {seed}", "cqlib.cli.tasks:train_row",
                 {"row": ROW, "profile": PROFILE, "seed": seed, "runs_dir": f"{folder}/runs"})
            for seed in range(ROWS)
        ]  # fmt: skip
        began = time.perf_counter()
        outcomes = cluster.run_tasks(tasks, stop=StopRequest(), logs=Path(folder) / "logs")
        taken = time.perf_counter() - began
    for outcome in outcomes:
        if outcome.status != "done":
            raise UserError(f"bench: a row on the cluster ended as {outcome.status}: {outcome.message}")
    return taken


class TwoWorkers:
    """Two workers are to take at most 0.6 of the time of one."""

    name = "cluster-two-workers"
    kinds = ("cpu",)
    needs = "ray"

    def results(self, device: torch.device, rounds: int = 1) -> list[Result]:
        """Both in turn. Ray's own start is not counted."""
        times = [[seconds_on(2), seconds_on(1)] for _ in range(rounds)]
        ratios = [one / two for two, one in times]
        ours, other = (median(column) for column in zip(*times, strict=True))
        ratio, target = median(ratios), 1 / 0.6
        return [Result(self.name, ours, f"{ROWS} equal rows on one worker of a Ray cluster; ours: on two", other, ratio,
                       target, ratio >= target, rounds, provenance.device_name(device, bf16=fast_bf16(device)),
                       min(ratios), max(ratios))]  # fmt: skip
