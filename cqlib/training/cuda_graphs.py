"""Parts of a training step as CUDA graphs: one launch where the host would launch hundreds of kernels, which is what
small nets wait for.

A graph repeats the same kernels on the same memory. So a part takes its batch from one tensor that is overwritten, its
learning rate from a tensor on the card, and what it returns is copied out before the next replay.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable

import torch
from torch import Tensor

from cqlib.models.base import Losses
from cqlib.util.errors import UserError

Returned = tuple[Losses, Tensor]
"""Detached losses, and whether all was finite (bool, no dimension)."""
Part = Callable[[Tensor], Returned]

WARM_UP = 3
"""Calls of a part before it is captured: libraries set themselves up in them, and optimisers their state."""


class Capture:
    """Captures parts into graphs that share their memory: none needs what another has left there."""

    def __init__(self):
        self._pool = torch.cuda.graph_pool_handle()

    def __call__(self, part: Callable[[], Returned]) -> tuple[Callable[[], None], Returned]:
        """What `part` would launch, not launched yet: a call that does, and the tensors that hold its results then."""
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool):
            returned = part()
        return graph.replay, returned


class Graphs:
    """The parts of a step by key; each is run as it is at first, then captured, then replayed. All its batches are of
    one shape."""

    def __init__(self, capture: Callable[[Callable[[], Returned]], tuple[Callable[[], None], Returned]] | None = None):
        self._capture = capture or Capture()
        self._side: torch.cuda.Stream | None = None
        self._calls: dict[Hashable, int] = {}
        self._captured: dict[Hashable, tuple[Tensor, Callable[[], None], Returned]] = {}

    def __call__(self, key: Hashable, part: Part, x: Tensor) -> Returned:
        """`part`(x), perhaps by its graph. UserError where it cannot be captured, after which this process cannot go
        on on its card: a broken capture leaves stream, allocator and random numbers behind in its midst."""
        self._calls[key] = self._calls.get(key, 0) + 1
        if self._calls[key] <= WARM_UP:
            return self._aside(part, x)
        if key not in self._captured:
            batch = x.clone()
            try:
                self._captured[key] = (batch, *self._capture(lambda: part(batch)))
            except RuntimeError as error:
                cause = next(iter(str(error.__context__ or error).splitlines()), "no word of why")
                raise UserError(f"cuda_graphs: the update '{key}' cannot be captured: {cause}") from error
        batch, replay, (losses, finite) = self._captured[key]
        batch.copy_(x)
        replay()
        return {name: value.clone() for name, value in losses.items()}, finite.clone()

    def _aside(self, part: Part, x: Tensor) -> Returned:
        """On a stream beside the default one, where nothing can be captured that was set up there; on one and the same,
        for each has memory of its own."""
        if not x.is_cuda:
            return part(x)
        here = torch.cuda.current_stream()
        self._side = self._side or torch.cuda.Stream()
        self._side.wait_stream(here)
        with torch.cuda.stream(self._side):
            returned = part(x)
        here.wait_stream(self._side)
        return returned
