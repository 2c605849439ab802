"""Pooled features of real images, computed once and stored by content.

torch-fidelity's own cache goes by a name alone: the same name for other images returns the features of the first
(0.4.0), so that no name is ever passed to it.
"""

from __future__ import annotations

import hashlib
import warnings
from importlib import metadata
from pathlib import Path

import torch
from torch import Tensor

from cqlib.metrics.features import Features, batch_size, extract
from cqlib.metrics.resumable import IN_MEMORY, PartialResults
from cqlib.util.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from cqlib.util.files import canonical_json, sha256


def pooled_features(
    images: Tensor,
    *,
    features: Features,
    cache_dir: Path | None = None,
    device: torch.device | str = "cpu",
    results: PartialResults = IN_MEMORY,
) -> Tensor:
    """Pooled features: uint8 images (n, 3, H, W) -> float32 (n, d), from `cache_dir` when they are there.

    The key is all that they depend on: the images, the extractor, its weights' content, torch-fidelity's version, and,
    because float32 sums differ in the last digits, batch size and kind of device. A damaged file is replaced; a cache
    that cannot be written is a warning. `results` as in `extract`.
    """
    path = None if cache_dir is None else _path(images, features, cache_dir, device)
    if path is not None and (known := _read(path)) is not None:
        return known
    pooled = extract(images, features, (features.pooled,), device=device, results=results)[features.pooled]
    if path is not None:
        try:
            save_checkpoint(path, {"pooled": pooled}, keep_previous=False)
        except OSError as error:  # the cache saves time, no more
            warnings.warn(f"cannot keep features in {path}: {error.strerror}", stacklevel=2)
    return pooled


def cached_features(
    images: Tensor, *, features: Features, cache_dir: Path, device: torch.device | str = "cpu"
) -> Tensor | None:
    """What `pooled_features` would read from `cache_dir`; None where it would have to compute."""
    return _read(_path(images, features, cache_dir, device))


def _read(path: Path) -> Tensor | None:
    try:
        return load_checkpoint(path)["pooled"]
    except (OSError, CheckpointError, KeyError):  # none, damaged, or of an earlier version
        return None


def _path(images: Tensor, features: Features, cache_dir: Path, device: torch.device | str) -> Path:
    key = {
        "images": hashlib.sha256(images.contiguous().cpu().numpy().data).hexdigest(),
        "shape": list(images.shape),
        "extractor": [features.extractor_name, features.pooled, features.resize],
        "weights": features.weights_sha256,
        "torch-fidelity": metadata.version("torch-fidelity"),
        "batch": batch_size(device),
        "device": torch.device(device).type,
    }
    name = sha256(canonical_json(key).encode())[:32]
    return Path(cache_dir) / f"features-{features.name}-{name}.safetensors"
