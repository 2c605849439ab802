"""Features of real images and of Gaussian pixels, and metrics of real images alone, computed once and stored under a
hash of their content. torch-fidelity's own cache (0.4.0) identifies images by a name alone, so it is never used."""

import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cqlib.data.dataset import tensors_sha256
from cqlib.metrics.features import Features, batch_size, extract
from cqlib.metrics.fidelity import SCORES_VERSION
from cqlib.metrics.metric import Metric
from cqlib.metrics.resumable import IN_MEMORY, PartialResults
from cqlib.util.checkpoint import CheckpointError, load_checkpoint, to_bytes
from cqlib.util.errors import cause_of
from cqlib.util.files import canonical_json, sha256, write_atomic

CODE = tuple(Path(__file__).with_name(name) for name in ("features.py", "lite0.py"))
"""The code that turns images into features; when it changes, features that were stored before are not read."""


@dataclass(frozen=True)
class FeatureCache:
    """Features of uint8 images (n, 3, H, W), read from `folder` if they are stored there under a hash of all that they
    depend on, batch size, kind of device and `CODE` included, else computed and stored. Without a `folder` nothing is
    stored. A damaged file is replaced; a folder that cannot be written to gives a warning. `results` as in `extract`.
    """

    features: Features
    folder: Path | str | None = None
    device: torch.device | str = "cpu"
    results: PartialResults = IN_MEMORY

    def layers(self, images: Tensor, *layers: str) -> dict[str, Tensor]:
        """Layer -> features, float32 (n, d); the layers that are not stored are extracted in one pass."""
        depends = {"batch": batch_size(self.features, self.device), "device": torch.device(self.device).type,
                   "code": sha256(b"".join(file.read_bytes() for file in CODE))}  # fmt: skip
        paths = {layer: self._path("features", images, layer=layer, **depends) for layer in layers}
        values = {layer: state["values"] for layer, path in paths.items() if (state := _read(path)) is not None}
        if missing := tuple(layer for layer in layers if layer not in values):
            values |= extract(images, self.features, *missing, device=self.device, results=self.results)
            for layer in missing:
                _keep(paths[layer], {"values": values[layer]})
        return values

    def pooled(self, images: Tensor) -> Tensor:
        """Pooled features, float32 (n, d)."""
        return self.layers(images, self.features.pooled)[self.features.pooled]

    def metrics(self, name: str, *sets: Tensor, compute: Callable[[], dict[str, Metric]]) -> dict[str, Metric]:
        """The result of `compute()`, metrics of `sets` of features (n, d) and labels (n,), stored under a hash of
        `name`, the content of the sets, the extractor, the versions of torch-fidelity and of our own scores."""
        path = self._path("scores", *sets, name=name, version=SCORES_VERSION)
        if (stored := _read(path)) is None:
            stored = {kind: asdict(metric) for kind, metric in compute().items()}
            _keep(path, stored)
        return {kind: Metric(**values) for kind, values in stored.items()}

    def _path(self, kind: str, *tensors: Tensor, **more: Any) -> Path | None:
        """The file named after the content of `tensors`, the extractor and `more`; None without a folder."""
        if self.folder is None:
            return None
        key = {
            "content": tensors_sha256(*tensors),
            "extractor": self.features.extractor_name,
            "side": self.features.side,
            "weights": self.features.weights_sha256,
            "torch-fidelity": metadata.version("torch-fidelity"),
            **more,
        }
        name = sha256(canonical_json(key).encode())[:32]
        return Path(self.folder) / f"{kind}-{self.features.name}-{name}.safetensors"


def _read(path: Path | None) -> dict[str, Any] | None:
    try:
        return load_checkpoint(path) if path else None
    except (OSError, CheckpointError):  # none, or damaged
        return None


def _keep(path: Path | None, state: dict[str, Any]) -> None:
    try:
        if path:
            write_atomic(path, to_bytes(state))  # under a name of its own at first: other rows may keep the same
    except OSError as error:  # the cache saves time, no more
        warnings.warn(f"cannot keep features in {path}: {cause_of(error)}", stacklevel=4)
