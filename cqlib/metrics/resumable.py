"""Results of an evaluation, batch by batch on the disk as they come: a run that is stopped or killed resumes there."""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from cqlib.util.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from cqlib.util.errors import StoppedEarly
from cqlib.util.stop import StopRequest


@dataclass(eq=False)
class PartialResults:
    """Results of measurements that run batch by batch, each kept in `folder`/measured-NAME.checkpoint so that it can
    be resumed. A file is written once `seconds` have passed since the last one, at the end, and when `stop` is
    requested, which is checked after every batch. Files of another `key` or another kind of device are ignored; without
    a `folder` nothing is written."""

    folder: Path | None = None
    key: str = ""
    seconds: float = 0.0
    stop: StopRequest = field(default_factory=StopRequest)
    saved: float = field(default_factory=lambda: time.monotonic())
    """When the last file was written, on the `time.monotonic` clock."""

    def check(self) -> None:
        """Raise `StoppedEarly` where a stop is requested."""
        if reason := self.stop.reason():
            raise StoppedEarly(f"stopped while measuring: {reason}; the trained model is saved")

    def collect(
        self, name: str, count: int, batch: Callable[[int], dict[str, Tensor]], generator: torch.Generator
    ) -> list[dict[str, Tensor]]:
        """`batch(i)` for i < `count`, on the CPU; those found in the file of this `name` are not computed again, so all
        randomness of `batch` must come from `generator`. Raises `StoppedEarly`, with all batches so far saved."""
        batches: list[dict[str, Tensor]] = []
        path = self.folder and self.folder / f"measured-{name}.checkpoint"
        of_device = f"{self.key} {generator.device.type}"  # a CPU's generator cannot take the state of a GPU's
        if path is not None:
            with suppress(FileNotFoundError, CheckpointError):
                state = load_checkpoint(path)
                if state["key"] == of_device:
                    batches = state["batches"]
                    generator.set_state(state["generator"])
        for i in range(len(batches), count):
            batches.append({key: value.cpu() for key, value in batch(i).items()})
            stopping = self.stop.reason() is not None
            if stopping or i + 1 == count or time.monotonic() - self.saved >= self.seconds:
                if path is not None:
                    state = {"key": of_device, "batches": batches, "generator": generator.get_state()}
                    save_checkpoint(path, state)
                self.saved = time.monotonic()
            if stopping:
                self.check()
        return batches


IN_MEMORY = PartialResults()
"""For evaluations that are short: nothing is saved, nothing stops them."""
