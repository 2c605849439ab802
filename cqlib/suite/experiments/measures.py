"""Images of your own as tensors and as a picture, and what is measured on them: scores, and bits per dimension."""

import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import IterableDataset

from cqlib.data.grids import grid_png
from cqlib.metrics import bpd, fidelity
from cqlib.metrics.features import extract, features_for
from cqlib.metrics.protocols import Preset
from cqlib.models.base import LikelihoodSystem, System
from cqlib.pixels import to_uint8
from cqlib.recipe import EVALUATION
from cqlib.util.device import select_device
from cqlib.util.errors import Notice
from cqlib.util.files import write_atomic


def scores(
    samples: Any,
    images: Any,
    *,
    side: int | None = None,
    feature_weights: Path | str | None = None,
    device: torch.device | str | None = None,
) -> dict[str, float]:
    """IS and coverage (higher is better), Fréchet and kernel distance (lower is better) of `samples` to held-out
    `images`: {"FD-lite0": 612.3, …}. Both are as `uint8_images` takes them, at least 6 of one shape.

    Features are EfficientNet-lite0's, of images resized to `side` pixels (default: 96 up to 16 pixels, else 224), or,
    with torch-fidelity's file of Inception weights as `feature_weights`, Inception's ("FID"). Scores compare only at
    the same numbers of images and the same side. ValueError for images that do not fit.
    """
    fake, real = uint8_images(samples), uint8_images(images)
    if fake.shape[1:] != real.shape[1:]:
        raise ValueError(f"samples {_shape(fake)} and images {_shape(real)} differ in shape: resize the images")
    side = side or EVALUATION["quick" if real.shape[-1] <= 16 else "study"].side
    features = features_for(feature_weights, None, profile="quick", side=side)
    layers, where = (features.pooled, features.logits), select_device(device)
    of_fake = extract(fake.expand(-1, 3, -1, -1), features, *layers, device=where)
    of_real = extract(real.expand(-1, 3, -1, -1), features, features.pooled, device=where)[features.pooled]
    preset = Preset("", "test", len(real), len(fake), len(fake))
    metrics = fidelity.score(of_fake, of_real, preset, features=features)
    return {name: metric.number for name, metric in metrics.items()}


def bits_per_dimension(model: System, images: Any, *, importance_samples: int = 1) -> float:
    """Bits per dimension of held-out `images` (see `uint8_images`); lower is better. An upper bound, tighter with more
    `importance_samples`. ValueError for images that do not fit, TypeError for a model without a likelihood."""
    model, data = held_out(model, images)
    nats = bpd.held_out_nll(model, data, importance_samples=importance_samples)
    return float(bpd.bits_per_dimension(nats.mean(), data[0].numel()))


def save_grid(images: Any, file: Path | str, *, columns: int = 8, scale: int | None = None) -> Path:
    """Write `images` (see `uint8_images`), such as samples, to a PNG `file`, in rows of `columns` with grey lines
    between them, each pixel `scale` times a side (default: so that an image is some 128 pixels wide). Returns the
    file's path. ValueError for images that do not fit and a file of another kind, OSError where it cannot be
    written."""
    path, data = Path(file).expanduser(), uint8_images(images)
    if path.suffix.lower() != ".png":
        raise ValueError(
            f"save_grid writes PNG, which keeps every pixel: name the file {path.with_suffix('.png').name}"
        )
    if columns < 1:
        raise ValueError(f"columns is 1 or more, not {columns}")
    return write_atomic(path, grid_png(data, columns=columns, scale=scale or max(1, 128 // data.shape[-1])))


def held_out(model: System, images: Any, name: str = "images") -> tuple[LikelihoodSystem, Tensor]:
    """A model with a likelihood, and held-out images of its shape. Errors as for `bits_per_dimension`."""
    if not isinstance(model, LikelihoodSystem):
        raise TypeError(f"a {type(model).__name__} has no likelihood, and so no bits per dimension")
    return model, uint8_images(images, model.shape, name)


def training_images(images: Any, shape: tuple[int, ...], batch_size: int) -> Tensor | Iterable[Tensor]:
    """Images to train on, of this (C, H, W): as `uint8_images` gives them, or the batches of a DataLoader or another
    iterable. Errors as for both; a `Notice` for images that do not fill a batch."""
    if isinstance(images, IterableDataset):
        raise TypeError("an IterableDataset gives single images: pass DataLoader(dataset, batch_size=64), its batches")
    if hasattr(images, "__iter__") and not hasattr(images, "__getitem__"):
        return Stream(images, shape)
    data = uint8_images(images, shape)
    if len(data) < batch_size:
        few = f"{len(data)} images do not fill a batch of {batch_size}"
        warnings.warn(Notice(f"{few}, and the model will repeat them: take hundreds or more"), stacklevel=3)
    return data


class Stream:
    """Batches of images of your own as uint8 tensors (N, C, H, W), anew each time they are iterated over. `batches`
    gives what `uint8_images` takes, or tuples that begin with it. TypeError for an iterator, which is spent after one
    pass; ValueError where there are no batches; for the first batch, errors as for `uint8_images`."""

    def __init__(self, batches: Iterable[Any], shape: tuple[int, ...]) -> None:
        if isinstance(batches, Iterator):
            kind = type(batches).__name__
            raise TypeError(f"a {kind} ends after one pass: pass a DataLoader, or another iterable of batches that can "
                            f"be begun again")  # fmt: skip
        self.batches, self.shape, self.signed = batches, shape, False
        if next(iter(self), None) is None:
            raise ValueError("there are no images: the iterable has no batches")
        self.signed = True  # what the first batch shows, a light one need not: that its floats are in [-1, 1]

    def __iter__(self) -> Iterator[Tensor]:
        for batch in self.batches:
            images = batch[0] if isinstance(batch, tuple | list) else batch
            yield uint8_images(images, self.shape, signed=self.signed)


def uint8_images(
    images: Any, shape: tuple[int, ...] | None = None, name: str = "images", *, signed: bool = False
) -> Tensor:
    """Images of your own as one uint8 tensor (N, C, H, W); `shape` is the (C, H, W) that they must have, if any.

    `images`: a tensor or array (N, C, H, W), (N, H, W, C) or, grey, (N, H, W), or a torch Dataset of such images or of
    PIL images, perhaps with labels. Pixels are uint8, or floats in [-1, 1] such as `model.sample` gives; where they
    have no negative one, they are taken for other floats unless they are known to be `signed`. TypeError for other
    objects, ValueError for other shapes, types and ranges, each in a line that says what to pass; `name` is what it
    calls the images.
    """
    if isinstance(images, Tensor | np.ndarray):
        stack = _tensor(images)
    elif hasattr(images, "__len__") and hasattr(images, "__getitem__") and not isinstance(images, str | dict):
        items = [images[i] for i in range(len(images))]
        tensors = [_tensor(item[0] if isinstance(item, tuple | list) else item) for item in items]
        if len({tensor.shape for tensor in tensors}) > 1:
            raise ValueError(f"the {name} differ in shape: resize or crop them to one")
        stack = torch.stack(tensors) if tensors else torch.empty(0)
    else:
        kind = type(images).__name__
        raise TypeError(f"{name} are a tensor, an array or a Dataset with a length, not {kind}; of a DataLoader pass "
                        f'its dataset, of files cqlib.data.load("folder:PATH").train.images')  # fmt: skip
    if stack.dim() == 3:
        stack = stack[:, None]
    channels = (1, 3) if shape is None else shape[:1]
    if stack.dim() == 4 and stack.shape[1] not in channels and stack.shape[3] in channels:
        stack = stack.permute(0, 3, 1, 2)
    if not len(stack):
        raise ValueError(f"there are no {name}")
    fits = stack.dim() == 4 and stack.shape[1] in channels and shape in (None, tuple(stack.shape[1:]))
    if not fits:
        wanted = "C, H, W) with 1 or 3 channels" if shape is None else f"{', '.join(map(str, shape))})"
        remedy = "" if shape is None else ": resize them, or make a model of their size and channels"
        raise ValueError(f"{name} are (N, {wanted}, not {_shape(stack)}{remedy}")
    if stack.is_floating_point():
        if spoilt := int((~stack.isfinite()).flatten(1).any(1).sum()):
            raise ValueError(f"{spoilt} of {len(stack)} {name} have NaN or infinite values: leave them out")
        low, high = (float(end) for end in stack.aminmax())
        if not (-1 <= low and high <= 1 and (signed or low < 0)):
            found = f"floats from {low:.3g} to {high:.3g}"
            remedy = "pass them" if high > 1 else "of floats in [0, 1] pass (255 * images).round()"
            raise ValueError(f"{name} are uint8, or floats in [-1, 1], not {found}: {remedy} as uint8")
        stack = to_uint8(stack)
    if stack.dtype != torch.uint8:
        kind = str(stack.dtype).removeprefix("torch.")
        raise ValueError(f"{name} are uint8, or floats in [-1, 1], not {kind}: pass values 0 to 255 as uint8")
    return stack.contiguous()


def _tensor(image: Any) -> Tensor:
    """A tensor as it is; an array or a PIL image as a tensor of its own."""
    if isinstance(image, Tensor):
        return image
    array = np.array(image)
    if array.dtype.kind not in "buif":
        raise ValueError(f"images are arrays of numbers, not of {array.dtype}")
    return torch.from_numpy(array)


def _shape(images: Tensor) -> str:
    return f"({', '.join(map(str, images.shape))})"
