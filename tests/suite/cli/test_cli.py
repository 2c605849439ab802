"""The two command lines as a user meets them: exit codes, one line per error, nothing written for it."""

from __future__ import annotations

import csv
import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import fake_records
import numpy as np
import pytest
import torch
from PIL import Image

import cqlib
from cqlib import data
from cqlib.data import grids
from cqlib.data.sets import ENTRIES
from cqlib.metrics import evaluation
from cqlib.suite.cli import __main__ as program
from cqlib.suite.cli import commands as cli
from cqlib.suite.cli import options, run_all
from cqlib.suite.experiments.experiment import experiment
from cqlib.suite.experiments.record import write_record
from cqlib.suite.experiments.rows import DEVELOPMENT_DATA
from cqlib.util.errors import UsageError, UserError, one_line_errors
from cqlib.util.paths import PUBLISHED

ROOT = Path(__file__).parents[3]


def call(*command: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True)


def refused(capsys, *arguments: str, main=cli.main) -> tuple[int, str]:
    """Exit code and the line on stderr of a command that refuses."""
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    return stop.value.code, capsys.readouterr().err


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Path:
    """A fresh copy of the repository without an environment, as a stranger's clone is."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("cqlib", "tools", "notebooks"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("run_all.sh", "pyproject.toml"):
        shutil.copy2(ROOT / name, folder / name)
    return folder


WRONG = [
    (["--hlep"], "unknown option '--hlep': did you mean '--help'?"),
    (["--profile", "quik"], "unknown profile 'quik': did you mean 'quick'?"),
    (["--device", "gpu"], "--device: 'gpu' is not a device: write auto, cpu, cuda, cuda:1 or mps"),
    (["--only", "table1/vae,table1/vea"], "unknown name 'table1/vea': did you mean 'table1/vae'?"),
    (["--data", "photo10"], "unknown data set 'photo10': did you mean 'photos10'?"),
    (["--seeds", "1,x"], "--seeds: 'x' names no seeds: write 3, 0-4 or 0,3"),
    (["--seeds", "3000000000"], "--seeds: '3000000000' is not a whole number from 0 to 9999"),
    (["--jobs", "0"], "--jobs: '0' is not a whole number from 1"),
    (["--time-budget", "nan"], "--time-budget: 'nan' is not a number from 0.01"),
    (["--shard", "9/8"], "--shard: '9/8' is no part of several: write 1/8 to 8/8"),
    (["--shard", "1/2", "--no-train"], "--shard trains and renders nothing, --no-train the reverse"),
    (["--only", "table1/cq-f", "--no-train"], "--no-train runs notebooks, and --only table1/cq-f names rows alone"),
    (["--out", str(ROOT)], "holds files of the repository: name another folder"),
    (["--out", str(PUBLISHED)], "holds files of the repository: name another folder"),
    (["--out", f"{ROOT}/README.md/new/out"], f"--out: {ROOT}/README.md is a file: name a folder"),
]


def test_help_needs_no_environment(checkout):
    before = sorted(checkout.rglob("*"))
    told = call("bash", "run_all.sh", "--help", cwd=checkout, PYTHONPATH="", VIRTUAL_ENV="", CONDA_PREFIX="")
    assert told.returncode == 0 and "exit status: 0 all done" in told.stdout
    assert all(f"  {flag} " in told.stdout for flag in ("--profile", "--only", "--seeds", "--no-train", "--list"))
    assert sorted(checkout.rglob("*")) == before


def test_a_python_too_old_is_one_line(checkout, tmp_path):
    for name in ("python3", *(f"python3.{minor}" for minor in range(11, 16))):
        (tmp_path / name).write_text("#!/bin/sh\nexit 1\n")
        (tmp_path / name).chmod(0o755)
    done = call("bash", "run_all.sh", cwd=checkout, PATH=f"{tmp_path}:{os.environ['PATH']}", VIRTUAL_ENV="",
                CONDA_PREFIX="")  # fmt: skip
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and "Python 3.11" in done.stderr


def test_a_wrong_option_ends_before_anything_is_installed(checkout):
    done = call("bash", "run_all.sh", "--profile", "quik", cwd=checkout, VIRTUAL_ENV="", CONDA_PREFIX="")
    assert done.returncode == 2 and done.stderr == "run_all.sh: unknown profile 'quik': did you mean 'quick'?\n"
    assert not (checkout / ".venv").exists()


@pytest.mark.parametrize("packages", [False, True])
def test_a_listing_uses_the_environment_that_is_there_and_makes_none(checkout, tmp_path, packages):
    own = tmp_path / "python3"  # it installs nothing
    without = "" if packages else "-S"
    own.write_text(f"""#!/bin/sh
case "$*" in *"-m venv"* | *"-m pip"*) exit 1 ;; esac
exec "{sys.executable}" {without} "$@"
""")
    own.chmod(0o755)
    done = call("bash", "run_all.sh", "--list", cwd=checkout, PATH=f"{tmp_path}:/usr/bin:/bin", PYTHONPATH="",
                VIRTUAL_ENV="", CONDA_PREFIX="", OMP_NUM_THREADS="1")  # fmt: skip
    assert not (checkout / ".venv").exists()
    if packages:
        assert done.returncode == 0 and done.stderr == "" and "  table1/cq-f " in done.stdout
    else:
        assert done.returncode == 1 and done.stderr.count("\n") == 1 and "has no module" in done.stderr


MODULE = [
    ([], "required: COMMAND"),
    (["trian"], "unknown command 'trian': did you mean 'train'?"),
    (["list"], f"unknown command 'list': there are {', '.join(cli.LISTED)}\n"),
    (["publsh"], f"unknown command 'publsh': there are {', '.join(cli.LISTED)}\n"),
    (["train", "table1/vea"], "unknown row 'table1/vea': did you mean 'table1/vae'?"),
    (["train", "table1/vae", "--sed", "1"], "unknown option '--sed': did you mean '--seed'?"),
    (["sample", "table1/vae", "--out", "x.jpg"], "x.jpg' should end in .png"),
    (["sample", "table1/vea", "--out", "x.png"], "there is no folder "),
    (["sample", str(ROOT / "docs"), "--seed", "1", "--out", "x.png"], "docs is a folder: leave out seed"),
    (["fetch", "cifar10", "photos10"], "photos10 needs no download"),
    (["show", "table1/cq-f", "--set", "system.qualty_weight=2"], "did you mean 'system.quality_weight'?"),
    (["sample", "table1/vae", "--out", f"{ROOT}/README.md/x.png"], f"--out: {ROOT}/README.md is a file: name a folder"),
]


PROGRAMS = {"run_all.sh": (program.main, WRONG), "python -m cqlib": (cli.main, MODULE)}


@pytest.mark.parametrize(
    ("name", "arguments", "line"), [(name, *case) for name, (_, cases) in PROGRAMS.items() for case in cases]
)
def test_wrong_usage_is_one_line_and_writes_nothing(tmp_path, monkeypatch, capsys, name, arguments, line):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run_all, "reproduce", lambda _: pytest.fail("began"))  # it would write to these very folders
    monkeypatch.setattr(program, "interrupt_on_sigterm", lambda: None)
    code, error = refused(capsys, *arguments, main=PROGRAMS[name][0])
    assert code == 2 and error.startswith(f"{name}: ") and line in error and error.count("\n") == 1
    assert not list(tmp_path.iterdir())


NO_MEMORY = "there is not enough memory: free some, or run fewer rows at a time (--jobs); the run can be resumed"


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (UserError("x.npz is\ndamaged"), 1, "p: x.npz is damaged\n"),
        (UsageError("no"), 2, "p: no\n"),
        (KeyboardInterrupt(), 3, "p: stopped; run it again to resume\n"),
        (OSError(28, "No space left on device", "x.tmp"), 1, "p: x.tmp: No space left on device\n"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory:\nyou tried"), 1, f"p: {NO_MEMORY}\n"),
        (
            torch.OutOfMemoryError("CUDA out of memory"),
            1,
            "p: the GPU has not enough memory: free it, or --set training.batch_size to less; the run can be resumed\n",
        ),
    ],
)
def test_an_error_is_one_line_with_its_exit_code(error, code, line, capsys):
    with pytest.raises(SystemExit) as stop, one_line_errors("p"):
        raise error
    assert stop.value.code == code and capsys.readouterr().err == line


def test_a_bug_is_one_line_and_its_traceback_a_file(tmp_path, capsys):
    with pytest.raises(SystemExit) as stop, one_line_errors("p", tmp_path / "logs"):
        raise ZeroDivisionError("division by zero")
    (log,) = (tmp_path / "logs").iterdir()
    error = capsys.readouterr().err
    assert stop.value.code == 1 and error.count("\n") == 1 and str(log) in error and "Traceback" in log.read_text()


# --- commands on rows --------------------------------------------------------------------------------------------


def test_evaluate_does_not_train(tmp_path, monkeypatch, capsys):
    """Nor does it take weights of another version for the row's; the command that it advises has the same folder."""
    monkeypatch.setattr("cqlib.suite.cli.experiments._train", lambda *_: pytest.fail("it trains"))
    arguments = ("evaluate", "table1/vae", "--profile", "smoke", "--data", "photos10", "--runs-dir", str(tmp_path))
    stale = tmp_path / experiment("table1/vae", "smoke", "photos10").folder / "model.safetensors"
    stale.parent.mkdir()
    stale.write_bytes(b"of another version")
    code, line = refused(capsys, *arguments)
    command = f"python -m cqlib train table1/vae --profile smoke --data photos10 --seed 0 --runs-dir {tmp_path}"
    assert code == 1 and f"has not been trained in {stale.parent}" in line and line.endswith(f": {command}\n")
    monkeypatch.setattr("cqlib.suite.cli.experiments._train", lambda *_: 0)
    known = ("table1/vae", tmp_path)
    monkeypatch.setattr("cqlib.suite.experiments.load.is_trained", lambda e, runs_dir: (e.row, runs_dir) == known)
    assert cli.main(arguments) == 0


@pytest.mark.parametrize("status, told", [("done", "  finished, {:.3f} bpd"), ("diverged", "  diverged at step 3,000")])
def test_rows_tells_what_is_finished_and_what_diverged(tmp_path, capsys, status, told):
    e = experiment("table1/vae", "smoke")
    made = fake_records.record("table1/vae", profile="smoke")
    write_record(replace(made, config_hash=e.config_hash, status=status), tmp_path / e.folder, "record.json")
    assert cli.main(["rows", "--profile", "smoke", "--runs-dir", str(tmp_path)]) == 0
    states = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert states["table1/vae"].endswith(told.format(made.metrics["BPD"].value))
    assert states["table3/sngan"].endswith("  not run")


@pytest.mark.parametrize("by", ["save", "fit"])
def test_sample_draws_from_a_folder(tmp_path, by):
    """Of the model that is there; other images by another seed of the noise or at another temperature."""
    torch.manual_seed(1)
    images = torch.randint(256, (8, 1, 8, 8), dtype=torch.uint8)
    model = cqlib.VAE(8, 1).fit(images, steps=1, progress=False, device="cpu", folder=tmp_path if by == "fit" else None)
    if by == "save":
        model.save(tmp_path)
    pictures = []
    for seed, temperature in ((0, 1.0), (1, 1.0), (1, 0.5)):
        out = tmp_path / "new" / f"{seed}-{temperature}.png"
        noise = ["--draw-seed", str(seed), "--temperature", str(temperature)]
        assert cli.main(["sample", str(tmp_path), "--n", "4", *noise, "--out", str(out)]) == 0
        pictures.append(out.read_bytes())
        drawn = evaluation.draw_samples(model, 4, temperature=temperature, seed=seed)
        assert np.array_equal(np.asarray(Image.open(out)), grids.grid(drawn, columns=2, scale=4))
    assert len(set(pictures)) == 3


def test_commands_that_rewrite_what_is_published_are_not_listed(capsys):
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    names = {line.split()[0] for line in capsys.readouterr().out.splitlines() if line.strip()}
    assert {"sample", "report"} <= names and not {"publish", "readme"} & names


def test_every_command_has_help_whose_examples_are_commands(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "data").mkdir()
    for name, command in cli.COMMANDS.items():
        with pytest.raises(SystemExit) as stop:
            cli.main([name, "--help"])
        assert stop.value.code == 0 and f"{options.PROGRAM} {name}" in capsys.readouterr().out
        assert all(cli.parser().parse_args([name, *shlex.split(end)]) for end in command.examples)
    assert all(options.parse(shlex.split(line.removeprefix(options.RUN_ALL))) for line in options.EXAMPLES)


def test_all_records_are_one_table(tmp_path, monkeypatch, capsys):
    published = tmp_path / "published"
    monkeypatch.setattr("cqlib.suite.report.table.PUBLISHED", published)
    made = {"local": fake_records.record("table1/vae"), "published": fake_records.record("table1/gan", 3)}
    write_record(made["local"], tmp_path / "runs" / "one", "record.json")
    write_record(made["published"], published / "records", "two.json")
    for folder, seed in ((tmp_path / "runs", 100), (published, 101)):
        write_record(replace(made["local"], seed=seed), folder / "ablations")
    assert cli.main(["export", "--csv", str(tmp_path / "all.csv"), "--from", str(tmp_path / "runs")]) == 0
    with open(tmp_path / "all.csv", newline="") as file:
        lines = list(csv.DictReader(file))
    runs = {(line["origin"], line["seed"]) for line in lines}
    assert runs == {("local", "0"), ("local", "100"), ("published", "3"), ("published", "101")}
    for place, record in made.items():
        own = [line for line in lines if (line["origin"], line["seed"]) == (place, str(record.seed))]
        values = {line["metric"]: float(line["value"]) for line in own}
        assert values == {name: metric.value for name, metric in record.metrics.items()}


def test_doctor_names_every_file_and_its_place(tmp_path, capsys):
    place = tmp_path / "data"
    place.mkdir()
    arguments = ("doctor", "--runs-dir", str(tmp_path / "runs"), "--data-dir", str(place))
    done = call(sys.executable, "-m", "cqlib", *arguments, cwd=tmp_path, TORCH_HOME=str(tmp_path))
    assert done.returncode == 0 and not done.stderr and done.stdout.startswith("ready for ")
    weights = "weights-inception-2015-12-05-6726825d.pth"
    for word in ("device", DEVELOPMENT_DATA, "lite0", f"put there {weights} (95 MB", f"in {place}"):
        assert word in done.stdout
    for entry in ENTRIES.values():
        assert f"put {entry.sources} there" in done.stdout and entry.terms in done.stdout
    (place / weights).write_bytes(b"half of it")
    assert cli.main(arguments) == 0 and f"{place / weights} are not torch-fidelity's" in capsys.readouterr().out


def test_doctor_notices_another_project_of_this_import_name(tmp_path):
    """By what is installed: here a folder as an installer leaves it."""
    place = tmp_path / "site" / "cqlib-1.3.11.dist-info"
    place.mkdir(parents=True)
    (place / "METADATA").write_text("Metadata-Version: 2.1\nName: cqlib\nVersion: 1.3.11\n")
    (place / "RECORD").write_text("cqlib/circuits/__init__.py,,\ncqlib-1.3.11.dist-info/METADATA,,\n")
    command = (sys.executable, "-m", "cqlib", "doctor", "--runs-dir", str(tmp_path / "runs"))
    done = call(*command, cwd=tmp_path, PYTHONPATH=os.pathsep.join([str(ROOT), str(place.parent)]), CQLIB_DATA="")
    assert done.stdout.startswith("not ready: ") and "\n- another project, cqlib 1.3.11, " in done.stdout


# --- options -----------------------------------------------------------------------------------------------------


def test_seeds():
    assert options.seeds("3") == [3] and options.seeds("0-4") == [0, 1, 2, 3, 4] and options.seeds("0,3") == [0, 3]
    assert options.parse(["--seeds", "7-8,0,8"]).seeds == (7, 8, 0)
    assert options.parse([]).seeds == (0,)
    assert options.parse("--seeds 2 --seeds 7,2".split()).seeds == (2, 7)


def test_paths_become_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = options.parse(["--runs-dir", "a/../r", "--only", "all,table1/cq-f"])
    assert given.runs_dir == tmp_path / "r" and given.only == ("all", "table1/cq-f")
    assert given.out == ROOT / "reports" / "local"
    monkeypatch.setenv("CQLIB_DATA", "sets")  # kernels of notebooks have another working folder
    options.set_environment(given)
    monkeypatch.chdir("/")
    assert data.local_folder() == tmp_path / "sets"


def test_paths_of_data_become_absolute_unless_they_lie_in_the_data_folder(tmp_path, monkeypatch):
    here, there = tmp_path / "here", tmp_path / "there"
    for path in (here / "cats", here / "run:12", here / "a.npz", there / "a.npz"):
        path.mkdir(parents=True)  # nothing is read
    monkeypatch.chdir(here)
    monkeypatch.setenv("HOME", str(here))
    monkeypatch.delenv("CQLIB_DATA", raising=False)

    def sets(names: str, *more: str) -> tuple[str, ...]:
        return options.parse(["--data", names, *more]).data

    assert sets("photos10,tiny-imagenet:64,npz:a.npz,npz:none.npz") == (
        "photos10", "tiny-imagenet:64", f"npz:{here}/a.npz", "npz:none.npz",
    )  # fmt: skip
    assert sets("folder:cats,folder:../here/cats,folder:~/cats") == (f"folder:{here}/cats",)
    assert sets("folder:run:12,folder:run:12:32") == (f"folder:{here}/run:12", f"folder:{here}/run:12:32")
    assert sets("npz:a.npz,folder:cats", "--data-dir", "../there") == ("npz:a.npz", f"folder:{here}/cats")
