"""Rows on a Ray cluster of two nodes in this machine, bound to 127.0.0.1: results, stops, failures, a lost node."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from pathlib import Path

import psutil
import pytest

# Read when Ray is imported: 127.0.0.1 stays that, and nodes may take their time to start.
os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
for limit in ("RAY_py_gcs_connect_timeout_s", "RAY_raylet_start_wait_time_s"):
    os.environ.setdefault(limit, "600")
os.environ.setdefault("RAY_agent_register_timeout_ms", "600000")
ray = pytest.importorskip("ray", reason="the extra `cluster` is not installed")

from ray.cluster_utils import Cluster  # noqa: E402

from cqlib.suite.cli import cluster  # noqa: E402
from cqlib.suite.cli.tasks import Task, run_tasks  # noqa: E402
from cqlib.util.errors import UserError  # noqa: E402
from cqlib.util.stop import StopRequest  # noqa: E402

NODE = {"num_cpus": 1, "object_store_memory": 80_000_000, "node_ip_address": "127.0.0.1", "include_log_monitor": False}
WAITS = """
import os, sys, time
from pathlib import Path
name, marks = sys.argv[1:]
with open(f"{marks}/{name}.starts", "a") as file:
    file.write(f"{os.getpid()}\\n")
if name == "fails":
    sys.exit("no such file x.npz")
print("step 1 of 2", file=sys.stderr, flush=True)
while not Path(marks, "go").exists():
    time.sleep(0.05)
"""
"""A row that begins, and ends once there is a file `go`."""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def nodes():
    """The cluster: a head and another node, with a core each; this process is its driver."""
    if os.environ.get("CQLIB_TEST_CLUSTER") != "1":  # Ray has its own time limits, which a busy machine exceeds
        pytest.skip("starts a Ray cluster: set CQLIB_TEST_CLUSTER=1 on a machine that does nothing else")
    made = Cluster(initialize_head=True, head_node_args={**NODE, "include_dashboard": False, "no_monitor": True})
    made.add_node(**NODE)
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    with cluster.cluster_connection(made.address):
        assert before == {number: signal.getsignal(number) for number in before}
        yield made
    made.shutdown()


def task(name: str, folder: Path) -> Task:
    return Task(name, ("-c", WAITS, name, str(folder)), name)


def started(name: str, folder: Path) -> list[int]:
    """The processes in which a task was started."""
    file = folder / f"{name}.starts"
    return [int(line) for line in file.read_text().split()] if file.exists() else []


def when(condition, then) -> None:
    """Call `then` once `condition()`, in a thread."""

    def wait() -> None:
        while not condition():
            time.sleep(0.1)
        then()

    threading.Thread(target=wait, daemon=True).start()


def run(folder: Path, *names: str, stop: StopRequest | None = None) -> dict[str, tuple[str, str]]:
    tasks = [task(name, folder) for name in names]
    start = cluster.cluster_start(gpus=1.0)
    outcomes = run_tasks(tasks, start, cluster.cores(), stop=stop or StopRequest(), logs=folder / "logs")
    return {outcome.task.name: (outcome.status, outcome.message) for outcome in outcomes}


def test_no_cluster_is_one_line():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and nobody listens
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(UserError, match=f"--cluster {address}: nothing answers there.*ray start --head"):
            with cluster.cluster_connection(address):
                pass


def test_a_node_of_other_code_or_without_the_runs_folder_is_refused(tmp_path):
    log, stop = tmp_path / "a.log", tmp_path / "a.stop"
    with pytest.raises(UserError, match="does not see .*: put --runs-dir on a file system that all nodes share"):
        cluster._run((), {}, log, stop, cluster.versions())
    log.touch()
    with pytest.raises(UserError, match="has cqlib .*, not another: install the same there"):
        cluster._run((), {}, log, stop, {"cqlib": "another"})
    assert cluster._run(("-c", "import sys; sys.exit(3)"), {}, log, stop, cluster.versions()) == 3


def test_a_row_on_a_node_of_other_code_fails_and_says_why(nodes, tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, "versions", lambda: {"cqlib": "another"})
    status, message = run(tmp_path, "a")["a"]
    assert status == "failed" and "has cqlib" in message and "install the same there" in message


def test_a_stop_ends_rows_and_one_that_fails_says_why(nodes, tmp_path):
    stop = StopRequest()
    when(lambda: started("a", tmp_path) and started("b", tmp_path), lambda: setattr(stop, "requested", "SIGTERM"))
    outcomes = run(tmp_path, "fails", "a", "b", "c", stop=stop)
    status, message = outcomes.pop("fails")
    assert status == "failed" and message.startswith("no such file x.npz; see ")
    assert {status for status, _ in outcomes.values()} == {"stopped"} and not started("c", tmp_path)
    for name in ("a", "b"):
        assert not psutil.pid_exists(started(name, tmp_path)[0])


def test_the_rows_of_a_lost_node_go_on_elsewhere(nodes, tmp_path):
    """Last: one of the two nodes is gone after it."""
    (other,) = nodes.worker_nodes
    raylet = psutil.Process(other.all_processes["raylet"][0].process.pid)

    def kill() -> None:
        below = [raylet, *raylet.children(recursive=True)]
        for process in below:  # or one would tell of another's end
            process.suspend()
        for process in below:
            process.kill()
        (tmp_path / "go").touch()

    when(lambda: started("a", tmp_path) and started("b", tmp_path), kill)
    assert {status for status, _ in run(tmp_path, "a", "b").values()} == {"done"}
    assert sorted(len(started(name, tmp_path)) for name in ("a", "b")) == [1, 2]
