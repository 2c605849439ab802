"""Rows on a Ray cluster (extra `cluster`) whose nodes share the runs folder, to which they write logs and records. If a
node is lost, Ray starts its tasks on another one, and each resumes from its checkpoint."""

import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cqlib.suite.cli.options import PROGRAM
from cqlib.suite.cli.tasks import Process, Start, Task, child_environment, thread_limits
from cqlib.util import provenance
from cqlib.util.errors import UserError, one_line

RAY = {"RAY_py_gcs_connect_timeout_s": "5", "RAY_NUM_REDIS_GET_RETRIES": "1", "RAY_USAGE_STATS_ENABLED": "0",
       "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}  # fmt: skip
"""Ray tries to connect once, for some seconds, sends no usage reports, and prints no warning about GPUs."""


@contextmanager
def cluster_connection(address: str) -> Iterator[None]:
    """Inside, this process is a driver of the cluster at `address` ("HOST:PORT", or "auto" for one on this machine).
    UserError if it cannot join one there."""
    if address != "auto":  # Ray itself would try for minutes
        host, _, port = address.rpartition(":")
        try:
            socket.create_connection((host, int(port)), timeout=5).close()
        except (OSError, ValueError) as error:
            how = "ray start --head starts a cluster and prints its address"
            raise UserError(f"--cluster {address}: nothing answers there ({one_line(error)}); {how}") from error
    for name, value in RAY.items():
        os.environ.setdefault(name, value)
    try:
        import ray
    except ImportError as error:
        raise UserError("--cluster needs the extra `cluster`: pip install -e '.[cluster]'") from error
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.CRITICAL)
    except (RuntimeError, ConnectionError, ValueError, ray.exceptions.RayError) as error:
        why = one_line(error)[:200] or type(error).__name__
        raise UserError(f"--cluster {address}: no Ray cluster that this machine can join: {why}") from error
    finally:  # ray.init has replaced the signal handlers
        for number, handler in handlers.items():
            signal.signal(number, handler)
    try:
        yield
    finally:
        ray.shutdown()


def cores() -> int:
    """The number of cores of all nodes together."""
    import ray

    return max(1, int(ray.cluster_resources().get("CPU", 1)))


def cluster_start(gpus: float) -> Start:
    """A function that starts tasks on the cluster. Ray runs a task on a node with a free core and, if any node has a
    GPU, a free share `gpus`, in (0, 1], of a GPU."""
    import ray

    no_gpu = os.environ.get("CQLIB_DEVICE") == "cpu" or not ray.cluster_resources().get("GPU")
    environment = thread_limits(1) | ({"CQLIB_DEVICE": "cpu"} if no_gpu else {})
    # The tasks of a lost node are started again, at most 5 times, because a task may be what brings nodes down.
    remote = ray.remote(_run).options(num_cpus=1, num_gpus=0 if no_gpu else gpus, max_retries=5)

    def start(task: Task, log: Path, slot: int) -> Process:
        stop = log.with_suffix(".stop")
        stop.unlink(missing_ok=True)
        return _RayProcess(remote.remote(task.arguments, environment, log, stop, versions()), log, stop)

    return start


def versions() -> dict[str, str]:
    """The versions of Python and of libraries that numbers depend on; for "cqlib" a hash of its code."""
    return {**provenance.versions(), "cqlib": provenance.code_hash()[:12]}


def _run(
    arguments: tuple[str, ...], environment: dict[str, str], log: Path, stop: Path, expected: dict[str, str]
) -> int:
    """Runs on a node: start the task's command, wait until it ends or the file `stop` exists, and return its exit code.
    UserError if the node does not see the file `log`, or has other code or versions than `expected`."""
    node, installed = socket.gethostname(), versions()
    if not log.is_file():
        raise UserError(f"node {node} does not see {log.parent}: put --runs-dir on a file system that all nodes share")
    for name, version in expected.items():
        if installed.get(name) != version:
            raise UserError(f"node {node} has {name} {installed.get(name)}, not {version}: install the same there")
    with log.open("ab") as errors:
        process = subprocess.Popen([sys.executable, *arguments], env=child_environment(environment),
                                   stdout=subprocess.DEVNULL, stderr=errors)  # fmt: skip
    while process.poll() is None and not stop.exists():
        time.sleep(1)
    process.terminate()  # does nothing if it has ended
    return process.wait()


class _RayProcess:
    """A task on the cluster, with the interface that `run_tasks` needs."""

    def __init__(self, ref: Any, log: Path, stop: Path) -> None:
        self.ref, self.log, self.stop = ref, log, stop

    def poll(self) -> int | None:
        """The exit code; None until the task has ended."""
        import ray

        if not ray.wait([self.ref], timeout=0)[0]:
            return None
        self.stop.unlink(missing_ok=True)
        try:
            return ray.get(self.ref)
        except ray.exceptions.RayError as error:
            why = getattr(error, "cause", None) or f"its process on the cluster was lost: {one_line(error)[:200]}"
            with self.log.open("a") as log:
                log.write(f"{PROGRAM}: {why}\n")
            return 1

    def terminate(self) -> None:
        """Ask the task to save its state and end."""
        self.stop.touch()

    def kill(self) -> None:
        """End the task, or take it out of the queue."""
        import ray

        ray.cancel(self.ref, force=True)
