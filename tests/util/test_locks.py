"""Locks: one process at a time, the waiting one says so, and a killed one holds nothing."""

import signal
import subprocess
import sys

import pytest

from cqlib.util import locks
from cqlib.util.errors import StoppedEarly, UserError

HOLDER = """
import sys, time
from pathlib import Path
from cqlib.util.locks import file_lock
with file_lock(Path(sys.argv[1]), "a run"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """A process that holds the lock until its stdin is closed."""
    command = [sys.executable, "-c", HOLDER, str(tmp_path / ".lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def take(tmp_path, **options):
    """What is said when the lock is taken."""
    said = []
    with locks.file_lock(tmp_path / ".lock", "a run", say=said.append, **options):
        pass
    return said


def test_a_live_owner_is_waited_for(tmp_path, holder):
    assert take(tmp_path, while_waiting=holder.stdin.close) == ["a run is in use by another process: waiting"]
    assert holder.wait(20) == 0


def test_the_lock_of_a_killed_process_is_free(tmp_path, holder):
    holder.send_signal(signal.SIGKILL)
    holder.wait(20)
    assert take(tmp_path) == []


def test_waiting_can_be_given_up(tmp_path, holder):
    def give_up():
        raise StoppedEarly("stopped")

    with pytest.raises(StoppedEarly):
        take(tmp_path, while_waiting=give_up)
    assert holder.poll() is None  # still its


def test_what_can_be_no_lock_is_told_in_one_line(tmp_path):
    (tmp_path / ".lock").mkdir()
    with pytest.raises(UserError, match=r"\.lock: .*; delete it if it is no lock file"):
        take(tmp_path)
