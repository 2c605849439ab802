"""The fault table of `faults.py`, in short: one trial of some, and that what is written reaches the disk in order."""

import os
from collections import Counter
from pathlib import Path

import pytest

pytest.importorskip("multiprocessing.forkserver", reason="runs are forked")
if not Path("/proc/self/fd").is_dir():
    pytest.skip("what is synced is read from /proc", allow_module_level=True)

import faults  # noqa: E402
from fault_ground import Ground  # noqa: E402
from fault_run import STAGES  # noqa: E402


@pytest.fixture(scope="module")
def ground(tmp_path_factory):
    return Ground(tmp_path_factory.mktemp("ground"))


@pytest.mark.slow
def test_every_stage_has_moments(ground):
    assert set(ground.moments) == set(STAGES)


@pytest.mark.slow
def test_a_run_writes_under_temporary_names_and_syncs_before_and_after_the_rename(ground):
    opened = [path for event, path, *_ in ground.files if event == "open" and not Path(path).is_dir()]
    names = {Path(path).name for path in opened if not path.endswith(".tmp")}
    assert len(opened) > 50 and names == {".lock"}
    renames = 0
    for i, (event, source, target, inode) in enumerate(ground.files):
        if event != "os.rename":
            continue
        renames += 1
        assert any(e == "fsync" and n == inode for e, _, _, n in ground.files[:i]), f"{source} was not synced"
        after, folder = ground.files[i + 1], os.path.dirname(target)
        assert after[0] == "fsync" and after[1] == folder, f"{target}: {folder} was not synced"
    assert renames > 100


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGKILL to a training", "checkpoint", "full disk", "2 copies, the first killed"])
def test_a_fault_is_survived(ground, name):
    found = faults.tally(name, ground, times=1)
    if any("skipped" in outcome for outcome in found.outcomes):
        pytest.skip(*found.outcomes)
    assert found.struck >= 1 and not found.wrong


def test_the_table_says_what_is_expected_and_a_wrong_outcome_is_counted(monkeypatch):
    assert all(fault.kept and fault.said and fault.code for fault in faults.TABLE.values())

    def trial(ground, rng):
        raise AssertionError("a finished row was lost")

    lost = faults.Fault("a", "b", "c", trial)
    monkeypatch.setitem(faults.TABLE, "lock", lost)
    found = faults.tally("lock", None, times=2)
    assert found.struck == 2 and len(found.wrong) == 2 and found.outcomes == Counter()
    told = faults.summary({"lock": found}, "0" * 40)
    assert told["lost_finished_rows"] == told["not_as_expected"] == 2 and told["differing_records"] == 0
