"""`python -m benchmarks.default_run FILE`: measures the default command from nothing, as a newcomer meets it.

In a fresh clone of HEAD, with an empty home and no virtual environment, `./run_all.sh` installs, trains, measures, runs
the notebooks and renders the report; then it runs once more, when all of that is done. Seconds, memory and machine
become the last entry of the JSON list in FILE. Nothing else should run on the machine meanwhile.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import torch

from cqlib.cli.tasks import cores
from cqlib.util import provenance
from cqlib.util.files import write_atomic
from cqlib.util.paths import ROOT

EVERY = 1.0
"""Seconds between two looks at the memory."""
RESTRICTING = ("ONEDNN_MAX_CPU_ISA", "ATEN_CPU_CAPABILITY", "MKL_ENABLE_INSTRUCTIONS")
"""Variables that restrict a machine to what an older one can do."""
OWN = ("VIRTUAL_ENV", "CONDA_PREFIX", "PYTHONPATH", "CQLIB_DATA", "CQLIB_DEVICE", "OMP_NUM_THREADS", "MKL_NUM_THREADS",
       "OPENBLAS_NUM_THREADS")  # fmt: skip
"""Variables of whoever measures, which a stranger's environment lacks."""


def memory(pid: int) -> int:
    """Bytes of a process and all that it started; pages that they share count once (PSS)."""
    total = 0
    for process in [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]:
        try:
            total += process.memory_full_info().pss
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
    return total


def run(folder: Path, environment: dict[str, str], log: Path) -> tuple[float, int]:
    """`./run_all.sh` in `folder`: seconds, and the most bytes at once. CalledProcessError where it fails."""
    began, most = time.monotonic(), 0
    with log.open("a") as out:
        process = subprocess.Popen(["./run_all.sh"], cwd=folder, env=environment, stdout=out, stderr=subprocess.STDOUT)
        while process.poll() is None:
            try:
                most = max(most, memory(process.pid))
            except psutil.NoSuchProcess:
                break
            time.sleep(EVERY)
    if process.wait():
        raise subprocess.CalledProcessError(process.returncode, "./run_all.sh", log.read_text()[-2000:])
    return time.monotonic() - began, most


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
        (seconds, most), (again, _) = run(clone, environment, log), run(clone, environment, log)
    cpu = torch.device("cpu")
    result = {
        "machine": provenance.device_name(cpu, bf16=False, threads=cores()),
        "restricted to": {name: os.environ[name] for name in RESTRICTING if name in os.environ},
        "commit": commit,
        "seconds": round(seconds),
        "seconds_again": round(again),
        "memory_mb": round(most / 1e6),
    }
    write_atomic(file, json.dumps([*earlier, result], indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
