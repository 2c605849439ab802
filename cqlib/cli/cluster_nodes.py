"""Joining a Ray cluster (extra `cluster`), and asking each of its nodes whether it can do what this machine can."""

import hashlib
import logging
import os
import signal
import socket
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cqlib.util import provenance
from cqlib.util.errors import UserError, cause_of, one_line
from cqlib.util.paths import ROOT

LOOPBACK = ("localhost", "127.0.0.1", "::1")
ANSWER = 60.0  # seconds that a node has to start its first process and answer


@contextmanager
def connected(address: str) -> Iterator[None]:
    """Inside, this process is a driver of the cluster at `address` ("HOST:PORT", or "auto" for one on this machine).
    UserError within some seconds where there is no cluster, or one of another version."""
    if address != "auto":
        host, _, port = address.rpartition(":")
        try:
            socket.create_connection((host, int(port)), timeout=5).close()
        except (OSError, UnicodeError) as error:  # UnicodeError: no host can have that name
            why = f"nothing answers there ({cause_of(error)})"
            raise UserError(f"--cluster {address}: {why}; ray start --head --port={port} starts a cluster") from error
        if host in LOOPBACK:  # or Ray replaces it by this machine's address in its network
            os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    # Ray tries to connect once, for some seconds, sends no usage reports, and prints no warning on GPUs.
    for name, value in (("RAY_py_gcs_connect_timeout_s", "5"), ("RAY_NUM_REDIS_GET_RETRIES", "1"),
                        ("RAY_USAGE_STATS_ENABLED", "0"), ("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")):  # fmt: skip
        os.environ.setdefault(name, value)
    try:
        import ray
    except ImportError as error:
        raise UserError("--cluster needs the extra `cluster`: pip install -e '.[cluster]'") from error
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.CRITICAL)
    except (RuntimeError, ConnectionError, ValueError, ray.exceptions.RayError) as error:
        ray.shutdown()
        why = one_line(error)[:300] or type(error).__name__
        raise UserError(f"--cluster {address}: no Ray cluster that this machine can join: {why}") from error
    finally:  # ray.init has replaced the signal handlers
        for number, handler in handlers.items():
            signal.signal(number, handler)
    try:
        yield
    finally:
        ray.shutdown()


def check_nodes(runs_dir: Path, others: Sequence[Path] = ()) -> None:
    """Raise UserError, one line, that names each node that does not answer, cannot write to the runs folder, does not
    see one of the `others`, or has another version of this package or of a library that its numbers depend on."""
    import ray

    runs_dir.mkdir(parents=True, exist_ok=True)
    problems = []
    with tempfile.NamedTemporaryFile(dir=runs_dir, prefix=".cluster-") as mark:
        nodes = {node["NodeID"]: node["NodeManagerAddress"] for node in ray.nodes() if node["Alive"]}
        question = (identity(), Path(mark.name), others)
        nodes_by_ref = {ray.remote(_look).options(**on(node)).remote(*question): name for node, name in nodes.items()}
        ray.wait(list(nodes_by_ref), num_returns=len(nodes_by_ref), timeout=ANSWER)
        for ref, name in nodes_by_ref.items():
            try:
                problem = ray.get(ref, timeout=0)
            except ray.exceptions.GetTimeoutError:
                problem = f"does not answer within {ANSWER:.0f} s"
            except ray.exceptions.RayError as error:
                problem = f"cannot run cqlib ({one_line(error)[-200:]}): install this repository and its packages there"
            problems += [f"node {name} {problem}"] if problem else []
    if problems:
        raise UserError(f"--cluster: {'; '.join(dict.fromkeys(problems))}")


def on(node: str) -> dict[str, Any]:
    """Ray's options for a task or actor that must run on this node (its id), without taking a core from the rows."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return {"num_cpus": 0, "scheduling_strategy": NodeAffinitySchedulingStrategy(node, soft=False)}


def _look(expected: dict[str, str], mark: Path, others: Sequence[Path]) -> str:
    """Runs on a node: what is wrong there, in words that follow the node's name; "" if nothing is."""
    installed = identity()
    for name, version in expected.items():
        if installed.get(name) != version:
            return f"has {name} {installed.get(name)}, this machine {version}: install the same there"
    if not mark.exists() or not os.access(mark.parent, os.W_OK):
        return f"does not see {mark.parent} to write to: put --runs-dir on a file system that all nodes share"
    unseen = [path for path in others if not path.exists()]
    return f"does not see {unseen[0]}: put it on a file system that all nodes share" if unseen else ""


def identity() -> dict[str, str]:
    """The versions of Python and of the libraries that numbers depend on; for "cqlib" a hash of this package's code."""
    digest = hashlib.sha256()
    for path in sorted((ROOT / "cqlib").rglob("*.py")):
        digest.update(path.read_bytes())
    return {**provenance.versions(), "cqlib": digest.hexdigest()[:12]}
