"""Runs rows on a Ray cluster (extra `cluster`) whose nodes all see the runs folder, where they leave their logs and
records. When a node is lost, Ray starts its tasks on another one, and each resumes from its checkpoint."""

import logging
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cqlib.cli.tasks import Process, Start, Task, child_environment, thread_limits
from cqlib.util import provenance
from cqlib.util.errors import UserError, one_line

ANSWER = 60.0
"""Seconds that nodes have to start a process and answer."""
RAY = {"RAY_py_gcs_connect_timeout_s": "5", "RAY_NUM_REDIS_GET_RETRIES": "1", "RAY_USAGE_STATS_ENABLED": "0",
       "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}  # fmt: skip
"""Ray tries to connect once, for some seconds, sends no usage reports, and prints no warning on GPUs."""


@contextmanager
def connected(address: str) -> Iterator[None]:
    """Inside, this process is a driver of the cluster at `address` ("HOST:PORT", or "auto" for one on this machine).
    UserError where there is none that it can join."""
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


def check_nodes(runs_dir: Path) -> None:
    """UserError, one line, that names each node that does not answer, does not see the runs folder, or has other code
    of this package or another version of a library that numbers depend on."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    mark = runs_dir / f".cluster-{uuid.uuid4().hex}"
    mark.parent.mkdir(parents=True, exist_ok=True)
    mark.touch()
    answers = {}
    for node in filter(lambda node: node["Alive"], ray.nodes()):
        there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        ask = ray.remote(_problem).options(num_cpus=0, scheduling_strategy=there)
        answers[ask.remote(versions(), mark)] = f"node {node['NodeManagerAddress']}"
    ray.wait([*answers], num_returns=len(answers), timeout=ANSWER)
    problems = []
    for answer, node_name in answers.items():
        try:
            problem = ray.get(answer, timeout=0)
        except ray.exceptions.RayError as error:
            problem = f"cannot run cqlib ({one_line(error)[-200:]}): install this repository and its packages there"
        problems += [f"{node_name} {problem}"] if problem else []
    mark.unlink()
    if problems:
        raise UserError(f"--cluster: {'; '.join(problems)}")


def versions() -> dict[str, str]:
    """The versions of Python and of libraries that numbers depend on; for "cqlib" a hash of its code."""
    return {**provenance.versions(), "cqlib": provenance.code_hash()[:12]}


def _problem(expected: dict[str, str], mark: Path) -> str:
    """Runs on a node: what is wrong there, in words that follow the node's name; "" if nothing is."""
    installed = versions()
    for name, version in expected.items():
        if installed.get(name) != version:
            return f"has {name} {installed.get(name)}, this machine {version}: install the same there"
    return "" if mark.exists() else f"does not see {mark.parent}: put --runs-dir on a file system that all nodes share"


def cores() -> int:
    """How many cores the nodes have together."""
    import ray

    return max(1, int(ray.cluster_resources().get("CPU", 1)))


def start_there(gpus: float) -> Start:
    """A function that starts tasks on the cluster: Ray runs a task on a node that has a core free and, where any node
    has a GPU and GPUs are wanted, `gpus`, a share in (0, 1] of one."""
    import ray

    no_gpu = os.environ.get("CQLIB_DEVICE") == "cpu" or not ray.cluster_resources().get("GPU")
    environment = thread_limits(1) | ({"CQLIB_DEVICE": "cpu"} if no_gpu else {})
    # A task whose node was lost is started again, but not for ever: it may be what brings nodes down.
    remote = ray.remote(_run).options(num_cpus=1, num_gpus=0 if no_gpu else gpus, max_retries=5)

    def start(task: Task, log: Path, slot: int) -> Process:
        stop = log.with_suffix(".stop")
        stop.unlink(missing_ok=True)
        return _RayProcess(remote.remote(task.arguments, environment, log, stop), log, stop)

    return start


def _run(arguments: tuple[str, ...], environment: dict[str, str], log: Path, stop: Path) -> int:
    """Runs on a node: the task's command, until it ends or there is a file `stop`; returns its exit code."""
    with log.open("ab") as errors:
        process = subprocess.Popen([sys.executable, *arguments], env=child_environment(environment),
                                   stdout=subprocess.DEVNULL, stderr=errors)  # fmt: skip
    while process.poll() is None and not stop.exists():
        time.sleep(1)
    process.terminate()  # does nothing where it has ended
    return process.wait()


class _RayProcess:
    """A task on the cluster, as `run_tasks` sees it."""

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
            with self.log.open("a") as log:
                log.write(f"its process on the cluster was lost: {one_line(error)[:200]}\n")
            return 1

    def terminate(self) -> None:
        """Ask it to save its state and end."""
        self.stop.touch()

    def kill(self) -> None:
        """End it, or take it out of the queue."""
        import ray

        ray.cancel(self.ref, force=True)
