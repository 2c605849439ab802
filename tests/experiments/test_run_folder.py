"""The folder of a run: what killed writers left goes, and how much room runs take is told."""

import errno
from pathlib import Path

import pytest

from cqlib.experiments.experiment import experiment
from cqlib.experiments.run_folder import KEPT_LOGS, archive_stale_run, tidy, tidy_finished, training_files


def test_what_killed_writers_left_goes_and_no_more_than_the_newest_tracebacks_stay(tmp_path):
    run = tmp_path / "a-run"
    for folder in (run, tmp_path / "features", tmp_path / "logs"):
        folder.mkdir()
    for path in (run / ".record.json.x.tmp", tmp_path / "features" / ".f.x.tmp", run / "training.checkpoint"):
        path.touch()
    logs = [tmp_path / "logs" / f"error-20260101-0000{k:02}-1.log" for k in range(KEPT_LOGS + 3)]
    for path in logs:
        path.touch()
    tidy(run, tmp_path)
    assert [path.name for path in run.iterdir()] == ["training.checkpoint"]
    assert (tmp_path / "features" / ".f.x.tmp").exists()  # another process may be writing it
    assert sorted((tmp_path / "logs").iterdir()) == logs[3:]


def test_a_finished_run_keeps_nothing_of_its_training(tmp_path):
    for name in ("training.checkpoint", "training.step-4.safetensors",
                 "model.safetensors", "record.json"):  # fmt: skip
        (tmp_path / name).touch()
    assert training_files(tmp_path)
    tidy_finished(tmp_path)
    assert not training_files(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.safetensors", "record.json"]


def test_a_run_whose_mark_cannot_be_read_just_now_is_not_set_aside(tmp_path, monkeypatch):
    e, run = experiment("table1/vae", "smoke"), tmp_path / "a-run"
    run.mkdir()
    archive_stale_run(e, "0" * 16, run, tmp_path, print)
    (run / "model.safetensors").touch()

    def away(*_, **__):
        raise OSError(errno.ESTALE, "Stale file handle")

    with monkeypatch.context() as patched, pytest.raises(OSError, match="Stale"):
        patched.setattr(Path, "read_text", away)
        archive_stale_run(e, "0" * 16, run, tmp_path, print)
    archive_stale_run(e, "0" * 16, run, tmp_path, pytest.fail)
    assert (run / "model.safetensors").exists() and not (tmp_path / "stale").exists()
    told = []
    archive_stale_run(e, "1" * 16, run, tmp_path, told.append)  # other data
    assert len(told) == 1 and not (run / "model.safetensors").exists()
