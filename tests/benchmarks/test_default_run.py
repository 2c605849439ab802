"""The benchmark of the default command, on a command that takes nothing."""

import json
import subprocess
import time
from types import SimpleNamespace

import pytest

from benchmarks import default_run


@pytest.fixture
def folder(tmp_path):
    """With a command that ends once there is a file `seen`."""
    lines = ("#!/bin/sh", "echo $WORD", "until [ -e seen ]; do sleep 0.01; done", "exit $CODE", "")
    (tmp_path / "run_all.sh").write_text("\n".join(lines))
    (tmp_path / "run_all.sh").chmod(0o755)
    return tmp_path


def test_a_run_is_timed_and_its_memory_looked_at(folder, monkeypatch):
    """By a clock whose time passes while this process sleeps; the command uses less and less, and ends after three
    looks."""
    clock, looks, memory = SimpleNamespace(now=5.0), [], default_run.memory

    def sleep(seconds):
        clock.now += seconds
        time.sleep(0.01)

    def look(pid):
        looks.append(memory(pid) / 10 ** len(looks))
        if len(looks) == 3:
            (folder / "seen").touch()
        return looks[-1]

    monkeypatch.setattr(default_run, "memory", look)
    monkeypatch.setattr(default_run, "time", SimpleNamespace(monotonic=lambda: clock.now, sleep=sleep))
    environment = {"PATH": "/usr/bin:/bin", "WORD": "trained", "CODE": "0"}
    seconds, most = default_run.run(folder, environment, folder / "log")
    assert seconds == clock.now - 5 >= 3 * default_run.EVERY and (folder / "log").read_text() == "trained\n"
    assert 1e4 < most == looks[0] < 1e8


def test_a_run_that_fails_is_no_measurement(folder):
    (folder / "seen").touch()
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
