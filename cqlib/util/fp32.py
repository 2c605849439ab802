"""Float32 arithmetic: true, without TF32, bfloat16 or autocast; or, where it is asked for, TF32 on a GPU."""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch


@contextlib.contextmanager
def full_fp32(*, tf32: bool = False) -> Iterator[None]:
    """Inside, float32 operations are computed in true float32: TF32, bfloat16 and autocast are off. With `tf32` a GPU
    computes its convolutions and matrix products in TF32. The settings are restored afterwards."""
    backends: Any = torch.backends
    of_gpu = (backends.cuda.matmul, backends.cudnn.conv, backends.cudnn.rnn)
    settings = (*of_gpu, backends.mkldnn.matmul, backends.mkldnn.conv)
    before = [setting.fp32_precision for setting in settings]
    try:
        for setting in settings:
            setting.fp32_precision = "tf32" if tf32 and setting in of_gpu else "ieee"
        with contextlib.ExitStack() as stack:
            for kind in ("cpu", "cuda"):
                if torch.is_autocast_enabled(kind):  # only then: an autocast inside another keeps its bf16 weights
                    stack.enter_context(torch.autocast(kind, enabled=False))
            yield
    finally:
        for setting, value in zip(settings, before, strict=True):
            setting.fp32_precision = value
