"""What glibc does with memory that a step has freed: it keeps it, for the next step asks for the same again.

By default it returns large blocks to the system at once, and each step of a training pays for fresh pages of zeros.
"""

from __future__ import annotations

import ctypes
import functools

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
"""Of `mallopt`, as <malloc.h> numbers them."""
LIMITS = (1 << 30, 1 << 25)
"""In bytes; older versions of glibc refuse more than the second."""


@functools.cache
def keep_freed_memory() -> bool:
    """From now on this process keeps what it frees, up to the limit that glibc takes; whether it does. Elsewhere than
    on glibc nothing happens."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    for limit in LIMITS:
        if mallopt(MMAP_THRESHOLD, limit):
            return bool(mallopt(TRIM_THRESHOLD, limit))
    return False
