"""Pooled features of real images, and metrics of them alone, computed once and stored by content: torch-fidelity's own
cache (0.4.0) goes by a name alone, and none is ever passed to it."""

import hashlib
import warnings
from collections.abc import Callable
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cqlib.metrics.features import Features, batch_size, extract
from cqlib.metrics.metric import Metric
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
    """Pooled features: uint8 images (n, 3, H, W) -> float32 (n, d), from `cache_dir` when they are there by all that
    they depend on, batch size and kind of device included. A damaged file is replaced; a cache that cannot be written
    is a warning. `results` as in `extract`."""

    def compute() -> dict[str, Tensor]:
        layers = extract(images, features, (features.pooled,), device=device, results=results)
        return {"pooled": layers[features.pooled]}

    path = None if cache_dir is None else _path(images, features, cache_dir, device)
    return (compute() if path is None else _once(path, compute))["pooled"]


def metrics_once(
    name: str, *sets: Tensor, features: Features, cache_dir: Path, compute: Callable[[], dict[str, Metric]]
) -> dict[str, Metric]:
    """`compute()`: metrics of `sets` of pooled features (n, d), from `cache_dir` when they are there, by `name`,
    content of the sets, extractor and torch-fidelity's version."""
    digest = hashlib.sha256(f"{name} {features} {metadata.version('torch-fidelity')}".encode())
    for pooled in sets:
        digest.update(pooled.numpy().data)
    path = cache_dir / f"metrics-{features.name}-{digest.hexdigest()[:32]}.safetensors"
    stored = _once(path, lambda: {kind: asdict(metric) for kind, metric in compute().items()})
    return {kind: Metric(**values) for kind, values in stored.items()}


def _once(path: Path, compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What the file holds, or `compute()`, which is kept there."""
    if (known := _read(path)) is not None:
        return known
    state = compute()
    try:
        save_checkpoint(path, state, keep_previous=False)
    except OSError as error:  # the cache saves time, no more
        warnings.warn(f"cannot keep features in {path}: {error.strerror}", stacklevel=3)
    return state


def cached_features(images: Tensor, *, features: Features, cache_dir: Path) -> Tensor | None:
    """What `pooled_features` would read from `cache_dir` on a CPU; None where it would have to compute."""
    known = _read(_path(images, features, cache_dir, "cpu"))
    return None if known is None else known["pooled"]


def _read(path: Path) -> dict[str, Any] | None:
    try:
        return load_checkpoint(path)
    except (OSError, CheckpointError):  # none, or damaged
        return None


def _path(images: Tensor, features: Features, cache_dir: Path, device: torch.device | str) -> Path:
    key = {
        "images": hashlib.sha256(images.contiguous().cpu().numpy().data).hexdigest(),
        "shape": list(images.shape),
        "extractor": [features.extractor_name, features.pooled, features.resize],
        "weights": features.weights_sha256,
        "torch-fidelity": metadata.version("torch-fidelity"),
        "batch": batch_size(features, device),
        "device": torch.device(device).type,
    }
    name = sha256(canonical_json(key).encode())[:32]
    return Path(cache_dir) / f"features-{features.name}-{name}.safetensors"
