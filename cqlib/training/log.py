"""The log of a training: the means of its losses, and how many steps were skipped. What a step finds stays on the
device until a number is asked for, so that steps wait for nothing."""

import json
import math
from pathlib import Path

from torch import Tensor

from cqlib.models.base import Losses
from cqlib.training.tensorboard import summary_writer
from cqlib.util.files import write_atomic


class Diverged(Exception):
    """Too many steps in a row had a skipped update; `step` is the last of them."""

    def __init__(self, step: int) -> None:
        super().__init__(f"diverged at step {step}")
        self.step = step


class Log:
    """Losses and skipped steps of one training: lines of the file at `path`, and of TensorBoard where that is asked
    for. Whatever needs a number raises `Diverged` after `max_nonfinite` steps in a row with a skipped update."""

    KEPT = ("skipped", "skipped_in_a_row", "lines", "sums", "counts")
    """Attributes that checkpoints keep."""

    def __init__(self, path: Path, max_nonfinite: int) -> None:
        self.path, self.max_nonfinite = path, max_nonfinite
        self.skipped = self.skipped_in_a_row = 0
        self.lines: list[str] = []
        self.sums: dict[str, float] = {}
        self.counts: dict[str, int] = {}
        self.unread: list[tuple[int, Losses, Tensor]] = []
        writer = summary_writer()
        self.writer = writer and writer(str(path.parent / "tensorboard" / path.stem))

    def take(self, step: int, losses: Losses, finite: Tensor) -> None:
        """Take the losses of a step, and whether all was finite, a flag (): tensors, of which none is read yet."""
        self.unread.append((step, losses, finite))

    def read(self) -> None:
        """Count the steps since the last call, and add their losses to the next line. The host waits for the device
        here and nowhere else in the steps."""
        unread, self.unread = self.unread, []
        for step, losses, finite in unread:
            good = bool(finite)
            self.skipped += not good
            self.skipped_in_a_row = 0 if good else self.skipped_in_a_row + 1
            for name, value in losses.items():
                self.add(name, float(value))
            if self.skipped_in_a_row >= self.max_nonfinite:
                raise Diverged(step)

    def add(self, name: str, number: float) -> None:
        """Let a finite number be part of the mean of that name in the next line."""
        if math.isfinite(number):
            self.sums[name] = self.sums.get(name, 0.0) + number
            self.counts[name] = self.counts.get(name, 0) + 1

    def means(self) -> dict[str, float]:
        """The mean of each loss since the last line."""
        self.read()
        return {name: round(total / self.counts[name], 5) for name, total in self.sums.items()}

    def end_line(self, step: int, seconds: float) -> None:
        """Add a line for the steps up to this one."""
        means = self.means()
        line = {"step": step, "seconds": round(seconds, 2), "skipped": self.skipped, **means}
        self.lines.append(json.dumps(line))
        if self.writer is not None:
            for name, mean in means.items():
                self.writer.add_scalar(name, mean, step)
            self.writer.flush()
        self.sums, self.counts = {}, {}

    def write(self) -> None:
        """Write the lines so far to the file."""
        write_atomic(self.path, "".join(line + "\n" for line in self.lines))
