"""Rows on a Ray cluster of two nodes in this machine, bound to 127.0.0.1: results, stops, failures, a lost node."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import torch

os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")  # read when Ray is imported: 127.0.0.1 stays that
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_py_gcs_connect_timeout_s", "600")
ray = pytest.importorskip("ray", reason="the extra `cluster` is not installed")

from ray.cluster_utils import Cluster  # noqa: E402

from cqlib.cli import cluster, cluster_nodes, options, run_all  # noqa: E402
from cqlib.cli.tasks import Listener, Outcome, Task  # noqa: E402
from cqlib.experiments import run  # noqa: E402
from cqlib.experiments.experiment import experiment  # noqa: E402
from cqlib.recipe import Evaluation  # noqa: E402
from cqlib.report import page  # noqa: E402
from cqlib.util.errors import UserError  # noqa: E402
from cqlib.util.stop import StopRequest  # noqa: E402

NODE = {"num_cpus": 1, "object_store_memory": 80_000_000, "node_ip_address": "127.0.0.1", "include_log_monitor": False}
CHILD = """
import time
from cqlib.cli.tasks import send_message
from cqlib.util.errors import UserError
def main(what):
    send_message(progress=0.5)
    if what == "fails":
        raise UserError("no such file x.npz")
    if what.startswith("saves"):
        send_message(progress=0.7)
        try:
            time.sleep(60)
        except KeyboardInterrupt:
            send_message(message="saved")
            raise
"""
PAUSING = '''
"""A row whose training waits at step 10 until there is a file `go` in the folder `marks`."""
import os, time
from pathlib import Path
from cqlib.training import loop as training
from cqlib.cli import tasks
def main(argument):
    marks = Path(argument.pop("marks"))
    name, original = f"seed-{argument['e'].seed}", training.Loop.one_step
    first = []
    def one_step(self):
        if not first:
            first.append(self.step)
            with open(marks / f"{name}.starts", "a") as file:
                file.write(f"{self.step}\\n")
        if self.step == 10 and not (marks / "go").exists():
            self.save()
            (marks / f"{name}.waits").write_text(str(os.getpid()))
            while not (marks / "go").exists():
                time.sleep(0.05)
        return original(self)
    training.Loop.one_step = one_step
    tasks.train_row(argument)
'''


pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """Nodes may take their time to answer."""
    for module in (cluster, cluster_nodes):
        monkeypatch.setattr(module, "ANSWER", 600.0)


@pytest.fixture(scope="module")
def nodes():
    """The cluster: a head and another node, with a core each."""
    if os.environ.get("CQLIB_TEST_CLUSTER") != "1":  # Ray has its own time limits, which a busy machine exceeds
        pytest.skip("starts a Ray cluster: set CQLIB_TEST_CLUSTER=1 on a machine that does nothing else")
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    made = Cluster(initialize_head=True, head_node_args={**NODE, "include_dashboard": False, "no_monitor": True})
    made.add_node(**NODE)
    yield made
    made.shutdown()
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(scope="module")
def driver(nodes):
    """This process is a driver of the cluster. One connection for all tests that need none of their own, which come
    first: for each connection the nodes start processes anew, which import torch."""
    with cluster_nodes.connected(nodes.address):
        yield nodes


@pytest.fixture
def children(tmp_path, monkeypatch):
    """Modules that tasks can run: their folder is on the path of the nodes' children."""
    (tmp_path / "child.py").write_text(CHILD)
    (tmp_path / "pausing.py").write_text(PAUSING)
    monkeypatch.syspath_prepend(tmp_path)
    original = cluster._run

    def with_path(task, logs, board, environment):
        import multiprocessing

        from cqlib.cli import tasks

        sys.path.insert(0, str(tmp_path))
        tasks.prepare = lambda slot: multiprocessing.get_context("spawn")  # which imports no torch
        return original(task, logs, board, environment)

    monkeypatch.setattr(cluster, "_run", with_path)
    return tmp_path


def go(folder: Path, tasks: list[Task], stop: StopRequest | None = None, **more) -> dict[str, Outcome]:
    outcomes = cluster.run_tasks(tasks, stop=stop or StopRequest(), logs=folder / "logs", **more)
    assert sorted(o.task.name for o in outcomes) == sorted(task.name for task in tasks)
    return {outcome.task.name: outcome for outcome in outcomes}


def test_no_cluster_is_one_line():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and nobody listens
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"--cluster 127.0.0.1:{port}: nothing answers there.*ray start"):
            with cluster_nodes.connected(f"127.0.0.1:{port}"):
                pass


@pytest.mark.parametrize(("device", "gpus"), [("auto", 0.25), ("cpu", 0)])
def test_a_gpu_is_asked_for_where_a_node_has_one_and_it_is_wanted(monkeypatch, device, gpus):
    monkeypatch.setattr(ray, "nodes", lambda: [{"Alive": True, "Resources": {"CPU": 8, "memory": 2**40, "GPU": 1}}])
    monkeypatch.setenv("CQLIB_DEVICE", device)
    task = Task("a", "x:y", None, memory_bytes=5, gpus=0.25)
    assert cluster._resources(task) == {"num_cpus": 1, "num_gpus": gpus, "memory": 5}


def test_handlers_of_signals_stay_and_the_suite_chooses_the_cluster(nodes, children, monkeypatch, capsys):
    monkeypatch.setattr(run_all, "row_tasks", lambda *_: [Task("fine", "child:main", "fine")])
    monkeypatch.setattr(run_all, "run_tasks", lambda *_, **__: pytest.fail("ran here"))
    monkeypatch.setattr(page, "render", lambda out, **_: out / "index.html")  # which takes long
    chosen = options.parse(["--profile", "smoke", "--only", "table1/vae", "--cluster", nodes.address,
                            "--runs-dir", str(children / "runs"), "--out", str(children / "out")])  # fmt: skip
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    assert run_all.reproduce(chosen, StopRequest()) == 0
    assert before == {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    told = capsys.readouterr()
    assert "fine: done" in told.err and "ray" not in told.err.lower() and "index.html" in told.out


def test_nodes_are_asked_what_they_see_and_have(driver, tmp_path, monkeypatch):
    cluster_nodes.check_nodes(tmp_path / "runs", [tmp_path])
    assert list((tmp_path / "runs").iterdir()) == []
    with pytest.raises(UserError, match="node 127.0.0.1 does not see .*absent: put it on a file system that all"):
        cluster_nodes.check_nodes(tmp_path / "runs", [tmp_path / "absent"])
    monkeypatch.setattr(cluster_nodes, "identity", lambda: {"cqlib": "another"})
    with pytest.raises(UserError, match="has cqlib .*, this machine another: install the same there") as caught:
        cluster_nodes.check_nodes(tmp_path / "runs")
    assert "\n" not in str(caught.value)
    monkeypatch.undo()
    said = cluster_nodes._look(cluster_nodes.identity(), tmp_path / "elsewhere" / "mark", [])
    assert "does not see" in said and "put --runs-dir on a file system that all nodes share" in said


def test_failures_stops_and_what_no_node_has(driver, children):
    tasks = [Task(name, "child:main", name) for name in ("fine", "fails")]
    tasks.append(Task("large", "child:main", "fine", memory_bytes=2**50))
    outcomes = go(children, tasks)
    assert {name: outcome.status for name, outcome in outcomes.items()} == {
        "fine": "done", "fails": "failed", "large": "failed",
    }  # fmt: skip
    assert outcomes["fails"].message == "no such file x.npz"
    assert "no node of the cluster has 1 CPU, 1,125,900 GB of memory" in outcomes["large"].message


def test_a_stop_lets_rows_save_and_there_are_no_more_of_them_than_cores(driver, children):
    stop, began, saving = StopRequest(), set(), set()

    class Hears(Listener):
        def started(self, task, *, again=False):
            began.add(task.name)

        def progress(self, task, share):
            saving.update([task.name] if share == 0.7 else [])
            if len(saving) == 2:
                stop.requested = "stopped by SIGTERM"

    tasks = [Task(f"saves {k}", "child:main", f"saves {k}") for k in range(3)]
    outcomes = go(children, tasks, stop, listener=Hears())
    assert {outcome.status for outcome in outcomes.values()} == {"stopped"} and began == saving
    assert {name for name, outcome in outcomes.items() if outcome.message == "saved"} == saving


def test_a_lost_node_loses_no_row_and_results_are_those_of_one_process(driver, children):
    """Two rows train on a node each. One node dies at once with all its processes; its row goes on from its checkpoint
    on the other, and both end with the records of a run without any cluster."""
    tasks = []
    for seed in (0, 1):
        e = replace(experiment("table1/vae", "smoke", seed=seed), evaluation=Evaluation(8, 8, 2, 4))
        argument = {"e": e, "runs_dir": str(children / "runs"), "marks": str(children)}
        tasks.append(Task(f"seed-{seed}", "pausing:main", argument))
    (other,) = driver.worker_nodes
    raylet = psutil.Process(other.all_processes["raylet"][0].process.pid)
    lost, resumed = [], []

    class Hears(Listener):
        def started(self, task, *, again=False):
            resumed.extend([task.name] if again else [])

    def kill() -> None:
        waits = [children / f"{task.name}.waits" for task in tasks]
        while not all(path.exists() and path.read_text() for path in waits):
            time.sleep(0.1)
        below = [raylet, *raylet.children(recursive=True)]
        lost.extend(path.stem for path in waits if int(path.read_text()) in [process.pid for process in below])
        for process in below:  # or one would tell of another's end
            process.suspend()
        for process in below:
            process.kill()
        (children / "go").touch()

    threading.Thread(target=kill, daemon=True).start()
    outcomes = go(children, tasks, listener=Hears())
    assert {outcome.status for outcome in outcomes.values()} == {"done"}, outcomes
    (name,) = lost
    assert resumed == [name]
    for task in tasks:
        starts = (children / f"{task.name}.starts").read_text().split()
        assert starts == (["0", "10"] if task.name == name else ["0"])
    e = replace(e, seed=int(name[-1]))
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)  # as a node with one core does
        here = run.run_experiment(e, runs_dir=children / "here")
    finally:
        torch.set_num_threads(threads)
    there = run.finished_record(e, children / "runs")
    assert there.metrics["BPD"] == here.metrics["BPD"] and there.config_hash == here.config_hash
