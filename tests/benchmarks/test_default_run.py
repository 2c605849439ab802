"""The benchmark of the default command, on a command that takes nothing."""

import json
import subprocess

import pytest

from benchmarks import default_run


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "run_all.sh").write_text("#!/bin/sh\necho $WORD\nsleep 0.3\nexit $CODE\n")
    (tmp_path / "run_all.sh").chmod(0o755)
    return tmp_path


def test_a_run_is_timed_and_its_memory_looked_at(folder, monkeypatch):
    monkeypatch.setattr(default_run, "EVERY", 0.02)
    environment = {"PATH": "/usr/bin:/bin", "WORD": "trained", "CODE": "0"}
    seconds, most = default_run.run(folder, environment, folder / "log")
    assert seconds >= 0.3 and 1e4 < most < 1e8 and (folder / "log").read_text() == "trained\n"


def test_a_run_that_fails_is_no_measurement(folder):
    with pytest.raises(subprocess.CalledProcessError) as caught:
        default_run.run(folder, {"PATH": "/usr/bin:/bin", "WORD": "no disk", "CODE": "1"}, folder / "log")
    assert "no disk" in caught.value.output


def test_a_measurement_is_added_to_those_of_other_machines(tmp_path, monkeypatch):
    measured = iter([(80.4, 2e9), (9.6, 1e9)])
    monkeypatch.setattr(default_run, "run", lambda folder, environment, log: next(measured))
    (file := tmp_path / "default_run.json").write_text('[{"seconds": 792}]')
    default_run.main(file)
    earlier, new = json.loads(file.read_text())
    assert earlier == {"seconds": 792} and (new["seconds"], new["seconds_again"], new["memory_mb"]) == (80, 10, 2000)
    assert len(new["commit"]) == 40
