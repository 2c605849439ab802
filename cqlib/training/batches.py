"""Batches of training images: of a tensor, where which ones come next depends on the seed and the position alone, or of
a stream, which need not fit into memory."""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from cqlib.pixels import check_integers
from cqlib.training.device import images_to_device
from cqlib.util.errors import StoppedEarly, cause_of


def check_images(images: Tensor, labels: Tensor | None, shape: tuple[int, ...]) -> None:
    """ValueError unless `images` are uint8 (N, *shape) with N > 0, and `labels`, if any, as many."""
    check_integers(images)
    if not len(images) or images.shape[1:] != shape or images.dtype != torch.uint8:
        given = f"{images.dtype} {tuple(images.shape)}"
        raise ValueError(f"a system of uint8 images {shape} cannot be trained on {given}")
    if labels is not None and len(labels) != len(images):
        raise ValueError(f"there are {len(labels)} labels of {len(images)} images")


class ImageBatches:
    """An endless stream of batches of uint8 `images` (N, C, H, W), reshuffled in every epoch; with `flips` each is
    mirrored left to right with probability 1/2. A batch is one gather."""

    def __init__(self, images: Tensor, labels: Tensor | None, *, seed: int, flips: bool, device: torch.device) -> None:
        self.images = images_to_device(images, device)
        self.labels = None if labels is None else labels.to(self.images.device)
        self.seed, self.flips, self.device = seed, flips, device
        self.drawn = 0  # images drawn so far, the position: all that a checkpoint has to keep
        self._epoch, self._order = -1, torch.empty(0, dtype=torch.long)  # of the current epoch, on the images' device

    def _indices(self, size: int) -> Tensor:
        """The indices of the next `size` images, (size,); every image comes once per epoch."""
        parts, missing = [], size
        while missing:
            epoch, offset = divmod(self.drawn, len(self.images))
            if epoch != self._epoch:
                generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
                order = torch.randperm(len(self.images), generator=generator)
                self._epoch, self._order = epoch, order.to(self.images.device)
            parts.append(self._order[offset : offset + missing])
            self.drawn += len(parts[-1])
            missing -= len(parts[-1])
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def next(self, size: int) -> tuple[Tensor, dict[str, Tensor]]:
        """The next `size` images on the device, and their labels as a keyword where there are any."""
        indices = self._indices(size)
        x = self.images.index_select(0, indices).to(self.device)  # whole rows: many times as fast as x[indices]
        if self.flips:
            x = flipped(x)
        return x, {} if self.labels is None else {"labels": self.labels[indices].to(self.device)}


class StreamBatches:
    """An endless stream of batches of the images that an iterable `source` gives, uint8 tensors (any number, C, H, W);
    it is begun again whenever it ends. The order is the source's; flips are as those of `ImageBatches`."""

    def __init__(self, source: Iterable[Tensor], *, flips: bool, device: torch.device) -> None:
        self.source, self.flips, self.device = source, flips, device
        self.drawn = 0
        self._coming: Iterator[Tensor] = iter(())
        self._waiting: Tensor | None = None  # what the last batches have left of the source's last tensor

    def next(self, size: int) -> tuple[Tensor, dict[str, Tensor]]:
        """The next `size` images on the device. StoppedEarly, one line, where the source gives none or fails."""
        parts, missing = [], size
        while missing:
            if self._waiting is None or not len(self._waiting):
                self._waiting = self._more()
            part, self._waiting = self._waiting[:missing], self._waiting[missing:]
            parts.append(part)
            missing -= len(part)
        self.drawn += size
        x = torch.cat(parts).to(self.device)
        return flipped(x) if self.flips else x, {}

    def _more(self) -> Tensor:
        """The source's next tensor, if need be from its beginning."""
        try:
            for _ in range(2):
                for images in self._coming:
                    return images
                self._coming = iter(self.source)
        except Exception as error:
            raise StoppedEarly(f"the images could not be read on: {cause_of(error)}") from error
        raise StoppedEarly("the images ended after one pass: pass an iterable that can be begun again")


def batches_of(
    images: Tensor | Iterable[Tensor], labels: Tensor | None, *, seed: int, flips: bool, device: torch.device
) -> ImageBatches | StreamBatches:
    """The batches of a tensor or of a stream; a stream has no labels."""
    if isinstance(images, Tensor):
        return ImageBatches(images, labels, seed=seed, flips=flips, device=device)
    return StreamBatches(images, flips=flips, device=device)


def flipped(x: Tensor) -> Tensor:
    """Images x (N, C, H, W), each mirrored left to right with probability 1/2."""
    flip = torch.rand(len(x), device=x.device) < 0.5
    both = torch.cat([x, x.flip(3)])
    return both.index_select(0, torch.arange(len(x), device=x.device).add(flip, alpha=len(x)))
