"""Imported once by the process from which the runs of `fault_run.py` are forked."""

import torch

from cqlib import data
from cqlib.experiments import experiment as experiments  # noqa: F401
from cqlib.metrics.features import lite0

torch.set_num_threads(1)
lite0(224).extractor()
data.load("photos10", size=16)
