"""What is measured batch by batch, kept on the disk as it comes: a run killed while it measures goes on there."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from cqlib.util.checkpoint import load_latest, save_checkpoint

Batches = list[dict[str, Tensor]]
"""Of each batch, tensors by name."""


@dataclass
class Parts:
    """Batches of several measurements, each in `folder`/measured-NAME.checkpoint, at most `every` seconds apart.

    Those of another `key` are another experiment's and are not used. No `folder`: nothing is kept.
    """

    folder: Path | None = None
    key: str = ""
    every: float = 0.0
    saved: float = field(default_factory=lambda: time.monotonic())

    def collect(
        self,
        name: str,
        count: int,
        make: Callable[[int], dict[str, Tensor]],
        generator: torch.Generator,
        on_batch: Callable[[], None],
    ) -> Batches:
        """`make(i)` for the batches i < `count`, but for those that were kept; `generator`, all that they draw from, is
        where it was. `on_batch` is called after each; what it raises ends the measurement once this is kept."""
        batches: Batches = []
        if self.folder is not None:
            state, _ = load_latest(self._path(name))
            if state is not None and state["key"] == self.key:
                batches = state["batches"]
                generator.set_state(state["generator"])
        for i in range(len(batches), count):
            batches.append({key: value.cpu() for key, value in make(i).items()})
            if i + 1 == count or time.monotonic() - self.saved >= self.every:
                self._save(name, batches, generator)
            try:
                on_batch()
            except BaseException:
                self._save(name, batches, generator)
                raise
        return batches

    def _save(self, name: str, batches: Batches, generator: torch.Generator) -> None:
        if self.folder is not None:
            state = {"key": self.key, "batches": batches, "generator": generator.get_state()}
            save_checkpoint(self._path(name), state, keep_previous=False)
        self.saved = time.monotonic()

    def _path(self, name: str) -> Path:
        assert self.folder is not None
        return self.folder / f"measured-{name}.checkpoint"
