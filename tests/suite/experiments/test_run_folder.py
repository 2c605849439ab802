"""The folder of a run: a run of another experiment is moved aside, temporary files are removed."""

import errno
from pathlib import Path

import pytest

from cqlib.suite.experiments.experiment import experiment
from cqlib.suite.experiments.run_folder import archive_stale_run


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
