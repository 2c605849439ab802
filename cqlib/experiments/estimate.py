"""Before a run of days: how long its training takes and how much memory it needs on this machine.

A few real training steps of every row, at its real batch size, in a process of its own (`main`). Steps on random
images cost what steps on real ones do.
"""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cqlib.util.files import canonical_json, sha256, write_atomic
from cqlib.util.text import gibibytes, rough_duration

if TYPE_CHECKING:
    from cqlib.experiments.experiment import Experiment


@dataclass(frozen=True)
class Estimate:
    """Seconds of training in all its stages, measuring not included; the most memory taken, in bytes.

    Where `runs` is not 0, it is no estimate but the mean of so many finished runs, all that they did included.
    """

    seconds: float
    memory_bytes: int
    runs: int = 0

    def __str__(self) -> str:
        time, memory = rough_duration(self.seconds), gibibytes(self.memory_bytes)
        if self.runs:
            return f"{time}, {memory} (measured in {self.runs} run{'s' if self.runs > 1 else ''})"
        return f"about {time} of training, {memory} (estimated)"


def estimate(e: Experiment) -> Estimate:
    """Measured here and now on the device that would train."""
    import torch

    from cqlib.models.frozen_decoder import FrozenDecoder
    from cqlib.models.registry import build
    from cqlib.training.timing import measure
    from cqlib.util import provenance

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with torch.random.fork_rng(devices=[]):
        system = build(e.recipe.system)
    seconds = e.recipe.training.steps * measure(system, e.recipe.training, device)
    if (stage := e.recipe.frozen_decoder) is not None:
        with torch.random.fork_rng(devices=[]):
            second = FrozenDecoder(stage.config, system)
        seconds += stage.training.steps * measure(second, stage.training, device)
    return Estimate(seconds, provenance.peak_memory_bytes(device))


def known(e: Experiment, runs_dir: Path, hardware: str) -> Estimate | None:
    """What `keep` has kept: a run that is stopped often is not measured anew each time."""
    try:
        return Estimate(**json.loads(_place(e, runs_dir, hardware).read_text()))
    except (OSError, ValueError, TypeError):
        return None


def keep(e: Experiment, runs_dir: Path, hardware: str, found: Estimate) -> None:
    """Remember the estimate of this recipe on this hardware."""
    write_atomic(_place(e, runs_dir, hardware), json.dumps(asdict(found)))


def _place(e: Experiment, runs_dir: Path, hardware: str) -> Path:
    key = canonical_json({"recipe": asdict(e.recipe), "device": hardware})
    return runs_dir / "estimates" / f"{sha256(key.encode())[:16]}.json"


@functools.cache
def hardware(threads: int) -> str:
    """What runs with so many threads would run on, as records name it. A card is asked for its name by another process:
    one in exclusive mode would be closed to children of this."""
    import torch

    from cqlib.training.device import fast_bf16
    from cqlib.util import provenance

    if not torch.cuda.is_available():
        return provenance.device_name(torch.device("cpu"), bf16=fast_bf16(torch.device("cpu")), threads=threads)
    found = subprocess.run([sys.executable, "-c", _CARD], capture_output=True, text=True)
    return found.stdout.strip() or "GPU"


_CARD = """
import torch
from cqlib.training import device as placement
from cqlib.util import provenance
device = torch.device("cuda")
print(provenance.device_name(device, bf16=placement.fast_bf16(device)))
"""


def total(estimates: Iterable[Estimate], runs_each: Iterable[int], slots: int) -> str:
    """All runs together, `slots` at a time: as long as the longest at least."""
    pairs = list(zip(estimates, runs_each, strict=True))
    seconds = max(sum(e.seconds * n for e, n in pairs) / max(1, slots), *(e.seconds for e, _ in pairs), 0.0)
    return f"in all about {rough_duration(seconds)} with {slots} at a time"


def main(argument: str) -> str:
    """The estimate as "SECONDS BYTES"; `argument` is a JSON object with row, profile and data."""
    from cqlib.experiments.experiment import experiment

    found = estimate(experiment(**json.loads(argument)))
    return f"{found.seconds} {found.memory_bytes}"


def parse(message: str) -> Estimate | None:
    """The inverse of what `main` says; None when it said something else."""
    try:
        seconds, memory = message.split()
        return Estimate(float(seconds), int(memory))
    except ValueError:
        return None
