"""Curves for TensorBoard, an optional package, where `--tensorboard` or $CQLIB_TENSORBOARD asks for them."""

import os
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
