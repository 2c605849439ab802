"""Faults of files, disk, memory, clock and numbers: what is expected, and one trial of each."""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
from fault_ground import Fault, Ground, one_line
from fault_run import NAME, ROW, Run, go, result

DAMAGE = ("empty", "cut", "foreign", "one bit")
AS_UNDISTURBED, REFUSED = "finished, as undisturbed", "refused in one line"


# --- a file in place of an artefact ----------------------------------------------------------------------------


def damage(path: Path, rng: random.Random, how: str | None = None) -> str:
    """Put something else in the place of a file; how."""
    how, content = how or rng.choice(DAMAGE), path.read_bytes()
    at = rng.randrange(max(1, len(content)))
    flipped = content[:at] + bytes([content[at] ^ 1 << rng.randrange(8)]) + content[at + 1 :] if content else b"x"
    foreign = rng.choice([b"PK\x03\x04" + rng.randbytes(200), b'{"a": [1, 2]}', rng.randbytes(300), b"\x80\x05K\x01."])
    path.write_bytes({"empty": b"", "cut": content[:at], "foreign": foreign, "one bit": flipped}[how])
    return how


def in_training(names: tuple[str, ...]):
    """Files of a run that was stopped half way."""

    def trial(ground: Ground, rng: random.Random) -> str:
        runs = ground.fresh(ground.half)
        for name in names:
            damage(runs / NAME / name, rng)
        ground.finishes(runs)
        return AS_UNDISTURBED

    return trial


def when_finished(names: tuple[str, ...]):
    """Files of a finished run; the record is among them, so that the others are read again."""

    def trial(ground: Ground, rng: random.Random) -> str:
        runs = ground.fresh(ground.whole)
        if "record.json" not in names:
            (runs / NAME / "record.json").unlink()
        for name in names:
            # one bit of a record may make another record: that is for its reader to see, not for the file's
            damage(runs / NAME / name, rng, rng.choice(DAMAGE[:3]) if name == "record.json" else None)
        if names == ("training.jsonl",):  # the curve is drawn from it, and from nothing else
            last = go(Run(runs))
            found = result(runs)
            assert last.code == 0 and all(found[k] == ground.wanted[k] for k in found if k != "curve"), last.said
            return "finished, without its curve" if not found["curve"] else AS_UNDISTURBED
        ground.finishes(runs)
        return AS_UNDISTURBED

    return trial


def features_cache(ground: Ground, rng: random.Random) -> str:
    runs = ground.fresh(ground.whole)
    (runs / NAME / "record.json").unlink()
    for path in (runs / "features").iterdir():
        damage(path, rng)
    ground.finishes(runs)
    return AS_UNDISTURBED


def feature_weights(ground: Ground, rng: random.Random) -> str:
    from cqlib.metrics.features import lite0

    runs = ground.fresh()
    path = runs / rng.choice(["weights.pth", "weights-inception-2015-12-05-6726825d.pth"])
    shutil.copy(lite0(224).weights, path)
    if path.name == "weights.pth":
        damage(path, rng)
    last = go(Run(runs, arguments=("train", ROW, "--profile", "smoke", "--feature-weights", str(path))))
    assert last.code == 1 and not (runs / NAME / "training.checkpoint").exists()
    one_line(last, "feature weights")
    path.unlink()
    ground.finishes(runs)
    return REFUSED


def data_file(ground: Ground, rng: random.Random) -> str:
    runs = ground.fresh()
    path = runs / "mine.npz"
    np.savez(path, images=np.random.default_rng(0).integers(0, 256, (60, 16, 16, 3), dtype=np.uint8))
    damage(path, rng, rng.choice(DAMAGE))
    last = go(Run(runs, arguments=("train", ROW, "--profile", "smoke", "--data", f"npz:{path}")))
    assert last.code == 1, last.said
    one_line(last, "mine.npz")
    return REFUSED


def model(ground: Ground, rng: random.Random) -> str:
    """A trained or published model that `sample` is to draw from."""
    runs = ground.fresh(ground.whole)
    damage(runs / NAME / "model.safetensors", rng)
    out = runs / "samples.png"
    last = go(Run(runs, arguments=("sample", ROW, "--profile", "smoke", "--n", "4", "--out", str(out))))
    assert last.code == 1 and not out.exists()
    one_line(last, "python -m cqlib train")
    return REFUSED


def lock(ground: Ground, rng: random.Random) -> str:
    runs = ground.fresh(ground.half)
    place = runs / NAME / ".lock"
    if rng.random() < 0.5:
        place.write_bytes(rng.randbytes(100))
        place.with_name(".lock.owner").write_bytes(rng.choice([b"", b"{", b"process x", rng.randbytes(50)]))
        ground.finishes(runs)
        return AS_UNDISTURBED
    place.unlink(missing_ok=True)
    place.mkdir()
    last = go(Run(runs))
    assert last.code == 1, last.said
    one_line(last, "delete it if it is no lock file")
    place.rmdir()
    ground.finishes(runs)
    return REFUSED


# --- the disk, the memory --------------------------------------------------------------------------------------


def no_mount() -> str | None:
    """Why no small disk can be mounted here, or None."""
    try:
        with small_disk(100_000):
            return None
    except (OSError, subprocess.CalledProcessError):
        return "no tmpfs can be mounted here"


@contextmanager
def small_disk(size: int) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        _mount(folder, "-t", "tmpfs", "-o", f"size={size}", "tmpfs")
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", "-l", folder], check=True, capture_output=True)


def _mount(folder: str | Path, *how: str) -> None:
    subprocess.run(["mount", *how, str(folder)], check=True, capture_output=True)


def full_disk(ground: Ground, rng: random.Random) -> str:
    with small_disk(rng.randrange(4096, 700_000, 4096)) as disk:
        runs = disk / "runs"
        last = go(Run(runs))
        if last.code != 0:
            assert last.code == 1, last.said
            one_line(last, "No space left on device")
            assert not list(runs.rglob("*.tmp")), "half a file is left"
        _mount(disk, "-o", "remount,size=50m")
        last = go(Run(runs))
        assert last.code == 0 and result(runs) == ground.wanted, last.said
    return AS_UNDISTURBED


def read_only(ground: Ground, rng: random.Random) -> str:
    state = rng.choice([None, ground.half, ground.whole])
    with small_disk(5_000_000) as disk:
        runs = disk / "runs"
        runs.mkdir()
        if state is not None:
            shutil.copytree(state, runs, dirs_exist_ok=True)
        _mount(disk, "-o", "remount,ro")
        last = go(Run(runs))
        if state is ground.whole:
            assert last.code == 0, last.said
        else:
            assert last.code == 1, last.said
            one_line(last, "Read-only file system")
        _mount(disk, "-o", "remount,rw")
        last = go(Run(runs))
        assert last.code == 0 and result(runs) == ground.wanted, last.said
    return "read" if state is ground.whole else "refused in one line, then as undisturbed"


def _limited(more: int) -> None:
    """From now on the process may have `more` bytes beyond what it has."""
    has = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (has + more, has + more))


def memory(ground: Ground, rng: random.Random) -> str:
    runs = ground.fresh()
    last = go(Run(runs, prepare=(partial(_limited, rng.randrange(0, 60_000_000, 1_000_000)),)))
    crashed = last.code in (-signal.SIGSEGV, -signal.SIGABRT, -signal.SIGBUS)  # within a library, which says nothing
    if last.code != 0 and not crashed:
        assert last.code == 1, (last.code, last.said)
        one_line(last, "memory")
    ground.finishes(runs)
    if crashed:
        return "a library crashed, then as undisturbed"
    return "refused in one line, then as undisturbed" if last.code else AS_UNDISTURBED


# --- the clock, the numbers ------------------------------------------------------------------------------------


def _back(seconds: float) -> None:
    """The clock goes back more with each look at it."""
    real, looks = time.time, iter(range(10**9))
    time.time = lambda: real() - seconds * next(looks)


def clock(ground: Ground, rng: random.Random) -> str:
    runs = ground.fresh(rng.choice([None, ground.half]))
    future = time.time() + rng.uniform(1e5, 1e9)
    for path in runs.rglob("*"):
        os.utime(path, (future, future))
    ground.finishes(runs, prepare=(partial(_back, rng.uniform(1, 1e5)),))
    return AS_UNDISTURBED


def _not_finite(steps: tuple[int, ...]) -> None:
    """The generator's loss is not a number in these steps of the first training."""
    from cqlib.training import loop as training

    real = training.Loop.one_step

    def one_step(loop: training.Loop):
        system = loop.system
        if loop.path.stem != "training" or loop.step not in steps:
            return real(loop)
        right = system.generator_losses
        system.generator_losses = lambda *x, **y: {k: v * float("nan") for k, v in right(*x, **y).items()}
        try:
            return real(loop)
        finally:
            del system.generator_losses

    training.Loop.one_step = one_step


def not_finite(ground: Ground, rng: random.Random) -> str:
    """One step: skipped, counted, noted. All from a step on: back to a good state, and said so. Interrupted or not."""
    runs, at, forever = ground.fresh(), rng.randrange(1, 19), rng.random() < 0.3
    steps = tuple(range(at, 10**4)) if forever else (at,)
    fault = (partial(_not_finite, steps),)
    moment = ("training", rng.randrange(1, ground.moments["training"]))
    if rng.random() < 0.5:
        go(Run(runs, prepare=fault, at=moment, signal=signal.SIGKILL))
    last = go(Run(runs, prepare=fault, every=60.0))
    record = json.loads((runs / NAME / "record.json").read_text())
    notes = " ".join(record["notes"])
    diverged = record["status"] == "diverged"
    assert last.code == (1 if diverged else 0), last.said
    assert not diverged or (forever and "non-finite steps in a row" in notes), notes
    assert "non-finite steps skipped" in notes or diverged, notes
    assert all(np.isfinite(metric["value"]) for metric in record["metrics"].values())
    return "diverged, back at a good state" if diverged else "skipped and counted"


IN_RUN = "in a note of the record"
FAULTS = {
    "checkpoint": Fault("the state before it", IN_RUN, "0", in_training(("training.checkpoint",))),
    "previous checkpoint": Fault("all", "nothing", "0", in_training(("training.checkpoint.previous",))),
    "both checkpoints": Fault("trained anew", IN_RUN, "0",
                              in_training(("training.checkpoint", "training.checkpoint.previous"))),
    "mark of the run": Fault("set aside in stale/, trained anew", "where the old run is kept", "0",
                             in_training(("experiment.json",))),
    "record": Fault("the model; measured again", "nothing", "0", when_finished(("record.json",))),
    "model": Fault("trained anew", "nothing", "0", when_finished(("model.safetensors",))),
    "encoder": Fault("the model; the second training anew", "nothing", "0", when_finished(("encoder.safetensors",))),
    "log of training": Fault("all but the curve", "nothing", "0", when_finished(("training.jsonl",))),
    "cache of features": Fault("made anew", "nothing", "0", features_cache),
    "feature weights": Fault("all; nothing has begun", "which file, and where to get it", "1", feature_weights),
    "data file": Fault("all; nothing has begun", "which file, and what is wrong", "1", data_file),
    "model to draw from": Fault("all", "which file, and the command that trains it", "1", model),
    "lock": Fault("all", "nothing, or which file to delete", "0 or 1", lock),
    "full disk": Fault("the last checkpoint", "No space left on device", "1", full_disk, no_mount),
    "read-only folder": Fault("all; a finished run is read", "Read-only file system", "1, finished: 0", read_only,
                              no_mount),
    "memory limit": Fault(
        "the last checkpoint", "needs more memory than there is", "1, or that of a crashed library", memory
    ),
    "clock going back": Fault("all", "nothing", "0", clock),
    "loss not finite": Fault("the last good state", "in a note, or diverged", "0, diverged: 1", not_finite),
}  # fmt: skip
