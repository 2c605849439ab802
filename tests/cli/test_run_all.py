"""What run_all.sh does with its options: the plan, what is up to date, exit codes, and a whole smoke run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import fake_records
import nbformat
import pytest
import torch

from cqlib.cli import commands, costs, options, run_all, tasks
from cqlib.cli.tasks import Outcome
from cqlib.experiments import load, rows, run
from cqlib.experiments.experiment import experiment
from cqlib.experiments.rows import DEVELOPMENT_DATA, default_data
from cqlib.recipe import EVALUATION, Evaluation
from cqlib.report import page
from cqlib.util.errors import UsageError, UserError
from cqlib.util.stop import StopRequest

ROOT = Path(__file__).parent.parent.parent
TABLE1 = ("table1/vae", "table1/vae-f", "table1/cq", "table1/cq-f", "table1/gan")
PARAMETERS = 'profile = "quick"\ndata = []\nseeds = [0]\nruns_dir = "runs"\ndata_dir = None\nfeature_weights = None'


@pytest.fixture
def books(tmp_path, monkeypatch) -> Path:
    """Two notebooks that cost nothing."""
    folder = tmp_path / "notebooks"
    folder.mkdir()
    for name in ("table1_objectives", "figure_samples"):
        cell = nbformat.v4.new_code_cell(PARAMETERS)
        cell.metadata["tags"] = ["parameters"]
        nbformat.write(nbformat.v4.new_notebook(cells=[cell]), folder / f"{name}.ipynb")
    monkeypatch.setattr(rows, "ROOT", tmp_path)
    return folder


def chosen(tmp_path: Path, *arguments: str) -> options.Options:
    return options.parse([*arguments, "--runs-dir", str(tmp_path / "runs"), "--out", str(tmp_path / "out")])


def pairs(todo: run_all.Plan) -> list[tuple[str, str]]:
    return [(e.row, e.data) for e in todo.experiments]


@pytest.mark.parametrize(
    ("only", "rows", "files"),
    [
        ("", TABLE1, ("figure_samples", "table1_objectives")),
        ("table1", TABLE1, ("table1_objectives",)),
        ("table1_objectives", TABLE1, ("table1_objectives",)),
        ("figure_samples", ("table1/cq-f",), ("figure_samples",)),
        ("table1/cq-f", ("table1/cq-f",), ()),
        ("table2/cqf", ("table1/cq-f",), ()),
        ("table1/cq-f,table2/cqf,figure_samples", ("table1/cq-f",), ("figure_samples",)),
    ],
)
def test_plan(tmp_path, books, only, rows, files):
    todo = run_all.plan(chosen(tmp_path, *(["--only", only] if only else [])))
    assert pairs(todo) == [(row, DEVELOPMENT_DATA) for row in rows]
    assert sorted(file.stem for file in todo.notebooks) == sorted(files)


@pytest.mark.parametrize("only", ["explore", "01_two_kl_divergences", "figure_ablations", "figure_metrics"])
def test_a_wrong_change_is_refused_where_notebooks_alone_are_run(tmp_path, only):
    with pytest.raises(UsageError, match="unknown setting of table1/cq-f 'no.such'"):
        run_all.reproduce(chosen(tmp_path, "--only", only, "--profile", "smoke", "--set", "no.such=1"), StopRequest())
    assert not list(tmp_path.iterdir())


def test_what_is_chosen_by_name_is_not_changed_once_more(tmp_path):
    options = ("--only", "twice-the-steps,table1/cq-f", "--set")
    with pytest.raises(UsageError, match="training.steps: --only asks for table1/.* with training.steps=.* already"):
        run_all.plan(chosen(tmp_path, *options, "training.steps=3000"))
    assert run_all.plan(chosen(tmp_path, *options, "training.batch_size=32")).experiments


def test_plan_of_all_has_every_row_once(tmp_path, books):
    todo = run_all.plan(chosen(tmp_path, "--only", "all"))
    assert {(row, DEVELOPMENT_DATA) for row in TABLE1} <= set(pairs(todo)) and len(set(pairs(todo))) == len(pairs(todo))
    assert {file.stem for file in todo.notebooks} == {"table1_objectives", "figure_samples"}


def test_rows_times_seeds_the_longest_first(tmp_path, books):
    given = chosen(tmp_path, "--only", "table1", "--seeds", "0-1", "--profile", "smoke")
    made = run_all.row_tasks(given, run_all.pending(given, run_all.plan(given)).experiments)
    assert len(made) == 10
    assert [task.cost for task in made] == sorted((task.cost for task in made), reverse=True)
    assert made[0].argument["e"].cost == made[0].cost


def test_without_its_data_set_a_run_ends_at_once_in_one_line(tmp_path, books):
    given = chosen(tmp_path, "--only", "table1", "--profile", "smoke", "--data", f"folder:{tmp_path}/nowhere")
    with pytest.raises(UserError, match="nowhere does not exist") as caught:
        run_all.reproduce(given, StopRequest())
    assert "\n" not in str(caught.value) and str(caught.value).count("does not exist") == 1
    assert not (tmp_path / "runs").exists() and not (tmp_path / "out").exists()


def test_weights_that_do_not_fit_are_told_before_anything_begins(tmp_path, books, monkeypatch):
    monkeypatch.setattr(run_all, "work", lambda *_: pytest.fail("began"))
    (tmp_path / "mine.pth").write_bytes(b"half of the weights")
    weights = ("--feature-weights", str(tmp_path / "mine.pth"))
    with pytest.raises(UserError, match=r"mine\.pth do not fit inception"):
        run_all.reproduce(chosen(tmp_path, "--only", "table1/vae", "--profile", "smoke", *weights), StopRequest())
    assert not (tmp_path / "runs").exists() and not (tmp_path / "out").exists()


def test_one_data_set_that_is_absent_does_not_stop_the_others(tmp_path, books):
    given = chosen(tmp_path, "--only", "table1/vae,table1/gan", "--profile", "smoke",
                   "--data", f"photos10,folder:{tmp_path}/nowhere")  # fmt: skip
    found = run_all.pending(given, run_all.plan(given))
    assert [(e.row, e.data) for e in found.experiments] == [("table1/vae", "photos10"), ("table1/gan", "photos10")]
    (failure,) = found.absent
    assert failure.status == "failed" and "does not exist" in failure.message


def test_paper_rows_are_paired_with_the_data_of_their_table(tmp_path, books):
    todo = run_all.plan(chosen(tmp_path, "--only", "table1/vae", "--profile", "paper"))
    assert pairs(todo) == [("table1/vae", "cifar10")]
    assert default_data("table3/sngan", "paper") == ("cifar10", "stl10")
    assert default_data("table3/sngan", "study") == (DEVELOPMENT_DATA,)


def test_notebooks_get_every_option_that_is_theirs(tmp_path, books):
    options = ("--data", "photos10,npz:/a/cats.npz", "--seeds", "0-1", "--set", "training.steps=7")
    given = chosen(tmp_path, "--only", "table1", *options)
    (task,) = run_all.notebook_tasks(given, run_all.plan(given))
    assert task.argument.parameters == {
        "profile": "quick",
        "data": ["photos10", "npz:/a/cats.npz"],
        "seeds": [0, 1],
        "changes": {"training.steps": "7"},
        "runs_dir": str(tmp_path / "runs"),
        "data_dir": None,
        "feature_weights": None,
    }


def test_a_notebook_runs_again_when_an_ablation_has(tmp_path, books):
    given = chosen(tmp_path, "--only", "figure_samples")
    (job,) = (task.argument for task in run_all.notebook_tasks(given, run_all.plan(given)))
    before, run = job.inputs(), tmp_path / "runs" / "ablations" / "table1_cq--photos10--quick--100"
    run.mkdir(parents=True)
    (run / "record.json").write_text("{}")
    assert job.inputs() != before


def test_a_finished_run_on_published_images_is_finished_without_them_and_one_on_own_images_is_not(
    tmp_path, books, monkeypatch
):
    monkeypatch.setattr(run, "finished_record", lambda e, folder: "its record")
    monkeypatch.setattr(load, "load_data", lambda e, folder: None)
    given = chosen(tmp_path, "--only", "table1/vae", "--profile", "study", "--data", "tiny-imagenet:64,npz:cats.npz")
    left = run_all.pending(given, run_all.plan(given))
    assert left.finished == 1 and [e.data for e in left.experiments] == ["npz:cats.npz"]


def test_without_training_notebooks_are_all_that_runs_and_train_nothing_either(tmp_path, books):
    given = chosen(tmp_path, "--only", "table1", "--no-train")
    todo = run_all.plan(given)
    assert todo.experiments == () and [file.stem for file in todo.notebooks] == ["table1_objectives"]
    (task,) = run_all.notebook_tasks(given, todo)
    assert "train" not in task.argument.parameters  # it declares no such parameter
    trains = ROOT / "notebooks" / "table1_objectives.ipynb"
    (real,) = run_all.notebook_tasks(given, todo._replace(notebooks=(trains,)))
    assert real.argument.parameters == {**task.argument.parameters, "train": False}


def test_jobs_share_the_cores_and_take_turns_on_the_gpus(monkeypatch):
    monkeypatch.setattr(tasks, "cores", lambda: 7)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)

    def threads(jobs: int | None) -> list[str]:
        return [slot["OMP_NUM_THREADS"] for slot in tasks.slots(jobs)]

    assert threads(None) == ["1"] * 7 and threads(1) == ["7"] and threads(3) == ["2"] * 3 and threads(9) == ["1"] * 9
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert threads(None) == ["2"] * 7
    for none in ("0", "00", "", "two", "²"):
        monkeypatch.setenv("OMP_NUM_THREADS", none)
        assert threads(None) == ["1"] * 7
    monkeypatch.delenv("OMP_NUM_THREADS")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert [slot["CUDA_VISIBLE_DEVICES"] for slot in tasks.slots(None)] == ["0", "1"] and threads(None) == ["3", "3"]
    assert [slot["CUDA_VISIBLE_DEVICES"] for slot in tasks.slots(3)] == ["0", "1", "0"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,GPU-ab")
    assert [slot["CUDA_VISIBLE_DEVICES"] for slot in tasks.slots(4)] == ["5", "GPU-ab"] * 2
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0, 1,9")
    assert [slot["CUDA_VISIBLE_DEVICES"] for slot in tasks.slots(None)] == ["0", "1"]  # there are two


def test_a_listing_says_what_the_rows_of_the_command_take_and_runs_none(tmp_path, books, monkeypatch, capsys):
    monkeypatch.setattr(run_all, "work", lambda *_: pytest.fail("began"))
    monkeypatch.setattr(run_all, "pending", lambda *_: pytest.fail("data sets were loaded"))
    monkeypatch.setattr(costs, "known", lambda e, *_: costs.Cost(600, 2**30))
    arguments = ("--list", "--only", "table1/vae,table1/gan", "--profile", "smoke", "--seeds", "0-1", "--jobs", "4")
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        folders = ("--runs-dir", str(tmp_path / "runs"), "--out", str(tmp_path / "out"))
        assert run_all.main([*arguments, *folders]) == 0
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    lines = capsys.readouterr().out.splitlines()
    said = "about 10 min of training, 1,074 MB (estimated), 2 seeds"
    assert lines[2:] == [f"  table1/vae on {DEVELOPMENT_DATA}: {said}", f"  table1/gan on {DEVELOPMENT_DATA}: {said}",
                         "  in all about 10 min with 4 at a time"]  # fmt: skip
    assert not (tmp_path / "runs").exists() and not (tmp_path / "out").exists()


def test_rows_say_what_they_need_and_where_their_data_is(tmp_path, books, monkeypatch):
    monkeypatch.setenv("CQLIB_DATA", str(tmp_path))
    given = chosen(tmp_path, "--only", "table1/vae", "--profile", "smoke")
    (task,) = run_all.row_tasks(given, [experiment("table1/vae", "smoke")])
    assert task.memory_bytes == 2**30 and 0 < task.gpus < 1
    assert task.argument["data_dir"] == tmp_path
    read = [experiment("table1/vae", "smoke", data) for data in ("photos10", "npz:cats.npz")]
    assert run_all._files_read(read, given) == [tmp_path / "cats.npz"]
    for name in ("cifar10", "tiny-imagenet:64"):
        assert run_all._files_read([experiment("table1/vae", "smoke", name)], given) == [tmp_path]


@pytest.fixture
def rendered(monkeypatch) -> list[tuple[str, ...]]:
    """The failures that each report was to name; rendering it takes long."""
    found = []

    def render(out, *, failures, **_):
        found.append(tuple(failures))
        return out / "index.html"

    monkeypatch.setattr(page, "render", render)
    return found


@pytest.mark.parametrize(
    ("statuses", "code"),
    [((), 0), (("done",), 0), (("done", "failed"), 1), (("failed", "stopped"), 3), (("stopped",), 3)],
)
def test_exit_codes_and_the_report_names_what_failed(tmp_path, books, monkeypatch, capsys, rendered, statuses, code):
    def work(tasks, opts, stop):
        return [Outcome(task, status, "no luck", 1.0) for task, status in zip(tasks, statuses, strict=False)]

    monkeypatch.setattr(run_all, "work", work)
    given = chosen(tmp_path, "--only", "table1/vae,table1/cq,table1/gan", "--profile", "smoke")
    assert run_all.reproduce(given, StopRequest()) == code
    told = capsys.readouterr()
    assert told.out.splitlines()[-1] == f"report: {tmp_path / 'out' / 'index.html'}"
    assert ("run it again to resume" in told.err) == ("stopped" in statuses)
    assert ("1 failed; run it again to retry them; the logs are in" in told.err) == ("failed" in statuses)
    assert sum("no luck" in line for line in rendered[0]) == sum(status != "done" for status in statuses)


def test_the_time_budget_is_in_minutes(tmp_path, books, monkeypatch, rendered):
    stop = StopRequest()
    monkeypatch.setattr(run_all, "work", lambda *_: [])
    monkeypatch.setattr(run_all, "time", SimpleNamespace(monotonic=lambda: 1000.0))
    run_all.reproduce(chosen(tmp_path, "--only", "table1/vae", "--profile", "smoke", "--time-budget", "10"), stop)
    assert stop.deadline == 1600


def test_rows_run_on_the_cluster_and_notebooks_here(tmp_path, books, monkeypatch, rendered):
    seen = []
    monkeypatch.setattr(run_all.cluster_nodes, "connected", lambda address: nullcontext())
    monkeypatch.setattr(run_all.cluster_nodes, "check_nodes", lambda *_: None)
    monkeypatch.setattr(run_all, "work", lambda tasks, opts, stop: seen.append((len(tasks), opts.cluster)) or [])
    given = chosen(tmp_path, "--only", "table1_objectives", "--profile", "smoke", "--cluster", "auto")
    run_all.reproduce(given, StopRequest())
    assert seen == [(5, "auto"), (1, None)]


PROGRAM = """
import sys
from dataclasses import replace
from pathlib import Path
from cqlib.cli import run_all
from cqlib.recipe import EVALUATION, Evaluation
from cqlib.report import page
EVALUATION["smoke"] = Evaluation(8, 8, 2, 4)
page.PUBLISHED = Path("nothing is published")  # whose records take long to render
plain, mark = run_all.row_tasks, sys.argv.pop(1)
run_all.row_tasks = lambda *given: [
    replace(task, function="pausing:main", argument={**task.argument, "mark": mark}) for task in plain(*given)]
sys.exit(run_all.main())
"""
PAUSING = '''
"""A row whose training makes a file at step 10, unless it is there, and then waits for SIGTERM."""
import signal, time
from pathlib import Path
from cqlib.cli import tasks
from cqlib.training import loop
def main(argument):
    mark, original = Path(argument.pop("mark")), loop.Loop.one_step
    def one_step(self):
        if self.step == 10 and not mark.exists():
            heard, before = [], signal.getsignal(signal.SIGTERM)
            signal.signal(signal.SIGTERM, lambda *given: (heard.append(1), before(*given)))
            mark.touch()
            while not heard:
                time.sleep(0.01)
        return original(self)
    loop.Loop.one_step = one_step
    tasks.train_row(argument)
'''


@pytest.mark.slow
def test_stopped_and_taken_up_again_and_then_all_is_there(tmp_path, monkeypatch, rendered, capsys):
    """By SIGTERM in the middle of a training."""
    monkeypatch.setitem(EVALUATION, "smoke", Evaluation(8, 8, 2, 4))
    (tmp_path / "pausing.py").write_text(PAUSING)
    only, mark = ("--profile", "smoke", "--only", "table1/vae", "--jobs", "1"), tmp_path / "mark"
    command = [sys.executable, "-c", PROGRAM, str(mark), *only, "--runs-dir", str(tmp_path / "runs"),
               "--out", str(tmp_path / "out")]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{tmp_path}"}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not mark.exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate()
    assert process.returncode == 3 and "stopped: SIGTERM; run it again to resume" in err
    assert out == f"report: {tmp_path / 'out' / 'index.html'}\n"

    assert run_all.reproduce(chosen(tmp_path, *only), StopRequest()) == 0 and rendered == [()]
    (record,) = (tmp_path / "out" / "records").iterdir()
    assert record.name == f"table1_vae--{DEVELOPMENT_DATA}--smoke--0.json"
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("record.json")}
    assert "1 to run" in capsys.readouterr().err
    assert run_all.reproduce(chosen(tmp_path, *only), StopRequest()) == 0
    assert "1 finished before, 0 to run" in capsys.readouterr().err
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("record.json")}


def test_a_finished_row_is_measured_again_where_other_features_are_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr(run, "finished_record", lambda e, folder: "its record")
    monkeypatch.setattr(run, "has_scores", lambda record, on: on == "these")
    monkeypatch.setattr(load, "load_data", lambda e, folder: None)
    given = chosen(tmp_path, "--only", "table1/vae")
    plans = [run_all.pending(given, run_all.plan(given), on) for on in (None, "these", "others")]
    assert [(plan.finished, len(plan.experiments)) for plan in plans] == [(1, 0), (1, 0), (0, 1)]


def test_a_row_that_diverged_is_a_failure(tmp_path, monkeypatch):
    gone = fake_records.record("table1/vae", status="diverged", notes=["too many"])
    given = {}
    monkeypatch.setattr(run, "run_experiment", lambda *_, **options: given.update(options) or gone)
    with pytest.raises(UserError, match="diverged: too many"):
        tasks.train_row({})
    command = ["train", "table1/vae", "--profile", "smoke", "--runs-dir", str(tmp_path), "--time-budget", "2"]
    assert commands.main(command) == 1 and given["time_budget"] == 2
