"""What `fit` does beside training: the bar, bits of held-out images, the best weights, and the user's own function."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor
from tqdm.auto import tqdm

from cqlib.data.dataset import tensors_sha256
from cqlib.metrics import bpd
from cqlib.suite.experiments.fit_folder import BEST
from cqlib.training.loop import Loop
from cqlib.util.checkpoint import load_checkpoint, save_checkpoint
from cqlib.util.device import fork_rng
from cqlib.util.stop import StopRequest

Callback = Callable[[int, Any, dict[str, float]], object]
"""(step, model, losses), see `Table1Model.fit`."""
CALLBACK = "the callback"
"""The reason of a stop that a callback brought about."""
VALIDATIONS = 20
"""How many times held-out images are measured in a training, at most."""
SHOWN_EVERY = 1.0
"""Seconds between two states of the bar."""
ON_BAR = {"bits": "bits", "quality": "quality", "critic/discriminator": "critic", "validation_bits": "validation"}
"""What the bar shows of a line of losses: its name -> that on the bar."""


class Watch:
    """Called after every step of a training (`training.loop.Watch`). A function of the user's that fails, or raises
    KeyboardInterrupt, stops the training by way of `stop`; what it raised is the `error`."""

    def __init__(
        self,
        bar: tqdm,
        folder: Path,
        stop: StopRequest,
        *,
        validation: Tensor | None = None,
        keep_best: bool = False,
        callback: Callback | None = None,
    ) -> None:
        self.bar, self.stop, self.validation, self.callback = bar, stop, validation, callback
        self.error: BaseException | None = None
        self.shown = 0.0
        self.held_out = 0.0
        self.best_file = folder / BEST if keep_best and validation is not None else None
        self.images = "" if validation is None else tensors_sha256(validation)

    def __call__(self, loop: Loop) -> None:
        step, steps, every = loop.step, loop.config.steps, loop.config.log_every
        last = step == steps
        if self.shown == 0:  # the steps before were taken by a call that was cut off
            self.bar.initial = self.bar.n = step - 1
        if self.validation is not None and (last or step % (every * max(1, steps // (every * VALIDATIONS))) == 0):
            self._validate(loop, self.validation)
        if self.callback is not None and (last or step % every == 0):
            self._call(loop, self.callback)
        if last or time.monotonic() - self.shown >= SHOWN_EVERY:
            self.shown = time.monotonic()
            self.bar.set_postfix_str(self._losses(loop.log.means(), loop), refresh=False)
            self.bar.update(step - self.bar.n)

    def _losses(self, means: dict[str, float], loop: Loop) -> str:
        """The losses on the bar; the bits of held-out images stay until they are measured again."""
        line = with_bits(means, loop.system.shape)
        self.held_out = line.setdefault("validation_bits", self.held_out)
        return ", ".join(f"{shown} {line[name]:.3f}" for name, shown in ON_BAR.items() if line.get(name))

    def _validate(self, loop: Loop, images: Tensor) -> None:
        """Measure the averaged weights, and keep them in a file if they are the best ones so far."""
        model: Any = loop.average.module
        nats = bpd.held_out_nll(model, images).mean()
        bits = float(bpd.bits_per_dimension(nats, images[0].numel()))
        loop.log.add("validation_bits", bits)
        if self.best_file is not None and bits < best_bits(self.best_file, self.images):
            state = {"images": self.images, "bits": bits, "step": loop.step, "weights": dict(model.state_dict())}
            save_checkpoint(self.best_file, state)

    def _call(self, loop: Loop, callback: Callback) -> None:
        """Call the user's function; the training's random numbers are the same without it."""
        model: Any = loop.average.module
        try:
            with fork_rng(loop.device):
                callback(loop.step, model.eval(), with_bits(loop.log.means(), loop.system.shape))
        except (Exception, KeyboardInterrupt) as error:
            self.error, self.stop.requested = error, CALLBACK
        finally:
            model.train()


def best_bits(file: Path, images: str) -> float:
    """The bits of the weights that `file` has, if they were measured on `images`, by their hash; else infinite."""
    state = load_checkpoint(file) if file.exists() else {}
    return state["bits"] if state.get("images") == images else float("inf")


def with_bits(losses: dict[str, float], shape: tuple[int, ...]) -> dict[str, float]:
    """Losses in nats per image, and the coverage loss, if it is there, as "bits" per dimension too."""
    if "coverage" not in losses:
        return dict(losses)
    channels, height, width = shape
    return losses | {"bits": round(bpd.bits_per_dimension(losses["coverage"], channels * height * width), 5)}


def read_history(log: Path, shape: tuple[int, ...]) -> list[dict[str, float]]:
    """The lines of a training's log, with bits."""
    lines = log.read_text().splitlines() if log.exists() else []
    return [with_bits(json.loads(line), shape) for line in lines]
