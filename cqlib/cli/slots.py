"""The places on this machine in which children run: threads, and which GPU."""

from __future__ import annotations

import os
from collections.abc import Mapping

from cqlib.cli.tasks import cores, thread_limits


def slots(jobs: int | None) -> list[Mapping[str, str]]:
    """The environments of the children that run at a time, by default one per core, or per GPU: each has its share of
    the cores, as threads, and a GPU if there are any. $OMP_NUM_THREADS, where set, is the number of threads."""
    import torch

    gpus = []
    if torch.cuda.is_available():
        seen = os.environ.get("CUDA_VISIBLE_DEVICES")
        gpus = seen.split(",") if seen else [str(index) for index in range(torch.cuda.device_count())]
    count = jobs or len(gpus) or cores()
    chosen = os.environ.get("OMP_NUM_THREADS", "")
    threads = thread_limits(int(chosen) if chosen.isdigit() else max(1, cores() // count))
    cards = [{"CUDA_VISIBLE_DEVICES": gpus[i % len(gpus)]} for i in range(count)] if gpus else [{}] * count
    return [{**threads, **card} for card in cards]
