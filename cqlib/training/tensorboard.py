"""Curves for TensorBoard, an optional package, where `--tensorboard` or $CQLIB_TENSORBOARD asks for them."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cqlib.util.errors import UserError


def summary_writer() -> Any:
    """TensorBoard's writer of scalars, or None where nobody asks for them. UserError without the package."""
    if os.environ.get("CQLIB_TENSORBOARD") in (None, "", "0"):
        return None
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise UserError("--tensorboard needs a package: pip install tensorboard") from error
    return SummaryWriter


def write_scalars(folder: Path, points: Iterable[tuple[str, int, float]]) -> None:
    """Write all points (name, step, value) to `folder`, in place of what was there; do nothing where nobody asks for
    curves."""
    if (writer := summary_writer()) is None:
        return
    for earlier in folder.glob("events.*"):
        earlier.unlink(missing_ok=True)
    with writer(str(folder)) as file:
        for name, step, value in points:
            file.add_scalar(name, value, step)
