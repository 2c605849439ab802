"""What run_all.sh does with its options: the plan, what is up to date, exit codes, and a whole smoke run."""

from __future__ import annotations

import os
import re
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

from cqlib.metrics.features import lite0
from cqlib.recipe import EVALUATION
from cqlib.suite.cli import __main__ as program
from cqlib.suite.cli import cluster, commands, options, run_all
from cqlib.suite.cli.notebooks import job_of
from cqlib.suite.cli.tasks import Outcome
from cqlib.suite.experiments import rows, run
from cqlib.suite.experiments.record import write_record
from cqlib.suite.experiments.rows import DEVELOPMENT_DATA, PROFILES, ROWS
from cqlib.suite.report import page
from cqlib.util.errors import UsageError, UserError
from cqlib.util.files import write_atomic

ROOT = Path(__file__).parents[3]
TABLE1 = ("table1/vae", "table1/vae-f", "table1/cq", "table1/cq-f", "table1/gan")
LITE0 = lite0(EVALUATION["smoke"].side)
PARAMETERS = """\
profile = "quick"
data = []
seeds = [0]
changes = {}
runs_dir = "runs"
data_dir = None
feature_weights = None"""


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
    experiments, notebooks = run_all.plan(chosen(tmp_path, *(["--only", only] if only else [])))
    assert [(e.row, e.data) for e in experiments] == [(row, DEVELOPMENT_DATA) for row in rows]
    assert sorted(file.stem for file in notebooks) == sorted(files)


@pytest.mark.parametrize("only", ["explore", "01_two_kl_divergences", "figure_ablations", "figure_metrics"])
def test_a_wrong_change_is_refused_where_notebooks_alone_are_run(tmp_path, only):
    with pytest.raises(UsageError, match="unknown setting of table1/cq-f 'no.such'"):
        run_all.reproduce(chosen(tmp_path, "--only", only, "--profile", "smoke", "--set", "no.such=1"))
    assert not list(tmp_path.iterdir())


def test_what_is_chosen_by_name_is_not_changed_once_more(tmp_path):
    options = ("--only", "twice-the-steps,table1/cq-f", "--set")
    with pytest.raises(UsageError, match="training.steps: --only asks for table1/.* with training.steps=.* already"):
        run_all.plan(chosen(tmp_path, *options, "training.steps=3000"))
    assert run_all.plan(chosen(tmp_path, *options, "training.batch_size=32"))[0]


def test_rows_times_seeds_the_longest_first(tmp_path, books):
    given = chosen(tmp_path, "--only", "table1", "--seeds", "0-1", "--profile", "smoke")
    costs = [task.cost for task in run_all.row_tasks(given, run_all.plan(given)[0])]
    assert len(costs) == 10 and costs == sorted(costs, reverse=True)


def test_without_its_data_set_a_run_ends_at_once_in_one_line(tmp_path, books):
    given = chosen(tmp_path, "--only", "table1", "--profile", "smoke", "--data", f"folder:{tmp_path}/nowhere")
    with pytest.raises(UserError, match="nowhere does not exist") as caught:
        run_all.reproduce(given)
    assert "\n" not in str(caught.value) and str(caught.value).count("does not exist") == 1
    assert not (tmp_path / "runs").exists() and not (tmp_path / "out").exists()


def test_one_data_set_that_is_absent_does_not_stop_the_others(tmp_path, books):
    given = chosen(tmp_path, "--only", "table1/vae,table1/gan", "--profile", "smoke",
                   "--data", f"photos10,folder:{tmp_path}/nowhere")  # fmt: skip
    to_run, _, (failure,) = run_all.pending_runs(given, run_all.plan(given)[0], LITE0)
    assert [(e.row, e.data) for e in to_run] == [("table1/vae", "photos10"), ("table1/gan", "photos10")]
    assert failure.status == "failed" and "does not exist" in failure.message


def test_notebooks_get_every_option_that_is_theirs(tmp_path, books):
    options = ("--data", "photos10,npz:/a/cats.npz", "--seeds", "0-1", "--set", "training.steps=7")
    given = chosen(tmp_path, "--only", "table1", *options)
    (task,) = run_all.notebook_tasks(given, run_all.plan(given)[1])
    assert job_of(task.arguments[-1]).parameters == {
        "profile": "quick",
        "data": ["photos10", "npz:/a/cats.npz"],
        "seeds": [0, 1],
        "changes": {"training.steps": "7"},
        "runs_dir": str(tmp_path / "runs"),
        "data_dir": None,
        "feature_weights": None,
    }


def test_a_notebook_gets_no_more_than_its_cell_of_parameters_names(tmp_path, books):
    for taken in ({"profile": "quick"}, {"seeds": [0], "train": True}, {}):
        source = "\n".join(f"{name} = {value!r}" for name, value in taken.items())
        cell = nbformat.v4.new_code_cell(source, metadata={"tags": ["parameters"]} if taken else {})
        nbformat.write(nbformat.v4.new_notebook(cells=[cell]), books / "table1_objectives.ipynb")
        given = chosen(tmp_path, "--only", "table1", "--no-train")
        experiments, notebooks = run_all.plan(given)
        (task,) = run_all.notebook_tasks(given, notebooks)
        assert experiments == []
        assert job_of(task.arguments[-1]).parameters == {**taken, **({"train": False} if "train" in taken else {})}


def test_notebooks_run_again_for_all_that_they_read(tmp_path, books):
    own = tmp_path / "own"
    own.mkdir()
    given = chosen(tmp_path, "--only", "table1", "--data", "photos10,npz:own/cats.npz:64", "--data-dir", str(tmp_path))
    (tmp_path / "own" / "cats.npz").write_bytes(b"")
    (task,) = run_all.notebook_tasks(given, run_all.plan(given)[1])
    files = job_of(task.arguments[-1]).files
    names = {file.relative_to(ROOT).as_posix() for file in files if file.is_relative_to(ROOT)}
    published = {f"reports/published/{name}" for name in ("models", "records", "samples", "read_by_eye.json")}
    assert names >= {"docs/pictures", *published} and own / "cats.npz" in files
    assert not any(name.endswith(("notebooks", ".html")) for name in names)


def test_a_row_is_finished_with_scores_on_these_features_unless_its_images_are_the_users_own(
    tmp_path, books, monkeypatch
):
    monkeypatch.setattr(run_all, "ended_record", lambda e, folder: SimpleNamespace(done=True))
    monkeypatch.setattr(run_all, "has_scores", lambda record, features: features == "these")
    monkeypatch.setattr(run_all, "load_data", lambda e, folder: None)
    given = chosen(tmp_path, "--only", "table1/vae", "--profile", "study", "--data", "tiny-imagenet:64,npz:cats.npz")
    left, others = (run_all.pending_runs(given, run_all.plan(given)[0], features) for features in ("these", "others"))
    assert left[1] == 1 and [e.data for e in left[0]] == ["npz:cats.npz"]
    assert others[1] == 0 and len(others[0]) == 2


def test_a_listing_names_what_options_take_and_the_time_and_runs_nothing(tmp_path, books, monkeypatch, capsys):
    monkeypatch.setattr(run_all, "reproduce", lambda *_: pytest.fail("began"))
    monkeypatch.setattr(program, "interrupt_on_sigterm", lambda: None)
    folders = ("--runs-dir", str(tmp_path / "runs"), "--out", str(tmp_path / "out"))
    assert program.main(["--list", "--only", "table1/vae", "--seeds", "0-1", *folders]) == 0
    lines = capsys.readouterr().out.splitlines()
    names = {line.split()[0] for line in lines if line.startswith("  ")}
    assert names >= {*ROWS, *PROFILES, "figure_samples", "photos10", "npz:PATH", "critic-sees-mean"}
    assert not any(name.startswith("toy2d") for name in names)
    assert any(line.startswith(f"  table1/vae on {DEVELOPMENT_DATA}: about ") for line in lines)
    assert not (tmp_path / "runs").exists() and not (tmp_path / "out").exists()


def test_a_row_s_task_is_the_command_that_trains_it(tmp_path, books, monkeypatch):
    monkeypatch.setenv("CQLIB_DATA", str(tmp_path))
    given = chosen(tmp_path, "--only", "table1/vae", "--profile", "smoke", "--set", "training.steps=7")
    (task,) = run_all.row_tasks(given, run_all.plan(given)[0])
    assert task.arguments == (
        "-m", "cqlib", "train", "table1/vae", "--profile", "smoke", "--data", DEVELOPMENT_DATA, "--seed", "0",
        "--set", "training.steps=7", "--runs-dir", str(tmp_path / "runs"), "--data-dir", str(tmp_path),
    )  # fmt: skip
    assert task.name == f"table1/vae training.steps=7 on {DEVELOPMENT_DATA}, seed 0"


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
    [(("done",), 0), (("done", "failed"), 1), (("failed", "stopped"), 3), (("stopped",), 3)],
)
def test_exit_codes_and_the_report_names_what_failed(tmp_path, books, monkeypatch, capsys, rendered, statuses, code):
    def run_tasks(tasks, start, jobs, *, stop, logs):
        return [Outcome(task, status, "no luck") for task, status in zip(tasks, statuses, strict=False)]

    monkeypatch.setattr(run_all, "run_tasks", run_tasks)
    given = chosen(tmp_path, "--only", "table1/vae,table1/cq,table1/gan", "--profile", "smoke")
    assert run_all.reproduce(given) == code
    told = capsys.readouterr()
    assert told.out.splitlines()[-1] == f"report: {tmp_path / 'out' / 'index.html'}"
    assert ("run it again to resume" in told.err) == ("stopped" in statuses)
    assert ("1 failed; run it again to retry them; the logs are in" in told.err) == ("failed" in statuses)
    assert sum("no luck" in line for line in rendered[0]) == sum(status != "done" for status in statuses)


def test_shards_are_the_whole_queue_once_whatever_is_finished_and_render_nothing(
    tmp_path, books, monkeypatch, capsys, rendered
):
    """Long and short runs are dealt out in turn."""
    common = ("--only", "table1", "--seeds", "0-2", "--profile", "smoke")
    queue = run_all.row_tasks(given := chosen(tmp_path, *common), run_all.plan(given)[0])
    ran = []
    monkeypatch.setattr(run_all, "run_tasks", lambda tasks, *_, **__: ran.append([task.name for task in tasks]) or [])
    for i in range(1, 5):
        assert run_all.reproduce(chosen(tmp_path, *common, "--shard", f"{i}/4")) == 0
        monkeypatch.setattr(run_all, "ended_record", lambda e, _: SimpleNamespace(done=True) if e.seed == 0 else None)
        monkeypatch.setattr(run_all, "has_scores", lambda *_: True)
    names = [task.name for task in queue]
    left = [[name for name in names[i::4] if i == 0 or not name.endswith("seed 0")] for i in range(4)]
    assert ran == left and len(names) == 15
    assert not rendered and not (tmp_path / "out").exists()
    assert capsys.readouterr().out.startswith(f"records: {tmp_path / 'runs'}")


def test_the_job_script_of_the_documents_asks_for_a_part_each(tmp_path):
    """It is run with a run_all.sh that prints its words."""
    (script,) = re.findall(r"```sh\n(#!/bin/bash\n#SBATCH.*?)```", (ROOT / "docs" / "clusters.md").read_text(), re.S)
    (tmp_path / "run_all.sh").write_text("printf '%s\\n' \"$@\"")
    (tmp_path / "run_all.sh").chmod(0o755)
    slurm = {"SLURM_SUBMIT_DIR": str(tmp_path), "SLURM_ARRAY_TASK_ID": "2", "SLURM_ARRAY_TASK_COUNT": "8"}
    words = subprocess.check_output(["bash", "-c", script], env={**os.environ, **slurm}, text=True).splitlines()
    assert options.parse(words).shard == (2, 8)


def test_the_records_beside_a_report_are_those_it_shows(tmp_path, books, rendered):
    kept = write_atomic(tmp_path / "out" / "records" / "notes.json", "{}")  # no record
    for seed, runs in enumerate(("runs", "others")):
        write_record(fake_records.record(seed=seed), tmp_path / runs / f"seed-{seed}", "record.json")
        given = options.parse(["--runs-dir", str(tmp_path / runs), "--out", str(tmp_path / "out")])
        run_all.report(given, ())
        assert {file.name for file in kept.parent.iterdir()} == {f"seed-{seed}.json", kept.name}


def test_the_time_budget_is_in_minutes(tmp_path, books, monkeypatch, rendered):
    stops = []
    monkeypatch.setattr(run_all, "run_tasks", lambda *_, stop, logs: stops.append(stop) or [])
    monkeypatch.setattr(run_all, "time", SimpleNamespace(monotonic=lambda: 1000.0))
    run_all.reproduce(chosen(tmp_path, "--only", "table1/vae", "--profile", "smoke", "--time-budget", "10"))
    assert [stop.deadline for stop in stops] == [1600]


def test_rows_run_on_the_cluster_and_notebooks_here(tmp_path, books, monkeypatch, rendered):
    seen = []
    monkeypatch.setattr(cluster, "cluster_connection", lambda address: nullcontext())
    monkeypatch.setattr(cluster, "cores", lambda: 7)
    monkeypatch.setattr(cluster, "cluster_start", lambda gpus: "there")
    monkeypatch.setattr(run_all, "local_start", lambda slots: "here")
    monkeypatch.setattr(run_all, "run_tasks", lambda tasks, start, *_, **__: seen.append((len(tasks), start)) or [])
    run_all.reproduce(chosen(tmp_path, "--only", "table1_objectives", "--profile", "smoke", "--cluster", "auto"))
    assert seen == [(5, "there"), (1, "here")]


@pytest.mark.slow
def test_stopped_and_taken_up_again_and_then_all_is_there(tmp_path, monkeypatch, rendered, capsys):
    """By SIGINT in the middle of a training."""
    only = ("--profile", "smoke", "--only", "table1/vae", "--jobs", "1", "--set", "training.steps=300")
    folders = ("--runs-dir", str(tmp_path / "runs"), "--out", str(tmp_path / "out"))
    command = [sys.executable, "-m", "cqlib.suite.cli", *only, *folders]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    logs = tmp_path / "runs" / "logs"
    while "step" not in "".join(log.read_text() for log in logs.glob("*.log")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()
    assert process.returncode == 3 and "stopped: SIGINT; run it again to resume" in err
    assert out == f"report: {tmp_path / 'out' / 'index.html'}\n"
    assert list((tmp_path / "runs").glob("*/training.checkpoint"))

    assert run_all.reproduce(chosen(tmp_path, *only)) == 0 and rendered == [()]
    assert "1 to run" in capsys.readouterr().err
    (record,) = (tmp_path / "out" / "records").iterdir()
    assert record.name.startswith(f"table1_vae--{DEVELOPMENT_DATA}--smoke--0")
    before = record.stat().st_mtime_ns, record.read_bytes()
    assert run_all.reproduce(chosen(tmp_path, *only)) == 0
    assert "1 finished before, 0 to run" in capsys.readouterr().err
    assert record.read_bytes() == before[1]


def test_a_row_that_diverged_is_a_failure(tmp_path, monkeypatch, capsys):
    gone = fake_records.record("table1/vae", status="diverged", notes=["too many"])
    given = {}
    monkeypatch.setattr(run, "run_experiment", lambda *_, **options: given.update(options) or gone)
    command = ["train", "table1/vae", "--profile", "smoke", "--runs-dir", str(tmp_path), "--time-budget", "2"]
    with pytest.raises(SystemExit) as stop:
        commands.main(command)
    assert stop.value.code == 1 and given["time_budget"] == 2
    error = capsys.readouterr().err
    assert "python -m cqlib: diverged at step 3,000" in error and "another seed" not in error
