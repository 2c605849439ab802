"""Features of real images, and metrics of them alone, computed once and stored by content: torch-fidelity's own
cache (0.4.0) goes by a name alone, and none is ever passed to it."""

import hashlib
import warnings
from collections.abc import Callable, Sequence
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
    """Pooled features: uint8 images (n, 3, H, W) -> float32 (n, d), otherwise as `features_of`."""
    where: dict[str, Any] = {"cache_dir": cache_dir, "device": device, "results": results}
    return features_of(images, (features.pooled,), features=features, **where)[features.pooled]


def features_of(
    images: Tensor,
    layers: Sequence[str],
    *,
    features: Features,
    cache_dir: Path | None = None,
    device: torch.device | str = "cpu",
    results: PartialResults = IN_MEMORY,
) -> dict[str, Tensor]:
    """uint8 images (n, 3, H, W) -> {layer: float32 (n, d)}, each from `cache_dir` when it is there by all that it
    depends on, batch size and kind of device included; one pass for those that are not. A damaged file is replaced; a
    cache that cannot be written is a warning. `results` as in `extract`."""
    paths = {} if cache_dir is None else _paths(images, layers, features, cache_dir, device)
    known = {layer: state["values"] for layer, path in paths.items() if (state := _read(path)) is not None}
    if missing := tuple(layer for layer in layers if layer not in known):
        known |= extract(images, features, missing, device=device, results=results)
        for layer in missing if paths else ():
            _keep(paths[layer], {"values": known[layer]})
    return known


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
    if (known := _read(path)) is None:
        known = compute()
        _keep(path, known)
    return known


def _keep(path: Path, state: dict[str, Any]) -> None:
    try:
        save_checkpoint(path, state, keep_previous=False)
    except OSError as error:  # the cache saves time, no more
        warnings.warn(f"cannot keep features in {path}: {error.strerror}", stacklevel=4)


def _read(path: Path) -> dict[str, Any] | None:
    try:
        return load_checkpoint(path)
    except (OSError, CheckpointError):  # none, or damaged
        return None


def _paths(
    images: Tensor, layers: Sequence[str], features: Features, cache_dir: Path, device: torch.device | str
) -> dict[str, Path]:
    """Layer -> file, named after the content of the images and all else that features depend on."""
    content = hashlib.sha256(images.contiguous().cpu().numpy().data).hexdigest()
    paths = {}
    for layer in layers:
        key = {
            "images": content,
            "shape": list(images.shape),
            "extractor": features.extractor_name,
            "layer": layer,
            "resize": features.resize,
            "weights": features.weights_sha256,
            "torch-fidelity": metadata.version("torch-fidelity"),
            "batch": batch_size(features, device),
            "device": torch.device(device).type,
        }
        name = sha256(canonical_json(key).encode())[:32]
        paths[layer] = Path(cache_dir) / f"features-{features.name}-{name}.safetensors"
    return paths
