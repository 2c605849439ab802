"""`python -m benchmarks.default_run FILE`: measures the default command from nothing, as a newcomer meets it.

In a fresh clone of HEAD, with an empty home and no virtual environment, `./run_all.sh` installs, trains, measures, runs
the notebooks and renders the report; then it runs once more, when all of that is done. Seconds, those of each phase,
memory and machine become the last entry of the JSON list in FILE. Nothing else should run on the machine meanwhile.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import torch

from cqlib.suite.experiments.record import Record, load_records
from cqlib.util import provenance
from cqlib.util.files import write_atomic
from cqlib.util.paths import ROOT

EVERY = 1.0
"""Seconds between two looks at the memory and at what has been printed."""
RESTRICTING = ("ONEDNN_MAX_CPU_ISA", "ATEN_CPU_CAPABILITY", "MKL_ENABLE_INSTRUCTIONS")
"""Variables that restrict a machine to what an older one can do."""
OWN = ("VIRTUAL_ENV", "CONDA_PREFIX", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "CQLIB_DATA", "CQLIB_DEVICE",
       "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")  # fmt: skip
"""Variables of whoever measures, which a newcomer's environment lacks."""


@dataclass
class Run:
    """A run of the command: its seconds, the most bytes at once, and the lines that it printed, each with the seconds
    after which it was seen."""

    seconds: float = 0.0
    memory: int = 0
    lines: list[tuple[float, str]] = field(default_factory=list)


def memory(pid: int) -> int:
    """Bytes of a process and all that it started; pages that they share count once (PSS)."""
    total = 0
    for process in [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]:
        try:
            total += process.memory_full_info().pss
        except psutil.Error:  # it has ended meanwhile
            continue
    return total


def run(folder: Path, environment: dict[str, str], log: Path) -> Run:
    """`./run_all.sh` in `folder`. CalledProcessError where it fails."""
    result, began, running = Run(), time.monotonic(), True
    with log.open("w") as out, log.open() as printed:
        process = subprocess.Popen(["./run_all.sh"], cwd=folder, env=environment, stdout=out, stderr=subprocess.STDOUT)
        while running:
            running = process.poll() is None
            result.seconds = time.monotonic() - began
            result.lines += [(result.seconds, line.strip()) for line in printed]
            if running:
                result.memory = max(result.memory, memory(process.pid))
                time.sleep(EVERY)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, "./run_all.sh", log.read_text()[-2000:])
    return result


def phases(result: Run, records: Iterable[Record]) -> dict[str, float]:
    """Where the time of a run went, in seconds: installation, training and measuring of each row, each notebook, and
    the page. Rows overlap where there are several cores, and so do notebooks."""
    seconds: dict[str, float] = {}
    ended = 0.0
    for at, line in result.lines:
        if line.startswith("installed in"):
            seconds["installation"] = at
        elif task := re.fullmatch(r"\[\d+/\d+\] (.+): done in (\d+) (s|min)", line):
            ended = at
            if " on " not in task[1]:  # a notebook
                seconds[task[1]] = int(task[2]) * {"s": 1, "min": 60}[task[3]]
    for r in records:
        training = r.steps * r.config["recipe"]["training"]["batch_size"] / r.images_per_second
        rest = "the VAE for its bits, and measuring" if r.config["recipe"]["frozen_decoder"] else "measuring"
        seconds |= {f"{r.row}, training": training, f"{r.row}, {rest}": r.seconds - training}
    return seconds | {"the page": result.seconds - ended}


def main(file: Path) -> None:
    """Measure the default command, from nothing and again, and add the result to the list in `file`."""
    earlier = json.loads(file.read_text()) if file.is_file() else []
    with tempfile.TemporaryDirectory() as parent:
        clone, home, log = Path(parent, "clone"), Path(parent, "home"), file.with_suffix(".log")
        home.mkdir()
        subprocess.run(["git", "clone", "-q", ROOT, clone], check=True)
        head = ["git", "-C", str(clone), "rev-parse", "HEAD"]
        commit = subprocess.run(head, capture_output=True, text=True, check=True).stdout.strip()
        kept = {name: value for name, value in os.environ.items() if name not in OWN}
        environment = kept | {"HOME": str(home), "CQLIB_DEVICE": "cpu"}
        first = run(clone, environment, log)
        parts = phases(first, load_records(clone / "runs")[0])
        again = run(clone, environment, log)
    result = {
        "machine": provenance.device_name(torch.device("cpu")),
        "restricted to": {name: os.environ[name] for name in RESTRICTING if name in os.environ},
        "commit": commit,
        "seconds": round(first.seconds),
        "seconds_again": round(again.seconds),
        "memory_mb": round(first.memory / 1e6),
        "phases": {name: round(seconds) for name, seconds in parts.items()},
    }
    write_atomic(file, json.dumps([*earlier, result], indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
