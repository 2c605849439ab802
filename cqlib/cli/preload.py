"""Loaded in the fork server, the process from which children are forked, so that they start with torch imported. It
uses one thread: a pool of threads would not survive the fork."""

import os
import signal
from contextlib import suppress

# Ctrl-C and SIGTERM to the group or to all processes must not end this process: the parent reacts to them, and needs
# it to learn how children end.
with suppress(OSError, ValueError):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.setsid()

import torch
import torch._dynamo  # every optimiser imports it, in seconds

from cqlib import data
from cqlib.experiments import run  # noqa: F401
from cqlib.experiments.rows import DEVELOPMENT_DATA
from cqlib.metrics.features import lite0
from cqlib.recipe import EVALUATION
from cqlib.util.errors import UserError

torch.set_num_threads(1)
with suppress(UserError):  # a task that needs what is missing says so in one line
    data.load(DEVELOPMENT_DATA, size=16)
with suppress(UserError):
    lite0(EVALUATION["quick"].side).extractor()
with suppress(ImportError):
    import papermill  # noqa: F401

    from cqlib.cli import notebooks  # noqa: F401
