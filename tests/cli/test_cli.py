"""The two command lines as a user meets them: exit codes, one line per error, nothing written for it."""

from __future__ import annotations

import argparse
import csv
import os
import shlex
import shutil
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import fake_records
import numpy as np
import pytest
import torch
from PIL import Image

import cqlib
from cqlib import data
from cqlib.cli import commands as cli
from cqlib.cli import costs, doctor, options, run_all
from cqlib.data import grids as images
from cqlib.data.sets import ENTRIES
from cqlib.experiments import load, run
from cqlib.experiments.experiment import experiment
from cqlib.experiments.record import write_record
from cqlib.experiments.rows import PROFILES, ROWS, notebooks
from cqlib.metrics import evaluation
from cqlib.util.errors import UsageError, UserError, one_line_errors
from cqlib.util.files import write_atomic

ROOT = Path(__file__).parent.parent.parent


def call(*command: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Path:
    """A fresh copy of the repository without an environment, as a stranger's clone is."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("cqlib", "tools", "notebooks"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("run_all.sh", "pyproject.toml"):
        shutil.copy2(ROOT / name, folder / name)
    return folder


def test_ctrl_c_while_modules_are_imported_leaves_no_traceback(tmp_path):
    """Before a command listens; other errors are told as ever."""
    ends = {"raise KeyboardInterrupt": "stopped before anything began; run it again",
            "1 / 0": "ZeroDivisionError: division by zero"}  # fmt: skip
    for code, line in ends.items():
        done = call(sys.executable, "-c", f"import cqlib.cli\n{code}", cwd=tmp_path)
        assert done.returncode and done.stderr.splitlines()[-1] == line
        assert ("Traceback" in done.stderr) == ("Zero" in line)


WRONG = [
    (["--hlep"], "unknown option '--hlep': did you mean '--help'?"),
    (["--profile", "quik"], "unknown profile 'quik': did you mean 'quick'?"),
    (["--prof", "quick"], "unknown option '--prof': did you mean '--profile'?"),
    (["--only", "table1/vae,table1/vea"], "unknown name 'table1/vea': did you mean 'table1/vae'?"),
    (["--profile", "x"], "unknown profile 'x': there are smoke, quick, study, paper"),
    (["--only", "zzz"], "unknown name 'zzz': there are all, 01_two_kl_divergences, "),
    (["--data", "photo10"], "unknown data set 'photo10': did you mean 'photos10'?"),
    (["--data", "npz:"], "npz:PATH"),
    (["--seeds"], "--seeds: expected one argument"),
    (["--seeds", "0"], "--seeds: '0' is not a whole number from 1 to 1000"),
    (["--seeds", "1,x"], "--seeds: 'x' is not a whole number"),
    (["--jobs", "0"], "--jobs: '0' is not a whole number from 1"),
    (["--jobs", "-1"], "--jobs: '-1' is not a whole number from 1"),
    (["--time-budget", "nan"], "--time-budget: 'nan' is not a number from 0.01"),
    (["--only", ","], "--only: the list is empty"),
    (["--seeds", "0-x"], "--seeds: 'x' is not a whole number"),
    (["--seeds", "4-0"], "--seeds: '0' is not a whole number from 4 to 1003"),
    (["--seeds", "2147483647-2147483650"], "'2147483650' is not a whole number from 2147483647 to 2147483647"),
    (["--device", "gpu"], "--device: 'gpu' is not a device: auto, cpu, cuda, cuda:1, … or mps"),
    (["--cluster", "ray://x"], "--cluster: 'ray://x' is not an address: write HOST:PORT, or auto"),
    (["table1"], "unexpected argument 'table1'"),
    (["--seeds", "-1"], "--seeds: '-1' is no list of seeds: 5 or 0-4, 0,3, or 7,"),
    (["--seeds", "0-"], "--seeds: '0-' is no list of seeds"),
    (["--seeds", "1,0-4-5"], "--seeds: '1,0-4-5' is no list of seeds"),
    (["--data", "photos10,npz:/a,b.npz"], "a path with a comma cannot stand here: rename it, or use python -m cqlib"),
    (["--data", "toy2d,npz:/a"], "data set 'toy2d' holds points of the plane, and row 'table1/"),
    (["--only", "ablations", "--profile", "study"], "ablations: changes the recipes of --profile quick, not of study"),
    (["--only", "long-runs"], "long-runs: changes the recipes of --profile study, not of quick"),
    (["--only", "table1/cq-f,lambda-25", "--no-train"], "--no-train runs notebooks, and --only table1/cq-f,lambda-25 "
                                                        "names rows alone"),
    (["--runs-dir", "run_all.sh/x/y"], "run_all.sh is a file where a folder is needed: name another"),
    (["--out", str(ROOT)], "holds the notebooks themselves: name another folder"),
    (["--out", "run_all.sh"], "--out: "),
]


@pytest.mark.parametrize(("arguments", "line"), WRONG, ids=[" ".join(a) for a, _ in WRONG])
def test_wrong_usage_is_one_line(checkout, monkeypatch, capsys, arguments, line):
    monkeypatch.chdir(checkout)
    code, error = refused(capsys, *arguments, main=options.main)
    assert code == 2 and error.startswith("run_all.sh: ") and line in error and error.count("\n") == 1


def test_wrong_usage_writes_nothing(checkout):
    before = sorted(checkout.rglob("*"))
    for arguments, line in (WRONG[0], WRONG[-1]):
        done = call("bash", "run_all.sh", *arguments, cwd=checkout, PYTHONPATH="")
        assert done.returncode == 2 and done.stdout == "" and done.stderr.count("\n") == 1 and line in done.stderr
    assert sorted(checkout.rglob("*")) == before


def test_a_missing_file_is_one_line_and_exit_1(checkout):
    done = call("bash", "run_all.sh", "--feature-weights", "no/such.pth", cwd=checkout)
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and "no/such.pth" in done.stderr


def test_help_and_list_need_no_environment(checkout):
    before = sorted(checkout.rglob("*"))
    above, script = checkout.parent, f"{checkout.name}/run_all.sh"  # by $CDPATH, `cd` would print where it goes
    told = call("bash", script, "--help", cwd=above, PYTHONPATH="", CDPATH=str(above))
    assert told.returncode == 0
    for option in options.RUN_ALL:
        assert f"  {option} " in told.stdout
    listed = call("bash", "run_all.sh", "--list", cwd=checkout, PYTHONPATH="", VIRTUAL_ENV="", CONDA_PREFIX="")
    assert listed.returncode == 0 and "once there is an environment" in listed.stderr
    names = {line.split()[0] for line in listed.stdout.splitlines() if line.startswith("  ")}
    assert names >= {*ROWS, *PROFILES, *notebooks(), "photos10", "npz:PATH"}
    assert sorted(checkout.rglob("*")) == before


def test_a_path_that_python_cannot_have_is_one_line(checkout, tmp_path):
    (tmp_path / "a:b").symlink_to(checkout)
    done = call("bash", "a:b/run_all.sh", "--help", cwd=tmp_path)
    assert done.returncode == 1 and done.stdout == ""
    why = "Python has no environment in a folder with ':' in its path: move the repository"
    assert done.stderr == f"{tmp_path}/a:b: {why}\n"


def test_a_python_too_old_is_one_line(checkout, tmp_path):
    for name in ("python3", *(f"python3.{minor}" for minor in range(11, 16))):
        (tmp_path / name).write_text("#!/bin/sh\nexit 1\n")
        (tmp_path / name).chmod(0o755)
    done = call("bash", "run_all.sh", cwd=checkout, PATH=f"{tmp_path}:{os.environ['PATH']}", VIRTUAL_ENV="",
                CONDA_PREFIX="")  # fmt: skip
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and "Python 3.11" in done.stderr


MODULE = [
    ([], "required: COMMAND"),
    (["trian"], "unknown command 'trian': did you mean 'train'?"),
    (["train"], "required: ROW"),
    (["train", "table1/vea"], "unknown row 'table1/vea': did you mean 'table1/vae'?"),
    (["train", "table1/vae", "--sed", "1"], "unknown option '--sed': did you mean '--seed'?"),
    (["train", "table1/vae", "--seed", "-1"], "--seed: '-1' is not a whole number"),
    (["sample", "table1/vae", "--out", "x.jpg"], "x.jpg' should end in .png"),
    (["sample", "table1/vae", "--out", "x.png", "--n", "0"], "--n: '0' is not a whole number from 1"),
    (["sample", "table1/vae", "--out", "x.png", "--n", "10001"], "--n: '10001' is not a whole number from 1 to 10000"),
    (["sample", "table1/vae", "--out", "x.png", "--temperature", "-1"], "not a number from 0 to 2"),
    (["fetch", "cifar1"], "unknown data set 'cifar1': did you mean 'cifar10'?"),
    (["fetch", "cifar10", "photos10"], "photos10 needs no download"),
    (["fetch", "folder:cats"], "folder:cats needs no download"),
    (["sample", "table1/vae", "--out", f"{__file__}/x.png"], f"{__file__} is a file where a folder is needed"),
    (["verify", "--json", str(Path(__file__).parent)], f"{Path(__file__).parent} is a folder"),
    (["card", "table1/vae", __file__], f"DIR: {__file__} is a file where a folder is needed: name another"),
    (["show", "table1/cq-f", "--set", "system.qualty_weight=2"], "did you mean 'system.quality_weight'?"),
]


@pytest.mark.parametrize(("arguments", "line"), MODULE, ids=[" ".join(a) or "none" for a, _ in MODULE])
def test_a_command_refuses_in_one_line(tmp_path, monkeypatch, capsys, arguments, line):
    monkeypatch.chdir(tmp_path)
    code, error = refused(capsys, *arguments)
    assert code == 2 and error.startswith("python -m cqlib: ") and line in error and error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_python_m_cqlib_refuses_in_one_line(tmp_path):
    done = call(sys.executable, "-m", "cqlib", *MODULE[1][0], cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1) and MODULE[1][1] in done.stderr


def refused(capsys, *arguments: str, main=cli.main) -> tuple[int, str]:
    """Exit code and the line on stderr of a command that refuses."""
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    return stop.value.code, capsys.readouterr().err


@pytest.mark.slow
def test_evaluate_does_not_train(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("cqlib.cli.experiments._train", lambda *_: pytest.fail("it trains"))
    arguments = ("evaluate", "table1/vae", "--profile", "smoke", "--runs-dir", str(tmp_path))
    stale = tmp_path / experiment("table1/vae", "smoke").folder / "model.safetensors"
    stale.parent.mkdir()
    stale.write_bytes(b"of another version")
    code, line = refused(capsys, *arguments)
    assert code == 1 and f"table1/vae has not been trained in {stale.parent}" in line
    command = f"python -m cqlib train --runs-dir {tmp_path} table1/vae --profile smoke --data photos10 --seed 0"
    assert line.endswith(f": {command}\n")
    monkeypatch.setattr("cqlib.cli.experiments._train", lambda *_: 0)
    known = ("table1/vae", tmp_path)
    monkeypatch.setattr("cqlib.experiments.load.is_trained", lambda e, runs_dir: (e.row, runs_dir) == known)
    assert cli.main(arguments) == 0


def test_the_command_that_is_advised_has_the_folders_of_the_refused_one(tmp_path, monkeypatch, capsys):
    row, command = ("table1/vae", "--profile", "smoke"), "table1/vae --profile smoke --data photos10 --seed 0"
    monkeypatch.setitem(options.OPTIONS["--runs-dir"], "default", tmp_path)
    monkeypatch.setattr("cqlib.experiments.load.fetch_published", lambda *_: False)
    picture = ("--out", str(tmp_path / "x.png"))
    assert refused(capsys, "sample", *row, *picture)[1].endswith(f": python -m cqlib train {command}\n")
    runs, sets = tmp_path / "my runs", tmp_path / "sets"
    line = refused(capsys, "sample", *row, *picture, "--runs-dir", str(runs))[1]
    assert line.endswith(f": python -m cqlib train --runs-dir '{runs}' {command}\n")
    line = refused(capsys, "evaluate", *row, "--runs-dir", str(runs), "--data-dir", str(sets))[1]
    assert line.endswith(f": python -m cqlib train --runs-dir '{runs}' --data-dir {sets} {command}\n")


def test_rows_tells_published_weights_from_what_is_not_run(tmp_path, capsys):
    def states(*more):
        assert cli.main(["rows", "--runs-dir", str(tmp_path), *more]) == 0
        return {line.split()[0]: line[67:].strip() for line in capsys.readouterr().out.splitlines()}

    plain = states()
    assert plain["table1/cq-f"] == "not run; published weights" and plain["table3/sngan"] == "not run"
    changed = states("--set", "system.quality_weight=25")
    assert changed["table1/cq-f"] == "not run" and changed["table3/sngan"] == "does not take this --set"
    assert not any("published" in state for state in states("--seed", "7").values())
    code, line = refused(capsys, "rows", "--set", "no.such=1")
    assert code == 2 and "unknown setting of table1/vae 'no.such'" in line


@pytest.mark.parametrize("status, told", [("done", "  finished, {:.3f} bpd"), ("diverged", "  diverged at step 3,000")])
def test_rows_tells_what_is_finished_and_what_diverged(tmp_path, capsys, status, told):
    e = experiment("table1/vae", "smoke")
    made = fake_records.record("table1/vae", profile="smoke")
    write_record(replace(made, config_hash=e.config_hash, status=status), tmp_path / e.folder, "record.json")
    assert cli.main(["rows", "--profile", "smoke", "--runs-dir", str(tmp_path)]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("table1/vae "))
    assert line.endswith(told.format(made.metrics["BPD"].value))


def test_a_fetch_tells_the_terms_of_each_set(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(data.published, "fetch", lambda entry, folder: folder)
    assert cli.main(["fetch", "cifar10", "stl10", "--data-dir", str(tmp_path)]) == 0
    sets = ENTRIES["cifar10"], ENTRIES["stl10"]
    lines = [f"{entry.title}: in {tmp_path}; terms: {entry.terms}" for entry in sets]
    assert capsys.readouterr().out.splitlines() == lines


def test_before_paper_it_is_told_what_it_takes(tmp_path, monkeypatch, capsys):
    """And under other profiles nothing; what is trained already takes nothing."""
    monkeypatch.setattr(load, "load_data", lambda e, folder: None)
    monkeypatch.setattr(costs, "lines", lambda wanted, **_: [f"costs of {e.row}, {n} seed" for e, n in wanted.items()])
    monkeypatch.setattr(run, "run_experiment", lambda e, **_: fake_records.record("table1/vae", profile=e.profile))
    for profile, lines in (("paper", 1), ("study", 0)):
        assert cli.main(["train", "table1/vae", "--profile", profile, "--runs-dir", str(tmp_path)]) == 0
        assert capsys.readouterr().err.count("costs of table1/vae, 1 seed\n") == lines
    monkeypatch.setattr(load, "is_trained", lambda e, folder: True)
    assert cli.main(["train", "table1/vae", "--profile", "paper", "--runs-dir", str(tmp_path)]) == 0
    assert "costs" not in capsys.readouterr().err


def test_a_row_without_weights_is_told_which_have_some(tmp_path, capsys):
    arguments = ("sample", "table3/sngan", "--out", str(tmp_path / "x.png"), "--runs-dir", str(tmp_path))
    code, line = refused(capsys, *arguments)
    there = "extra/cq-f-conditional, table1/cq, table1/cq-f, table1/gan, table1/vae, table1/vae-f under quick"
    assert code == 1 and f"(published weights: {there}): python -m cqlib train" in line


def test_every_command_on_a_row_takes_the_same_options(tmp_path, capsys):
    options = {"--profile", "--data", "--seed", "--runs-dir", "--set"}
    for name in ("rows", "show", "train", "evaluate", "sample", "card"):
        assert options <= set(cli.COMMANDS[name][1]), name
    assert cli.main(["show", "table1/vae", "--runs-dir", str(tmp_path)]) == 0 and capsys.readouterr().out


def test_sample_draws_in_batches_and_changes_no_pixel(tmp_path, monkeypatch, capsys):
    class Noise(torch.nn.Linear):
        batches, device = [], torch.device("cpu")

        def sample(self, n, *, temperature, generator):
            self.batches.append(n)
            return temperature * torch.rand(n, 3, 16, 16, generator=generator)

    monkeypatch.setattr("cqlib.experiments.load.load_system", lambda *_, **__: Noise(1, 1))
    out = tmp_path / "new" / "x.png"
    given = ["--n", "260", "--temperature", "0.5", "--seed", "3", "--out", str(out)]
    assert cli.main(["sample", "table1/vae", *given]) == 0 and capsys.readouterr().out == f"{out}\n"
    assert max(Noise.batches) <= 250 and sum(Noise.batches) == 260
    drawn = evaluation.draw_samples(Noise(1, 1), 260, temperature=0.5, seed=3)
    with Image.open(out) as picture:
        assert np.array_equal(np.asarray(picture), images.grid(drawn, columns=16, scale=4))
    assert list(out.parent.iterdir()) == [out]


def test_libraries_warnings_are_no_lines_of_ours(capsys, monkeypatch):
    monkeypatch.setattr(sys, "warnoptions", [])
    with pytest.raises(SystemExit), warnings.catch_warnings(record=True) as heard, one_line_errors("p"):
        warnings.warn("of another library", stacklevel=1)
        raise UserError("one line")
    assert capsys.readouterr().err == "p: one line\n" and heard == []
    monkeypatch.setattr(sys, "warnoptions", ["default"])
    with pytest.warns(UserWarning, match="another library"), one_line_errors("p"):
        warnings.warn("of another library", stacklevel=1)


def test_every_command_has_help_and_there_is_a_version(tmp_path, capsys):
    for name in cli.COMMANDS:
        with pytest.raises(SystemExit) as stop:
            cli.main([name, "--help"])
        assert stop.value.code == 0 and f"python -m cqlib {name}" in capsys.readouterr().out
    done = call(sys.executable, "-m", "cqlib", "--version", cwd=tmp_path)
    assert done.returncode == 0 and done.stdout == f"cqlib {cqlib.__version__}\n"


def test_the_examples_of_every_help_are_commands(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "data").mkdir()
    mains = {f"{cli.PROGRAM} {name}": (cli.parser(), [name], [f"{cli.PROGRAM} {name} {end}".strip() for end in ends])
             for name, (_, _, ends) in cli.COMMANDS.items()}  # fmt: skip
    mains[cli.PROGRAM] = (cli.parser(), [], [f"{cli.PROGRAM} {end}" for end in cli.EXAMPLES])
    for program, (parser, first, lines) in mains.items():
        assert lines and all(parser.parse_args([*first, *shlex.split(line.removeprefix(program))]) for line in lines)
        with pytest.raises(SystemExit):
            cli.main([*first, "--help"])
        assert "examples:\n" + "".join(f"  {line}\n" for line in lines) in capsys.readouterr().out
    for line in options.EXAMPLES:
        assert options.parse(shlex.split(line.removeprefix(options.PROGRAM)))
    with pytest.raises(SystemExit):
        options.main(["--help"])
    shown = capsys.readouterr().out
    assert all(f"  {line}\n" in shown for line in options.EXAMPLES)


@pytest.mark.parametrize(
    ("typed", "proposed"),
    [
        ("cqlib tr", {"train"}),
        ("cqlib train table1/va", {"table1/vae", "table1/vae-f"}),
        ("cqlib train table1/vae --dev", {"--device"}),
        ("cqlib sample table1/vae --profile s", {"smoke", "study"}),
    ],
)
def test_a_shell_completes(tmp_path, typed, proposed):
    pytest.importorskip("argcomplete")
    code = "import sys; from cqlib.cli.commands import main; sys.argv = ['cqlib']; main()"
    call(sys.executable, "-c", code, cwd=tmp_path, COMP_LINE=typed, COMP_POINT=str(len(typed)), _ARGCOMPLETE="1",
         _ARGCOMPLETE_IFS="\n", _ARGCOMPLETE_STDOUT_FILENAME=str(tmp_path / "out"))  # fmt: skip
    assert {word.strip() for word in (tmp_path / "out").read_text().splitlines()} == proposed


def test_all_records_are_one_table(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("cqlib.util.paths.PUBLISHED", tmp_path / "published")
    made = [fake_records.record("table1/vae"), fake_records.record("table1/gan", 3, status="diverged")]
    write_record(made[0], tmp_path / "runs" / "one", "record.json")
    write_record(made[1], tmp_path / "published" / "records", "two.json")
    monkeypatch.setattr("cqlib.experiments.ablations.PUBLISHED", tmp_path / "published" / "ablations")
    for folder, seed in ((tmp_path / "runs", 100), (tmp_path / "published", 101)):
        write_record(replace(made[0], seed=seed), folder / "ablations")
    arguments = ("export", "--csv", str(tmp_path / "all.csv"), "--from", str(tmp_path / "runs"))
    assert cli.main(arguments) == 0 and capsys.readouterr().out.startswith(f"{tmp_path / 'all.csv'}: ")
    with open(tmp_path / "all.csv", newline="") as file:
        lines = list(csv.DictReader(file))
    assert {(line["from"], line["seed"]) for line in lines} >= {("local", "100"), ("published", "101")}
    for place, record in zip(("local", "published"), made, strict=True):
        mine = {line["metric"]: line for line in lines if line["from"] == place and len(line["seed"]) == 1}
        assert mine.keys() == record.metrics.keys()
        for name, metric in record.metrics.items():
            line = mine[name]
            assert (float(line["value"]), line["std"]) == (metric.value, "" if metric.std is None else str(metric.std))
            assert (line["row"], line["seed"], line["protocol"]) == (record.row, str(record.seed), metric.protocol)
            assert (line["status"], line["commit"], line["device"]) == (record.status, record.git.commit, record.device)


def test_logs_go_beside_the_report_where_the_runs_folder_cannot_be_made(tmp_path, monkeypatch):
    chosen = argparse.Namespace(runs_dir=tmp_path / "not" / "yet", out=tmp_path / "out")
    assert run_all._logs(chosen) == chosen.runs_dir / "logs"
    monkeypatch.setattr(os, "access", lambda place, mode: place != tmp_path)
    assert run_all._logs(chosen) == chosen.out / "logs"


def test_a_closed_stderr_is_no_error(monkeypatch):
    monkeypatch.setattr("sys.stderr", None)
    with one_line_errors("cqlib"):  # which would exit
        assert not sys.stderr.isatty()


def test_a_file_to_write_replaces_no_pipe_and_no_link(tmp_path, capsys):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "to-pipe").symlink_to("pipe")
    for name in ("pipe", "to-pipe"):
        code, error = refused(capsys, "export", "--csv", str(tmp_path / name))
        assert code == 2 and f"{tmp_path / name} is not a plain file: name another" in error
    assert (tmp_path / "pipe").is_fifo()
    (tmp_path / "link.csv").symlink_to("kept.csv")
    assert options.new_file(str(tmp_path / "link.csv")) == tmp_path / "kept.csv"


def test_the_published_records_are_no_runs_of_here(tmp_path, monkeypatch, capsys):
    published, table = tmp_path / "published", tmp_path / "all.csv"
    monkeypatch.setattr("cqlib.util.paths.PUBLISHED", published)
    monkeypatch.setattr("cqlib.experiments.ablations.PUBLISHED", published / "ablations")
    write_record(fake_records.record("table1/vae"), published / "records", "a.json")
    write_record(fake_records.record("table1/vae", 100), published / "ablations")
    (published / "claims.json").write_text("{}")
    assert cli.main(["export", "--csv", str(table), "--from", str(published)]) == 0
    assert str(published) not in capsys.readouterr().err
    with open(table, newline="") as file:
        places = [(line["from"], line["seed"]) for line in csv.DictReader(file) if line["metric"] == "BPD"]
    assert [place for place in places if place[0] != "contributed"] == [("published", "0"), ("published", "100")]


def test_doctor_names_every_file_and_its_place(tmp_path, capsys):
    place = tmp_path / "data"
    place.mkdir()
    arguments = ("doctor", "--runs-dir", str(tmp_path / "é"), "--data-dir", str(place))
    done = call(sys.executable, "-m", "cqlib", *arguments, cwd=tmp_path, TORCH_HOME=str(tmp_path),
                PYTHONIOENCODING="ascii")  # fmt: skip
    assert done.returncode == 0 and not done.stderr
    assert "\\xe9: " in done.stdout  # what its terminal cannot show
    weights = "weights-inception-2015-12-05-6726825d.pth"
    for word in ("device", "photos10", "lite0", "B free", f"put there {weights} (95 MB", f"in {place}"):
        assert word in done.stdout
    for entry in ENTRIES.values():
        assert f"not in {place}: put {entry.sources} there" in done.stdout
        assert entry.terms in done.stdout
    assert not list(place.iterdir()) and list(tmp_path.iterdir()) == [place]
    (place / weights).write_bytes(b"half of it")
    assert cli.main(arguments) == 0 and f"{place / weights} are truncated or altered" in capsys.readouterr().out


def test_doctor_lists_the_data_sets_of_a_folder_that_is_still_to_be_made(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor, "_features", lambda data_dir: ())
    for named, variable in ((tmp_path / "x", ""), (None, "~/x")):
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setenv("CQLIB_DATA", variable)
        told = "\n".join(doctor.report(tmp_path, named))
        assert f"-   --data-dir or $CQLIB_DATA: there is no folder {tmp_path}/x: make it (mkdir -p" in told
        assert all(f"not in {tmp_path}/x: put {entry.sources} there" in told for entry in ENTRIES.values())


def test_seeds():
    assert options.seeds("5") == (0, 1, 2, 3, 4)
    assert options.seeds("0,3") == (0, 3)
    assert options.seeds("7,") == (7,)
    assert options.seeds("0-4") == (0, 1, 2, 3, 4) and options.seeds("3-3") == (3,)
    assert options.seeds("7-8,0,8") == (7, 8, 0)
    assert options.parse([]).seeds == (0,)


def test_a_list_may_be_given_in_parts():
    given = options.parse("--only all --only table1/cq-f,all --data photos10 --data npz:x --seeds 2 --seeds 7,".split())
    assert (given.only, given.data, given.seeds) == (("all", "table1/cq-f"), ("photos10", "npz:x"), (0, 1, 7))
    plain = options.parse([])
    assert (plain.only, plain.data, plain.seeds) == ((), (), (0,))


def test_a_place_has_one_name_unless_a_link_makes_it_another_place(tmp_path, monkeypatch):
    for place in ("here/cats", "far/deep", "far/cats"):
        (tmp_path / place).mkdir(parents=True)
    (tmp_path / "here" / "link").symlink_to(tmp_path / "far" / "deep")
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.delenv("CQLIB_DATA", raising=False)
    here, far = tmp_path / "here", tmp_path / "far"
    names = ("folder:cats", "folder:../here/cats", f"folder:{far}/../here/cats", f"folder:{here}/cats")
    for more in ([], ["--data-dir", str(far / "deep")]):
        assert options.parse(["--data", ",".join(names), *more]).data == (f"folder:{here}/cats",)
    assert options.parse(["--data", "folder:link/../cats"]).data == (f"folder:{here}/link/../cats",)
    assert options.parse(["--runs-dir", "../runs"]).runs_dir == tmp_path / "runs"


def test_paths_become_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = options.parse(["--runs-dir", "r", "--only", "all,table1/cq-f"])
    assert given.runs_dir == tmp_path / "r" and given.only == ("all", "table1/cq-f")
    assert given.out == ROOT / "reports" / "local"


def test_paths_of_data_become_absolute_unless_they_lie_in_the_data_folder(tmp_path, monkeypatch):
    here, there = tmp_path / "here", tmp_path / "there"
    for path in (here / "cats", here / "a.npz", there / "a.npz"):
        path.mkdir(parents=True)  # nothing is read
    monkeypatch.chdir(here)
    monkeypatch.setenv("HOME", str(here))
    monkeypatch.delenv("CQLIB_DATA", raising=False)

    def data(names: str, *more: str) -> tuple[str, ...]:
        return options.parse(["--data", names, *more]).data

    assert data("photos10,tiny-imagenet:64,npz:a.npz,npz:none.npz,npz:~nobody-here/a.npz") == (
        "photos10", "tiny-imagenet:64", f"npz:{here}/a.npz", "npz:none.npz", "npz:~nobody-here/a.npz",
    )  # fmt: skip
    assert data("folder:cats,folder:./cats,folder:~/cats") == (f"folder:{here}/cats",)
    assert data("npz:a.npz,folder:cats", "--data-dir", "../there") == ("npz:a.npz", f"folder:{here}/cats")
    monkeypatch.setenv("CQLIB_DATA", str(there))
    assert data("npz:a.npz,folder:cats") == ("npz:a.npz", f"folder:{here}/cats")
    assert data("npz:a.npz", "--data-dir", str(here / "cats")) == (f"npz:{here}/a.npz",)


def test_data_of_a_command_becomes_absolute(tmp_path, monkeypatch):
    (tmp_path / "cats").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CQLIB_DATA", raising=False)
    seen = []
    for command in ("rows", "train"):
        _, *rest = cli.COMMANDS[command]
        monkeypatch.setitem(cli.COMMANDS, command, (lambda options: seen.append(options.data), *rest))
        cli.main([command, *["table1/vae"] * (command == "train"), "--data", "folder:cats"])
    cli.main(["rows"])
    assert seen == [f"folder:{tmp_path}/cats"] * 2 + [None]


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (UserError("x.npz is\ndamaged"), 1, "p: x.npz is damaged\n"),
        (UsageError("no"), 2, "p: no\n"),
        (KeyboardInterrupt(), 3, "p: stopped; run it again to resume\n"),
    ],
)
def test_guard(error, code, line, capsys):
    with pytest.raises(SystemExit) as stop, one_line_errors("p"):
        raise error
    assert stop.value.code == code and capsys.readouterr().err == line


def test_a_file_in_the_place_of_a_folder_is_told(tmp_path, capsys):
    (tmp_path / "file").touch()
    for name in ("file/x", "file/below/x"):
        with pytest.raises(SystemExit), one_line_errors("p"):
            write_atomic(tmp_path / name, "")
        assert capsys.readouterr().err == f"p: {tmp_path}/file is a file where a folder is needed: name another\n"


def test_a_python_without_the_dependencies_is_told_where_they_are(capsys):
    with pytest.raises(SystemExit) as stop, one_line_errors("p"):
        import a_module_that_is_nowhere  # noqa: F401
    error = capsys.readouterr().err
    assert stop.value.code == 1 and error.count("\n") == 1
    assert "no module 'a_module_that_is_nowhere'" in error and "source .venv/bin/activate" in error
    with pytest.raises(SystemExit), one_line_errors("p"):
        import cqlib.nowhere  # noqa: F401
    assert "details: " in capsys.readouterr().err  # a bug of ours


def test_a_bug_is_one_line_and_its_traceback_a_file(tmp_path, capsys):
    with pytest.raises(SystemExit) as stop, one_line_errors("p", tmp_path / "logs"):
        raise ZeroDivisionError("division by zero")
    (log,) = (tmp_path / "logs").iterdir()
    error = capsys.readouterr().err
    assert stop.value.code == 1 and error.count("\n") == 1 and str(log) in error
    assert "Traceback" in log.read_text() and "Traceback" not in error


def test_importing_the_outer_shell_needs_the_standard_library_only(tmp_path):
    code = (
        "import sys, cqlib.cli.options, cqlib.cli.commands, cqlib.cli.tasks; cqlib.data.check('photos10', 16); "
        "print(sorted({m.split('.')[0] for m in sys.modules} & {'torch', 'numpy', 'tqdm', 'matplotlib'}))"
    )
    done = call(sys.executable, "-c", code, cwd=tmp_path)
    assert done.stdout == "[]\n", done.stderr


def test_lazy_names():
    assert callable(cqlib.load) and callable(cqlib.run)
    with pytest.raises(AttributeError, match="no attribute 'lode'"):
        _ = cqlib.lode


def test_a_relative_folder_of_data_sets_is_the_same_in_every_working_folder(tmp_path, monkeypatch):
    """Kernels of notebooks have another one than the command."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CQLIB_DATA", "sets")
    options.set_environment(options.parse([]))
    monkeypatch.chdir("/")
    assert data.local_folder() == tmp_path / "sets"
