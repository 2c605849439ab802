"""Faults of whole commands: copies at once, and signals to notebooks, their kernels and run_all.sh."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import nbformat
import psutil
from fault_ground import Fault, Ground
from fault_run import NAME, TESTS, Run, ended, result, start, strike

from cqlib.cli import notebooks

ROOT = TESTS.parent.parent
ROW, SLUG = "table1/vae", "table1_vae--photos10--smoke--0"
CHILD = f"""
import sys
from pathlib import Path
sys.path.insert(0, {str(TESTS)!r})
from fault_commands import notebook_job
from cqlib.cli import tasks
from cqlib.util.stop import interrupt_on_sigterm
interrupt_on_sigterm()
tasks.send_message = lambda **message: print(__import__("json").dumps(message), flush=True)
sys.exit(tasks.attempt(tasks.Task("figure_x", "cqlib.cli.notebooks:execute", notebook_job(Path(sys.argv[1])))))
"""
CELL = f"""
from cqlib.experiments import run
from cqlib.recipe import EVALUATION, Evaluation
EVALUATION["smoke"] = Evaluation(8, 8, 2, 4)
print(run.run("table1/gan", profile="smoke", runs_dir=runs_dir, checkpoint_seconds=0).status, {NAME!r})
"""
BY_SIGNAL = {"SIGKILL": signal.SIGKILL, "SIGTERM": signal.SIGTERM, "SIGINT": signal.SIGINT}


def begin(*command: str) -> subprocess.Popen:
    """A command with its output caught."""
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    prefix = {"VIRTUAL_ENV": sys.prefix, "PATH": f"{sys.prefix}/bin{os.pathsep}{os.environ['PATH']}"}
    environment = {**os.environ, **prefix, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def until(ready: Callable[[], Any], process: subprocess.Popen) -> None:
    """Wait until something is there or the process has ended."""
    while not ready() and process.poll() is None:
        time.sleep(0.01)


# --- copies ----------------------------------------------------------------------------------------------------


def copies(number: int, killed: bool = False):
    """The same training so often at once; perhaps the one that trains is killed, and another takes over."""

    def trial(ground: Ground, rng: random.Random) -> str:
        runs = ground.fresh()
        run = Run(runs)
        first = strike(run, ground.moments, rng, signal.SIGKILL, ["training", "measuring"]) if killed else run
        with ExitStack() as stack:
            notes = [Path(stack.enter_context(tempfile.TemporaryDirectory())) for _ in range(number)]
            processes = [start(first, notes[0])]
            if killed:  # the one that is to die comes first
                while not (runs / NAME / "experiment.json").exists():
                    time.sleep(0.01)
            processes += [start(run, note) for note in notes[1:]]
            ends = [ended(processes[0], first, notes[0])]
            ends += [ended(process, run, note) for process, note in zip(processes[1:], notes[1:], strict=True)]
        rest = ends[killed:]
        assert all(end.code == 0 for end in rest), [end.said for end in rest]
        trained = [end for end in rest if "step 30 of 30" in end.said]
        waited = [end for end in rest if "waiting for process" in end.said]
        assert len(trained) <= 1 and len(waited) >= len(rest) - 1, [end.said for end in rest]
        assert not killed or any("taken over from process" in end.said for end in rest), [end.said for end in rest]
        ground.finishes(runs)
        return "one taken over, the others shared its result" if killed else "one trained, the others shared its result"

    return trial


def reports(number: int):
    """run_all.sh so often at once: one report."""

    def trial(ground: Ground, rng: random.Random) -> str:
        folder = Path(tempfile.mkdtemp(dir=ground.root))
        all_of_them = [_run_all(folder, "figure_samples") for _ in range(number)]
        ends = [process.communicate(timeout=1200) for process in all_of_them]
        assert [process.returncode for process in all_of_them] == [0] * number, ends
        assert len({out for out, _ in ends}) == 1, ends
        pages = list((folder / "out").glob("*.html")), list((folder / "out" / "notebooks").iterdir())
        assert [len(found) for found in pages] == [1, 2], pages
        said = "".join(err for _, err in ends)
        assert len(re.findall("waiting for process", said)) >= 1, said
        return "one report"

    return trial


# --- run_all.sh ------------------------------------------------------------------------------------------------


def _run_all(folder: Path, only: str = ROW) -> subprocess.Popen:
    where = ("--runs-dir", str(folder / "runs"), "--out", str(folder / "out"))
    return begin("bash", str(ROOT / "run_all.sh"), "--profile", "smoke", "--only", only, "--jobs", "1", *where)


def run_all(number: int):
    """A signal after the coming of one of the files of the run; then the same command once more."""

    def trial(ground: Ground, rng: random.Random) -> str:
        folder = Path(tempfile.mkdtemp(dir=ground.root))
        place = folder / "runs" / SLUG
        mark = rng.choice([None, "experiment.json", "training.checkpoint", "model.safetensors", "record.json"])
        process = _run_all(folder)
        until(lambda: mark is None or (place / mark).exists(), process)
        time.sleep(rng.uniform(0, 1))
        before = (place / "record.json").read_bytes() if (place / "record.json").exists() else None
        process.send_signal(number)
        out, err = process.communicate(timeout=600)
        # 0: it had come to its end; not 3: bash had not handed over to Python yet
        early = mark is None and process.returncode == -number
        assert process.returncode in ((0, -9) if number == signal.SIGKILL else (0, 3)) or early, (out, err)
        assert "Traceback" not in err, err
        if process.returncode == 3 and out:
            assert "run it again to resume" in err, err
        out, err = (again := _run_all(folder)).communicate(timeout=600)
        assert again.returncode == 0 and (folder / "out" / "index.html").exists(), err
        assert before in (None, (place / "record.json").read_bytes()), "a finished row was lost"
        wanted = ground.__dict__.setdefault("suite", result(folder / "runs", SLUG))
        assert result(folder / "runs", SLUG) == wanted, "another result"
        return "went on, same result"

    return trial


# --- notebooks -------------------------------------------------------------------------------------------------


def notebook_job(folder: Path) -> notebooks.Job:
    """The notebook in `folder`, written when it is not there."""
    runs, out = folder / "runs", folder / "out" / "notebooks" / "figure_x"
    job = notebooks.Job(folder / "figure_x.ipynb", {"runs_dir": str(runs)}, out, (runs,))
    if job.source.exists():
        return job
    parameters = nbformat.v4.new_code_cell('runs_dir = ""')
    parameters.metadata["tags"] = ["parameters"]
    book = nbformat.v4.new_notebook(cells=[parameters, nbformat.v4.new_code_cell(CELL)])
    nbformat.write(book, job.source)
    return job


def notebook(whom: str, number: int):
    """A signal to the process that runs a notebook, or to its kernel, at a file of the run that the notebook makes."""

    def trial(ground: Ground, rng: random.Random) -> str:
        folder = Path(tempfile.mkdtemp(dir=ground.root))
        job, place = notebook_job(folder), folder / "runs" / NAME
        command = (sys.executable, "-c", CHILD, str(folder))
        marks = ["experiment.json", "model.safetensors", "encoder.safetensors", "samples_T1.png"]
        mark = rng.choice(marks if whom == "kernel" else [None, *marks])
        process = begin(*command)
        until(lambda: mark is None or (place / mark).exists(), process)
        time.sleep(rng.uniform(0, 1.0 if mark is None else 0.3))
        kernels = psutil.Process(process.pid).children() if process.poll() is None else []
        if whom == "notebook":
            process.send_signal(number)
        elif kernels:
            kernels[0].send_signal(number)
        out, err = process.communicate(timeout=300)
        _, alive = psutil.wait_procs(kernels, timeout=20)
        assert not alive, "the kernel lives on"
        _said(process.returncode, out, whom, number, mark)
        assert process.returncode == 0 or not job.done()
        for _ in range(2):  # the record that the notebook itself writes is among what it reads: done is the one after
            again = begin(*command)
            out, err = again.communicate(timeout=300)
            assert again.returncode == 0, (out, err)
        assert job.done()
        assert result(folder / "runs") == ground.wanted, "another result"
        return "went on, same result"

    return trial


def _said(code: int, out: str, whom: str, number: int, mark: str | None) -> None:
    """What the process that runs a notebook says and returns after a signal to it or to its kernel."""
    if code in (0, -number) and (whom == "notebook" or code == 0):  # too late; or before Python listened, or SIGKILL
        assert code == 0 or number == signal.SIGKILL or mark is None
        return
    assert code == (3 if whom == "notebook" else 1), (code, out)
    if whom == "kernel":
        message = json.loads(out.splitlines()[-1])["message"]
        assert message.startswith("figure_x.ipynb: ") and "\n" not in message, message


HALF = "the last checkpoint, every finished row"
GOES_ON = "run it again to resume"
FAULTS = {
    **{f"{number} copies": Fault("one trains", "for whom the others wait", "0", copies(number)) for number in (2, 4)},
    "2 copies, the first killed": Fault("the last checkpoint", "from whom it was taken over", "0", copies(2, True)),
    "4 copies of run_all.sh": Fault("one report", "for whom the others wait", "0", reports(4)),
    **{f"{name} to run_all.sh": Fault(HALF, "nothing" if name == "SIGKILL" else GOES_ON,
                                      "-9" if name == "SIGKILL" else "3", run_all(number))
       for name, number in BY_SIGNAL.items()},
    **{f"{name} to a notebook": Fault(HALF, "nothing", "-9" if name == "SIGKILL" else "3", notebook("notebook", number))
       for name, number in BY_SIGNAL.items()},
    **{f"{name} to a kernel": Fault(HALF, "which notebook, and how it ended", "1", notebook("kernel", number))
       for name, number in BY_SIGNAL.items()},
}  # fmt: skip
