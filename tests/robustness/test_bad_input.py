"""Whatever is given, there is a result or one clear line: the first few of each kind of `bad_input.py`, and what it
found once."""

from __future__ import annotations

import io
import os
import zipfile

import bad_input
import numpy as np
import pytest
from bad_calls import FAULTS, LINE, RESULT, call, of_process, prepared
from PIL import Image

from cqlib.cli import commands as cli
from cqlib.cli import options, run_all
from cqlib.experiments import record as records
from cqlib.figures.explore import out_of_distribution
from cqlib.util.errors import UserError, one_line

EXAMPLES = {"options": 80, "records": 2, "pictures": 60, "own picture": 30, "npz": 70, "cifar10": 30, "stl10": 20,
            "checkpoint": 12, "feature weights": 12}  # fmt: skip
TRAIN = [*bad_input.TRAIN, "--data"]


@pytest.fixture
def place(tmp_path):
    """One for each test, for inputs leave in it what they like."""
    with prepared(tmp_path) as found:
        bad_input.furnish(found)
        yield found


@pytest.mark.slow
@pytest.mark.parametrize("name", bad_input.KINDS)
def test_a_result_or_one_line(place, name):
    kinds = set()

    def take(case, outcome):
        assert not outcome.bad, f"{outcome.kind}: {case!r:.500}\n{outcome.said:.3000}"
        kinds.add(outcome.kind)

    bad_input.drawn(bad_input.KINDS[name], place, EXAMPLES[name], 20, take)
    assert kinds


@pytest.mark.slow
def test_in_a_process_of_its_own(place):
    def take(case, outcome):
        assert outcome.kind == LINE, f"{case!r:.500}\n{outcome.said:.3000}"

    bad_input.drawn(bad_input.PROCESSES, place, 3, 1, take)


# ---- the judge, for a fault must be seen as one ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "said", "kind"),
    [
        (0, "", RESULT),
        (1, "", RESULT),
        (1, "p: x.npz is damaged: delete it\n", LINE),
        (1, "a warning\np: x.npz is damaged\n", "not one line"),
        (2, "p: unknown row 'x'", "not one line"),
        (3, "p: x.npz is damaged\n", "not one line"),
        (2, "p: no \x1b[2J such row\n", "not one line"),
        (2, f"p: no row {'x' * 3000}\n", "not one line"),
        (2, "p: no\n", "not one line"),
        (1, "Traceback (most recent call last):\n", "traceback"),
        (1, "p: KeyError: 'x' (details: /tmp/x.log)\n", "traceback"),
        (-11, "", "traceback"),
    ],
)
def test_what_is_a_fault(code, said, kind):
    found = of_process(code, said)
    assert found.kind == kind and found.bad == (kind in FAULTS)


def test_tracebacks_hangs_and_left_files_are_seen(place, monkeypatch):
    def crash(argv):
        raise KeyError("x")

    def leave(argv):
        (place.runs / "half").write_text("x")
        raise UserError("that is not a good file")

    monkeypatch.setattr("bad_calls.SECONDS", 1)
    assert call(place, crash, []).kind == "traceback"
    assert call(place, leave, []).kind == "left something behind"
    assert call(place, lambda argv: os.read(os.pipe()[0], 1), []).kind == "hang"
    (place.runs / "half").unlink()


# ---- found once -----------------------------------------------------------------------------------------------


def refused(place, *argv: str, main=cli.main) -> str:
    """The line of a command that refuses."""
    outcome = call(place, main, argv)
    assert outcome.kind == LINE, outcome
    return outcome.said


def test_a_line_keeps_its_ends_and_shows_no_control_characters():
    assert one_line("a\x1b[2J\u202eb\n c") == "a?[2J?b c"
    line = one_line(f"unknown row '{'x' * 9999}': did you mean 'table1/vae'?")
    assert len(line) < 700 and line.startswith("unknown row 'xxx") and line.endswith("did you mean 'table1/vae'?")


@pytest.mark.parametrize("option", ["--runs-dir", "--out"])
@pytest.mark.parametrize("value", ["", "a\0b", "half\ud800"])
def test_a_path_that_is_none(place, option, value):
    assert "is not a path that can be used" in refused(place, f"{option}={value}", main=options.main)


def test_two_dashes_are_no_value(place):
    """Python 3.11 takes them away, 3.13 hands them on."""
    assert "--feature-weights: " in refused(place, "--feature-weights=--", main=run_all.main)
    assert "--set: " in refused(place, "--set=training.steps=3", "--set=--", main=run_all.main)


def test_what_the_system_refuses_is_one_line_without_a_log(place):
    argv = ("sample", "table1/cq-f", "--n", "1", "--out", "file/x.png")
    line = f"python -m cqlib: --out: {place.root / 'file'} is a file where a folder is needed: name another\n"
    assert refused(place, *argv) == line
    assert "File name too long" in refused(place, "report", "--from", "x" * 300)
    assert refused(place, "--out", "/proc/x", main=run_all.main).count("\n") == 1  # before anything is trained


def test_pipes_and_devices_are_not_read(place):
    assert "is not a file" in refused(place, *TRAIN, "npz:fifo")
    assert "not a file" in refused(place, *TRAIN, "photos10", "--feature-weights", "/dev/zero")
    run = place.runs / "table1_vae--photos10--quick--0"
    run.mkdir(exist_ok=True)
    for name in ("record.json", "model.safetensors", "samples_T1.png"):
        os.mkfifo(run / name)
    (read, problems) = records.load_records(place.runs)
    assert not read and f"{run.name}/record.json: not a file" in problems
    assert call(place, cli.main, ["report", "--from", "runs", "--out", "out"]).kind == RESULT
    assert "has not been trained" in refused(place, "evaluate", "table1/vae", "--runs-dir", "runs")
    run_all.collect_records(place.runs, place.out)


def test_an_archive_larger_than_memory_is_not_unpacked(place, monkeypatch):
    with zipfile.ZipFile(place.root / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("images.npy", bytes(10**7))
    monkeypatch.setattr("cqlib.data.files.virtual_memory", lambda: type("Free", (), {"available": 10**6}))
    assert "of memory" in refused(place, *TRAIN, "npz:bomb.npz")


def test_a_label_does_not_make_as_many_classes_as_it_counts(place):
    images = np.zeros((40, 16, 16, 3), np.uint8)
    np.savez(place.root / "many.npz", images=images, labels=np.full(40, 2**31 - 1))
    assert "count the classes from 0, 65,536 at most" in refused(place, *TRAIN, "npz:many.npz")


def test_a_member_that_is_no_array(place):
    with zipfile.ZipFile(place.root / "text.npz", "w") as archive:
        archive.writestr("images", b"no array")
    assert "holds 'images', which is no array" in refused(place, *TRAIN, "npz:text.npz")


def test_an_empty_upload_is_no_portrait_and_deep_colours_are_not_made_white():
    with pytest.raises(UserError, match="the upload is no picture"):
        out_of_distribution.read(b"")
    buffer = io.BytesIO()
    Image.fromarray(np.full((20, 20), 40_000, np.uint16)).save(buffer, "PNG")
    assert out_of_distribution.read(buffer.getvalue()).getextrema() == ((156, 156),) * 3


def test_a_long_picture_is_measured_in_bounded_time():
    tiles, (rows, columns) = out_of_distribution.tiles(Image.new("RGB", (30_000, 40)), 16)
    assert len(tiles) == rows * columns <= out_of_distribution.MAX_TILES


def test_a_programme_of_the_system_is_asked_for_no_picture(place):
    program = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 16 16\n%%EndComments\n"
    (place.root / "images/train/0/a.png").write_bytes(program)
    assert "a.png is damaged" in refused(place, *TRAIN, "folder:images")


def test_feature_weights_that_do_not_fit_leave_no_run_behind(place):
    (place.root / "weights.pth").write_bytes(b"no weights")
    before = place.state()
    assert "do not fit" in refused(place, *TRAIN, "photos10", "--seed", "77", "--feature-weights", "weights.pth")
    assert place.state() == before
