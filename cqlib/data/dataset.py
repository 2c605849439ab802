"""What every data set is: two splits of 8-bit images in one tensor each, with labels and a fingerprint."""

import functools
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self, TypeVar

import numpy as np
import torch
from torch import Tensor

T = TypeVar("T")
SEED = 20
"""The seed of `fixed_order`."""


def fixed_order(n: int) -> np.ndarray:
    """int64 (n,): the random order in which n images of a sorted source are stored, equal for each version of numpy."""
    return np.argsort(np.random.PCG64(SEED).random_raw(n), kind="stable")


def shuffled(items: Sequence[T]) -> list[T]:
    """`items` in `fixed_order`."""
    return [items[i] for i in fixed_order(len(items))]


def tensors_sha256(*tensors: Tensor) -> str:
    """Hex digest of SHA-256 over shape, dtype and bytes of each tensor."""
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(f"{tuple(tensor.shape)} {tensor.dtype}\n".encode())
        digest.update(tensor.contiguous().cpu().numpy().data.cast("B"))
    return digest.hexdigest()


@dataclass(frozen=True, eq=False)
class Split:
    """One split, "train" or "test". `images` uint8 (N, C, H, W) in 0..255, `labels` int64 (N,), both contiguous on the
    CPU and read-only: a data set is built once and shared. ValueError on a wrong dtype, shape or count, or an empty
    split."""

    name: str
    images: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        if self.images.dtype != torch.uint8 or self.images.dim() != 4 or self.images.numel() == 0:
            raise ValueError(f"{self.name} images must be uint8 (N, C, H, W), not {self.images.dtype} {self.shape}")
        if self.labels.dtype != torch.int64 or self.labels.shape != self.images.shape[:1]:
            found = f"{self.labels.dtype} {tuple(self.labels.shape)}"
            raise ValueError(f"{self.name} labels must be int64 ({len(self.images)},), not {found}")
        if not (self.images.is_contiguous() and self.labels.is_contiguous()):
            raise ValueError(f"{self.name} tensors must be contiguous")

    def __len__(self) -> int:
        return len(self.images)

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, C, H, W)."""
        return tuple(self.images.shape)

    @functools.cached_property
    def fingerprint(self) -> str:
        """16 hex digits of SHA-256 over shape, dtype and bytes of images and labels; computed once."""
        return tensors_sha256(self.images, self.labels)[:16]

    @classmethod
    def stored(cls, name: str, images: Tensor, labels: Tensor, fingerprint: str | None) -> Self:
        """A split whose fingerprint, if given, was computed when it was written: no 37 GB are hashed to use it."""
        split = cls(name, images, labels)
        if fingerprint:
            split.__dict__["fingerprint"] = fingerprint  # where cached_property keeps it; `first` and `replace` drop it
        return split

    def first(self, n: int) -> Self:
        """The first n images (all of them when there are fewer)."""
        if n < 1:
            raise ValueError(f"a split needs at least one image, not {n}")
        if n >= len(self):
            return self
        return replace(self, images=self.images[:n], labels=self.labels[:n])


@dataclass(frozen=True, eq=False)
class Dataset:
    """`train` and `test` of square images of side `size`; label k means `classes[k]`; `how` is the preprocessing in
    words, for the record. ValueError where the splits differ."""

    name: str
    size: int
    classes: tuple[str, ...]
    train: Split
    test: Split
    how: str = ""

    def __post_init__(self) -> None:
        shape = (self.channels, self.size, self.size)
        for split in (self.train, self.test):
            if split.shape[1:] != shape:
                raise ValueError(f"{self.name}: {split.name} images of shape {split.shape[1:]}, not {shape}")
            if split.labels.min() < 0 or split.labels.max() >= len(self.classes):
                raise ValueError(f"{self.name}: {split.name} labels of none of the {len(self.classes)} classes")

    @property
    def channels(self) -> int:
        """C: 3 for colour images."""
        return self.train.shape[1]

    def first(self, n_train: int, n_test: int) -> Self:
        """The same data set with only the first images of each split."""
        return replace(self, train=self.train.first(n_train), test=self.test.first(n_test))
