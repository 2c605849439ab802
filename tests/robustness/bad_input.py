"""Bad input by the thousand: `python tests/robustness/bad_input.py --examples 10000 [--json FILE]`.

Command lines, records, pictures, data files and weights go through the same `main(argv)` as a user's. Each gives a
result or one clear line; a traceback, a hang, or a file that is left behind is a fault, which is printed, and the
exit code is then 1. The tests run the first few of each kind (`test_bad_input.py`).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))

import bad_arrays
import bad_images
import bad_options
import bad_records
import bad_weights
from bad_calls import FAULTS, LINE, RESULT, Outcome, Place, call, judged, of_process, prepared
from hypothesis import HealthCheck, Phase, given, reject, seed, settings
from hypothesis import strategies as st
from torchvision.datasets import STL10

from cqlib import data
from cqlib.cli import commands as cli
from cqlib.experiments.experiment import experiment
from cqlib.experiments.load import load
from cqlib.figures.explore import out_of_distribution
from cqlib.util import provenance
from cqlib.util.paths import ROOT

TRAIN = ("train", "table1/vae", "--profile", "smoke")
PROCESS_SECONDS = 120


@dataclass(frozen=True)
class Kind:
    """A kind of input: what it is, its share of 10,000, how it is drawn and how it is given to the program."""

    about: str
    share: int
    cases: st.SearchStrategy
    attempt: Callable[[Place, Any], Outcome]


def _command_line(place: Place, case: tuple[str, list[str]]) -> Outcome:
    program, argv = case
    return call(place, bad_options.MAINS[program], argv)


def _records(place: Place, found: list) -> Outcome:
    for folder in (place.runs, place.out):
        shutil.rmtree(folder)
        folder.mkdir()
    bad_records.lay_out(found, place.runs)
    outcome = call(place, cli.main, ["report", "--from", "runs", "--out", "out"])
    return outcome if outcome.bad else call(place, cli.main, ["rows", "--runs-dir", "runs"])


def _in_folder(place: Place, case: tuple[tuple[bytes, str], str]) -> Outcome:
    (content, suffix), name = case
    file = place.root / "images/train/0" / f"{name}.{suffix}"
    file.write_bytes(content)
    try:
        return call(place, cli.main, [*TRAIN, "--data", "folder:images"])
    finally:
        file.unlink()


def _own(place: Place, case: tuple[bytes, str]) -> Outcome:
    system, test = load(bad_weights.ROW, runs_dir=place.runs), data.load("photos10").test.images[:20]

    def show() -> None:
        out_of_distribution.your_image(system, case[0], test)

    return judged(show)


def _npz(place: Place, content: bytes) -> Outcome:
    (place.root / "a.npz").write_bytes(content)
    return _nothing_escapes(place, call(place, cli.main, [*TRAIN, "--data", "npz:a.npz"]))


def _cifar10(place: Place, files: dict[str, bytes]) -> Outcome:
    shutil.rmtree(place.root / "sets", ignore_errors=True)
    bad_arrays.write(files, place.root / "sets/cifar-10-batches-py")
    return _nothing_escapes(place, call(place, cli.main, [*TRAIN, "--data", "cifar10", "--data-dir", "sets"]))


def _stl10(place: Place, files: dict[str, bytes]) -> Outcome:
    shutil.rmtree(place.root / "sets", ignore_errors=True)
    bad_arrays.write(files, place.root / "sets/stl10_binary")
    hashes = [(name, hashlib.md5(content).hexdigest()) for name, content in files.items()]
    with mock.patch.multiple(STL10, train_list=hashes, test_list=[]):  # as if they were the published files
        return _nothing_escapes(place, call(place, cli.main, [*TRAIN, "--data", "stl10", "--data-dir", "sets"]))


def _checkpoint(place: Place, content: bytes) -> Outcome:
    file = place.runs / experiment(bad_weights.ROW, "quick").folder / "model.safetensors"
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(content)
    outcome = call(place, cli.main, ["sample", bad_weights.ROW, "--runs-dir", "runs", "--n", "1", "--out", "x.png"])
    return outcome if outcome.bad else call(place, cli.main, ["evaluate", bad_weights.ROW, "--runs-dir", "runs"])


def _features(place: Place, content: bytes) -> Outcome:
    (place.root / "weights.pth").write_bytes(content)
    return _nothing_escapes(place, call(place, cli.main, [*TRAIN, "--feature-weights", "weights.pth"]))


def _nothing_escapes(place: Place, outcome: Outcome) -> Outcome:
    """A fault where a pickle has run, or a member of an archive has been written outside."""
    places = (place.root, place.root.parent, place.root.parent.parent, Path("/tmp"))
    if found := [folder / name for folder in places for name in ("escaped", "escaped.npy") if (folder / name).exists()]:
        return Outcome("left something behind", f"{outcome.said}: {found}", outcome.code)
    return outcome


def _process(place: Place, case: Any) -> Outcome:
    """What is refused in this process, in one of its own, with nothing left out; hypothesis draws anew for the rest."""
    if isinstance(case, bytes):
        (place.root / "a.npz").write_bytes(case)
        case = ("cqlib", [*TRAIN, "--data", "npz:a.npz"])
    program, argv = case
    if any("\0" in word or "\ud800" in word for word in argv) or _command_line(place, case).kind != LINE:
        reject()
    modules = {"cqlib": "cqlib", "run_all": "cqlib.cli.run_all", "options": "cqlib.cli.options"}
    command = [sys.executable, "-m", modules[program], *argv]
    (place.root / "sets").mkdir(exist_ok=True)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CQLIB_DATA": str(place.root / "sets"),
                   "PYTHONPATH": str(ROOT), "TMPDIR": tempfile.gettempdir()}  # fmt: skip
    before = place.state()
    try:
        done = subprocess.run(command, env=environment, capture_output=True, timeout=PROCESS_SECONDS, cwd=place.root)
    except subprocess.TimeoutExpired:
        return Outcome("hang", f"longer than {PROCESS_SECONDS} s")
    outcome = of_process(done.returncode, done.stderr.decode(errors="backslashreplace"))
    return outcome if place.state() == before else Outcome("left something behind", outcome.said, outcome.code)


KINDS = {
    "options": Kind("command lines of every command", 4000, bad_options.command_lines(), _command_line),
    "records": Kind("runs folders of up to six records", 700, bad_records.folders(), _records),
    "pictures": Kind("pictures in a folder of images", 1500, st.tuples(bad_images.pictures, bad_images.names),
                     _in_folder),
    "own picture": Kind("pictures of one's own in the notebook explore", 1000, bad_images.pictures, _own),
    "npz": Kind("npz archives", 1200, bad_arrays.npz(), _npz),
    "cifar10": Kind("CIFAR-10's batches", 500, bad_arrays.cifar(), _cifar10),
    "stl10": Kind("STL-10's files", 400, bad_arrays.stl10(), _stl10),
    "checkpoint": Kind("weights of a run, as safetensors", 400, bad_weights.checkpoints(), _checkpoint),
    "feature weights": Kind("feature weights, a pickle", 300, bad_weights.pickled(), _features),
}  # fmt: skip
PROCESSES = Kind("in a process of its own", 100, bad_options.command_lines() | bad_arrays.npz(), _process)


def furnish(place: Place) -> None:
    """What the kinds expect to find in the working folder."""
    bad_options.furnish(place.root)
    bad_images.good(place.root / "images")


def drawn(kind: Kind, place: Place, n: int, number: int, take: Callable[[Any, Outcome], None]) -> None:
    """Hand n cases, or as many as there are, to `take` with what became of them; equal numbers give equal cases."""

    @seed(number)
    @settings(max_examples=n, deadline=None, database=None, phases=[Phase.generate],
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(kind.cases)
    def attempt(case: Any) -> None:
        random.seed(number)
        take(case, kind.attempt(place, case))

    attempt()


def main() -> int:
    """Run the long version; its table, faults and exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--examples", type=int, default=10_000, metavar="N")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", choices=[*KINDS, "process"], action="append")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there as well")
    chosen = parser.parse_args()
    counts: dict[str, Counter] = {}
    kinds = {**KINDS, "process": PROCESSES}
    for name in chosen.kind or kinds:
        counts[name] = Counter()
        n = max(1, round(kinds[name].share * chosen.examples / 10_000))
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="bad-input-") as folder, prepared(Path(folder)) as place:
            furnish(place)

            def take(case: Any, outcome: Outcome, count: Counter = counts[name], name: str = name) -> None:
                count[outcome.kind] += 1
                if outcome.bad and sum(count[fault] for fault in FAULTS) <= 3:
                    print(f"\n{name}: {outcome.kind}: {case!r:.1000}\n{outcome.said:.3000}", flush=True)

            drawn(kinds[name], place, n, chosen.seed, take)
        print(f"{name}: {dict(counts[name])} in {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    return _told(counts, kinds, chosen.json)


def _told(counts: dict[str, Counter], kinds: dict[str, Kind], file: Path | None) -> int:
    columns = ("inputs", RESULT, LINE, *FAULTS)
    lines = {
        name: {"about": kinds[name].about, "inputs": count.total(), **{key: count[key] for key in columns[1:]}}
        for name, count in counts.items()
    }
    total = {key: sum(line[key] for line in lines.values()) for key in columns}
    print(f"\n{'':<16}" + "".join(f"{key:>{max(10, len(key) + 2)}}" for key in columns))
    for name, line in {**lines, "all": total}.items():
        print(f"{name:<16}" + "".join(f"{line[key]:>{max(10, len(key) + 2)},}" for key in columns))
    if file is not None:
        git = provenance.git_info()
        about = {"date": provenance.now()[:10], "commit": git.commit, "dirty": git.dirty}
        about["versions"] = provenance.versions()
        file.write_text(json.dumps({**about, "total": total, "kinds": lines}, indent=1) + "\n")
    return int(any(total[fault] for fault in FAULTS))


if __name__ == "__main__":
    sys.exit(main())
