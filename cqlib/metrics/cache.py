"""Pooled features of real images, computed once and kept by content.

torch-fidelity's own cache goes by a name alone: the same name for other images returns the features of the
first (0.4.0), so no name is ever given to it.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from cqlib.metrics import library
from cqlib.metrics.features import Features, extract
from cqlib.util.files import canonical_json, sha256, write_atomic


def pooled_features(
    images: Tensor,
    *,
    features: Features,
    batch_size: int | None = None,
    cache_dir: Path | None = None,
    device: torch.device | str = "cpu",
    on_batch: Callable[[], None] = lambda: None,
) -> Tensor:
    """Pooled features: uint8 images (n, 3, H, W) -> float32 (n, d), from `cache_dir` when they are there.

    The key is all that they depend on: the images, the extractor, its weights' content, torch-fidelity's
    version, and, because float32 sums differ in the last digits, batch size and kind of device. A damaged
    file is made anew; a cache that cannot be written is a warning. `on_batch` as in `extract`.
    """
    batch_size = batch_size or features.batch_size(device)
    if cache_dir is None:
        return _compute(images, features, batch_size, device, on_batch)
    path = _place(images, features, batch_size, cache_dir, device)
    pooled = _read(path, len(images))
    if pooled is None:
        pooled = _compute(images, features, batch_size, device, on_batch)
        try:
            write_atomic(path, save({"pooled": pooled, "sha256": _bytes(_digest(pooled))}))
        except OSError as error:  # the cache saves time, no more
            warnings.warn(f"cannot keep features in {path}: {error.strerror}", stacklevel=2)
    return pooled


def kept_features(
    images: Tensor, *, features: Features, cache_dir: Path, device: torch.device | str = "cpu"
) -> Tensor | None:
    """What `pooled_features` would read from `cache_dir`; None where it would have to compute."""
    return _read(_place(images, features, features.batch_size(device), cache_dir, device), len(images))


def _place(images: Tensor, features: Features, batch_size: int, cache_dir: Path, device: torch.device | str) -> Path:
    """The file of these images' features."""
    key = {
        "images": _digest(images),
        "shape": list(images.shape),
        "extractor": [features.extractor_name, features.pooled, features.resize],
        "weights": features.weights_sha256,
        "torch-fidelity": library.version(),
        "batch": batch_size,
        "device": torch.device(device).type,
    }
    name = sha256(canonical_json(key).encode())[:32]
    return Path(cache_dir) / f"features-{features.name}-{name}.safetensors"


def _compute(
    images: Tensor, features: Features, batch_size: int, device: torch.device | str, on_batch: Callable[[], None]
) -> Tensor:
    layers = (features.pooled,)
    made = extract(images, features, layers, batch_size=batch_size, device=device, on_batch=on_batch)
    return made[features.pooled]


def _read(path: Path, n: int) -> Tensor | None:
    """The features in a cache file, or None when there is none or it is damaged in any bit."""
    try:
        tensors = load(path.read_bytes())
    except (OSError, SafetensorError):
        return None
    if tensors.keys() != {"pooled", "sha256"}:
        return None
    pooled = tensors["pooled"]
    whole = len(pooled) == n and torch.equal(tensors["sha256"], _bytes(_digest(pooled)))
    return pooled if whole else None


def _digest(tensor: Tensor) -> str:
    """SHA-256 of a tensor's values, without a second copy of them."""
    return hashlib.sha256(tensor.contiguous().cpu().numpy().data).hexdigest()


def _bytes(digest: str) -> Tensor:
    return torch.tensor(list(bytes.fromhex(digest)), dtype=torch.uint8)
