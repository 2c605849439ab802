"""torch-fidelity's formulas and extractors, imported when first needed: it brings torchvision and a compiler along,
seconds that whoever draws or renders need not wait for."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from torch_fidelity.feature_extractor_base import FeatureExtractorBase


def version() -> str:
    """Of torch-fidelity: "0.4.0"."""
    import torch_fidelity

    return torch_fidelity.__version__


def extractor(name: str, layers: Sequence[str], weights: Any) -> FeatureExtractorBase:
    """The extractor of that name with weights from a file object, on the CPU."""
    from torch_fidelity.utils import create_feature_extractor

    from cqlib.metrics import lite0  # noqa: F401  (registers itself)

    return create_feature_extractor(name, list(layers), cuda=False, feature_extractor_weights_path=weights,
                                    verbose=False)  # fmt: skip


def inception_score(logits: Tensor, splits: int, seed: int) -> tuple[float, float]:
    """Mean and standard deviation over `splits` of logits (n, classes) shuffled with `seed`."""
    from torch_fidelity import metric_isc as isc

    found = isc.isc_features_to_metric(logits, splits=splits, rng_seed=seed)
    return found[isc.KEY_METRIC_ISC_MEAN], found[isc.KEY_METRIC_ISC_STD]


def frechet_distance(one: Tensor, other: Tensor) -> float:
    """Between Gaussians fitted to two sets of features (n, d)."""
    from torch_fidelity import metric_fid as fid

    statistics = [fid.fid_features_to_statistics(features) for features in (one, other)]
    return fid.fid_statistics_to_metric(*statistics, verbose=False)[fid.KEY_METRIC_FID]


def kernel_distance(one: Tensor, other: Tensor, subsets: int, size: int, seed: int) -> tuple[float, float]:
    """Mean and standard deviation over `subsets` of `size` features (n, d) drawn with `seed`."""
    from torch_fidelity import metric_kid as kid

    found = kid.kid_features_to_metric(one, other, kid_subsets=subsets, kid_subset_size=size, rng_seed=seed,
                                       verbose=False)  # fmt: skip
    return found[kid.KEY_METRIC_KID_MEAN], found[kid.KEY_METRIC_KID_STD]


def precision_and_recall(fake: Tensor, real: Tensor, neighbours: int) -> tuple[float, float]:
    """Of features (n, d), in parts: memory stays small, the result is the same."""
    from torch_fidelity import metric_prc as prc

    found = prc.prc_features_to_metric(fake, real, prc_neighborhood=neighbours, prc_batch_size=1000, save_cpu_ram=True,
                                       verbose=False)  # fmt: skip
    return found[prc.KEY_METRIC_PRECISION], found[prc.KEY_METRIC_RECALL]


LITE0_NAME = "efficientnet-lite0"
"""In torch-fidelity's registry."""


@contextlib.contextmanager
def full_fp32() -> Iterator[None]:
    """Inside, float32 is float32: no TF32, no bfloat16, no autocast. Afterwards all is as before."""
    backends: Any = torch.backends
    settings = (backends.cuda.matmul, backends.cudnn.conv, backends.mkldnn.matmul, backends.mkldnn.conv)
    before = [setting.fp32_precision for setting in settings]
    try:
        for setting in settings:
            setting.fp32_precision = "ieee"
        with contextlib.ExitStack() as stack:
            for kind in ("cpu", "cuda"):
                if torch.is_autocast_enabled(kind):  # not else: within an autocast, another one keeps its bf16 weights
                    stack.enter_context(torch.autocast(kind, enabled=False))
            yield
    finally:
        for setting, value in zip(settings, before, strict=True):
            setting.fp32_precision = value
