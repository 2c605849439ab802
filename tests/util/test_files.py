"""Files are whole or absent: the order of the writes, and what killed writers leave."""

import errno
import os
import stat
from contextlib import nullcontext

import pytest

from cqlib.util import files


@pytest.fixture
def calls(monkeypatch):
    """What is asked of the disk, in order."""
    made, sync, rename = [], os.fsync, os.replace

    def fsync(handle):
        made.append(("fsync", os.fstat(handle).st_ino))
        sync(handle)

    def replace(source, target):
        made.append(("rename", str(source), str(target)))
        rename(source, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", replace)
    return made


def test_content_then_name_then_folder_reach_the_disk(tmp_path, calls):
    path = files.write_atomic(tmp_path / "a.json", "new")
    (_, first), (_, source, target), (_, last) = calls
    assert [call[0] for call in calls] == ["fsync", "rename", "fsync"]
    assert (first, last) == (path.stat().st_ino, tmp_path.stat().st_ino)
    assert source.endswith(".tmp") and target == str(path)
    assert path.read_text() == "new"


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = files.write_atomic(tmp_path / "a", "old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError) as caught:
        files.write_atomic(path, "new")
    assert caught.value.filename == str(path)
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EIO])
def test_a_file_system_that_cannot_sync_a_folder_will_do_but_one_that_fails_will_not(tmp_path, monkeypatch, number):
    sync = os.fsync

    def refuses(handle):
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(number, os.strerror(number))
        sync(handle)

    monkeypatch.setattr(os, "fsync", refuses)
    with nullcontext() if number == errno.EINVAL else pytest.raises(OSError, match="error"):
        assert files.write_atomic(tmp_path / "a", "new").read_text() == "new"
