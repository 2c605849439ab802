"""Features of real images and of Gaussian pixels, and metrics of real images alone, computed once and stored under a
hash of their content. torch-fidelity's own cache (0.4.0) identifies images by a name alone, so it is never used."""

import hashlib
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
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


@dataclass(frozen=True)
class FeatureCache:
    """Features of uint8 images (n, 3, H, W), read from `folder` if they are stored there under a hash of all that they
    depend on, batch size and kind of device included, else computed and stored. Without a `folder` nothing is stored. A
    damaged file is replaced; a folder that cannot be written to gives a warning. `results` as in `extract`."""

    features: Features
    folder: Path | None = None
    device: torch.device | str = "cpu"
    results: PartialResults = IN_MEMORY

    def layers(self, images: Tensor, *layers: str) -> dict[str, Tensor]:
        """Layer -> features, float32 (n, d); the layers that are not stored are extracted in one pass."""
        paths = self._paths(images, layers)
        values = {layer: state["values"] for layer, path in paths.items() if (state := _read(path)) is not None}
        if missing := tuple(layer for layer in layers if layer not in values):
            values |= extract(images, self.features, missing, device=self.device, results=self.results)
            for layer in missing if paths else ():
                _keep(paths[layer], {"values": values[layer]})
        return values

    def pooled(self, images: Tensor) -> Tensor:
        """Pooled features, float32 (n, d)."""
        return self.layers(images, self.features.pooled)[self.features.pooled]

    def metrics(self, name: str, *sets: Tensor, compute: Callable[[], dict[str, Metric]]) -> dict[str, Metric]:
        """The result of `compute()`, metrics of `sets` of features (n, d) and labels (n,), stored under a hash of
        `name`, the content of the sets, the extractor and torch-fidelity's version."""
        if self.folder is None:
            return compute()
        digest = hashlib.sha256(f"{name} {self.features} {metadata.version('torch-fidelity')}".encode())
        for values in sets:
            digest.update(values.contiguous().numpy().data)
        path = self.folder / f"metrics-{self.features.name}-{digest.hexdigest()[:32]}.safetensors"
        if (stored := _read(path)) is None:
            stored = {kind: asdict(metric) for kind, metric in compute().items()}
            _keep(path, stored)
        return {kind: Metric(**values) for kind, values in stored.items()}

    def _paths(self, images: Tensor, layers: Sequence[str]) -> dict[str, Path]:
        """Layer -> file, named after the content of the images and all else that features depend on."""
        if self.folder is None:
            return {}
        content = hashlib.sha256(images.contiguous().cpu().numpy().data).hexdigest()
        paths = {}
        for layer in layers:
            key = {
                "images": content,
                "shape": list(images.shape),
                "extractor": self.features.extractor_name,
                "layer": layer,
                "resize": self.features.resize,
                "weights": self.features.weights_sha256,
                "torch-fidelity": metadata.version("torch-fidelity"),
                "batch": batch_size(self.features, self.device),
                "device": torch.device(self.device).type,
            }
            name = sha256(canonical_json(key).encode())[:32]
            paths[layer] = self.folder / f"features-{self.features.name}-{name}.safetensors"
        return paths


def _read(path: Path) -> dict[str, Any] | None:
    try:
        return load_checkpoint(path)
    except (OSError, CheckpointError):  # none, or damaged
        return None


def _keep(path: Path, state: dict[str, Any]) -> None:
    try:
        save_checkpoint(path, state, keep_previous=False)
    except OSError as error:  # the cache saves time, no more
        warnings.warn(f"cannot keep features in {path}: {error.strerror}", stacklevel=4)
