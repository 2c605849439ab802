"""What the process that children are forked from has loaded. One thread: a pool would not survive the fork."""

import os
import signal
from contextlib import suppress

# Ctrl-C and signals to the group, or to all processes, are for the parent, which stops its children by this process.
with suppress(OSError, ValueError):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.setsid()

import torch
import torch._dynamo  # every optimiser imports it, in seconds

from cqlib import data
from cqlib.experiments import run  # noqa: F401
from cqlib.metrics.features import lite0
from cqlib.recipe import EVALUATION
from cqlib.util.errors import UserError

torch.set_num_threads(1)
with suppress(UserError):  # who needs them is told in one line
    data.load("photos10", size=16)
with suppress(UserError):
    lite0(EVALUATION["quick"].side).extractor()
with suppress(ImportError):
    import papermill  # noqa: F401

    from cqlib.cli import papermill as _  # noqa: F401
