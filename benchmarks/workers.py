"""The rows of Table 1, shortened, as `./run_all.sh` shares them out: `--jobs`, threads, a Ray cluster of nodes with a
core each; all on this machine, which needs two cores."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from benchmarks.comparison import Ratio, installed
from cqlib.suite.experiments.paper import TABLE1
from cqlib.util import provenance
from cqlib.util.errors import UserError
from cqlib.util.paths import ROOT

STEPS = 200
"""Steps of each training; the model is then measured as always."""
NODE = {"num_cpus": 1, "object_store_memory": 80_000_000, "node_ip_address": "127.0.0.1", "include_log_monitor": False}
TARGET = 1 / 0.6
"""Two workers are to take at most 0.6 of the time of one."""


def seconds(*options: str, threads: int = 1, steps: int = STEPS, profile: str = "quick") -> float:
    """The seconds that the command takes with these options, a process having so many threads. UserError where it
    fails."""
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "CQLIB_DEVICE": "cpu"}
    rows = ",".join(row.id for row in TABLE1.rows)
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "cqlib.suite.cli", "--profile", profile, "--only", rows,
                   "--set", f"training.steps={steps}", "--runs-dir", f"{folder}/runs", "--out", f"{folder}/report",
                   *options]  # fmt: skip
        log = Path(folder, "log")
        began = time.perf_counter()
        with log.open("w") as out:
            code = subprocess.run(command, cwd=ROOT, env=environment, stdout=out, stderr=out).returncode
        taken = time.perf_counter() - began
        if code:
            raise UserError(f"run_all.sh {' '.join(options)}: {log.read_text().strip()[-500:]}")
    return taken


@contextlib.contextmanager
def nodes(count: int) -> Iterator[str]:
    """Context with the address of a Ray cluster of `count` nodes on the loopback network, which ends with it."""
    os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")  # or 127.0.0.1 becomes another address
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={**NODE, "include_dashboard": False, "no_monitor": True})
    try:
        for _ in range(count - 1):
            cluster.add_node(**NODE)
        yield cluster.address
    finally:
        cluster.shutdown()


def on_cluster(count: int) -> float:
    """The `seconds` on a Ray cluster of so many nodes; that of starting the nodes is not counted."""
    with nodes(count) as address:
        return seconds("--cluster", address)


class Workers:
    """Two processes against one, against one of two threads; two nodes of a cluster against one."""

    name = "workers"

    def results(self, device: torch.device) -> list[Ratio]:
        """A ratio for each comparison, from one round; on the CPU, whatever the device."""
        two = seconds("--jobs", "2")
        ways = [("2 processes", two, "1 process", seconds("--jobs", "1"), TARGET),
                ("2 processes", two, "1 process of 2 threads", seconds("--jobs", "1", threads=2), 1.0)]  # fmt: skip
        if installed("ray"):
            ways.append(("2 Ray nodes", on_cluster(2), "1 Ray node", on_cluster(1), TARGET))
        where = provenance.device_name(torch.device("cpu"), bf16=False)
        return [
            Ratio.of_rounds(self.name, [our_s], [other_s], our_words=ours, other=other, target=target, device=where)
            for ours, our_s, other, other_s, target in ways
        ]


ROWS = (Workers(),)
