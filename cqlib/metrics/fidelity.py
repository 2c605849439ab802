"""IS, FID, KID, precision and recall of samples: torch-fidelity's own functions on features extracted once.

Sources: IS, Salimans et al., arXiv:1606.03498; FID, Heusel et al., arXiv:1706.08500; KID, Binkowski et al.,
arXiv:1801.01401; precision and recall, Kynkaanniemi et al., arXiv:1904.06991 (3 nearest neighbours).

Features of real images are cached by content (cache.py).
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch_fidelity
from torch import Tensor
from torch_fidelity.metric_fid import (
    KEY_METRIC_FID,
    fid_features_to_statistics,
    fid_statistics_to_metric,
)
from torch_fidelity.metric_isc import KEY_METRIC_ISC_MEAN, KEY_METRIC_ISC_STD, isc_features_to_metric
from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, KEY_METRIC_KID_STD, kid_features_to_metric
from torch_fidelity.metric_prc import KEY_METRIC_PRECISION, KEY_METRIC_RECALL, prc_features_to_metric

from cqlib.errors import UserError, unknown
from cqlib.metrics.cache import pooled_features
from cqlib.metrics.features import Features, extract, full_fp32
from cqlib.records import Metric

KINDS = ("IS", "FID", "KID", "Precision", "Recall")
SUFFIXES = {"lite0": "-lite0", "inception": ""}
NEIGHBOURS = 3
KID_SUBSETS = 100
KID_SUBSET_SIZE = 1000  # at most; half of the images when there are fewer than 2,000
SPLITS = {"test": "held-out test split", "train": "training split"}


def label(kind: str, features: Features | str) -> str:
    """A metric's name: "FID" on Inception features, "FD-lite0" on lite0's (FID and KID name Inception)."""
    if kind not in KINDS:
        raise unknown("metric", kind, KINDS)
    name = features if isinstance(features, str) else features.name
    if name not in SUFFIXES:
        raise unknown("features", name, SUFFIXES)
    suffix = SUFFIXES[name]
    return ({"FID": "FD", "KID": "KD"}.get(kind, kind) if suffix else kind) + suffix


def metric_name(kind: str, features: Features | str, temperature: float | None) -> str:
    """The name in a record: "FD-lite0@T1", "IS@T0"; temperature None is the floor of FID or KID: "KID-floor".

    UsageError for an unknown kind or unknown features; ValueError for the floor of another kind.
    """
    if temperature is not None:
        return f"{label(kind, features)}@T{temperature:g}"
    if kind not in ("FID", "KID"):
        raise ValueError(f"{kind} has no floor: give a temperature")
    return f"{label(kind, features)}-floor"


def evaluate(
    fake: Tensor,
    real: Tensor,
    *,
    features: Features,
    split: str = "test",
    n_splits: int = 10,
    batch_size: int | None = None,
    cache_dir: Path | None = None,
    seed: int = 0,
    device: torch.device | str = "cpu",
) -> dict[str, Metric]:
    """Scores of samples `fake` against `real` images, uint8 (n, 3, H, W): a `Metric` per kind of `KINDS`.

    `split` says where `real` comes from ("test", "train", or words); `n_splits` are those of the Inception
    score (fewer when they would hold under 10 images); `seed` fixes the shuffle of IS and the subsets of
    KID. std: IS over splits, KID over subsets, else None. `cache_dir` keeps the features of `real`.
    UserError when the images are no two equally large sets of at least 4 colour images of one size.
    """
    n = _check(fake, real, "generated", "real")
    made = extract(fake, features, (features.pooled, features.logits), batch_size=batch_size, device=device)
    fake_pooled, logits = made[features.pooled], made[features.logits]
    real_pooled = pooled_features(real, features=features, batch_size=batch_size, cache_dir=cache_dir, device=device)
    n_splits = max(1, min(n_splits, n // 10))
    with full_fp32():
        score = isc_features_to_metric(logits, splits=n_splits, rng_seed=seed)
        found = prc_features_to_metric(  # in parts: memory stays small, the result is the same
            fake_pooled,
            real_pooled,
            prc_neighborhood=NEIGHBOURS,
            prc_batch_size=1000,
            save_cpu_ram=True,
            verbose=False,
        )
    against = f"n_real = n_fake = {n}, {SPLITS.get(split, split)}"
    classes = f"{features.title} logits ({logits.shape[1]} classes)"
    spread = score[KEY_METRIC_ISC_STD] if n_splits > 1 else None
    how = f"n_fake = {n} in {n_splits} splits, shuffled with seed {seed}"
    metrics = {"IS": Metric(score[KEY_METRIC_ISC_MEAN], spread, n, _protocol("IS", features, how, classes))}
    metrics |= _distances(fake_pooled, real_pooled, features, against, "", seed)
    how, layer = f"{against}, {NEIGHBOURS} nearest neighbours", _pooled_words(features, real_pooled)
    for kind, key in (("Precision", KEY_METRIC_PRECISION), ("Recall", KEY_METRIC_RECALL)):
        metrics[kind] = Metric(found[key], None, n, _protocol(kind, features, how, layer))
    return metrics


def floor(
    train: Tensor,
    test: Tensor,
    *,
    features: Features,
    batch_size: int | None = None,
    cache_dir: Path | None = None,
    seed: int = 0,
    device: torch.device | str = "cpu",
) -> dict[str, Metric]:
    """FID and KID between real training and test images, uint8 (n, 3, H, W): what a perfect model gets.

    Errors as in `evaluate`.
    """
    n = _check(train, test, "training", "test")
    one, other = (
        pooled_features(images, features=features, batch_size=batch_size, cache_dir=cache_dir, device=device)
        for images in (train, test)
    )
    against = f"n_train = n_test = {n}, training split against held-out test split"
    return _distances(one, other, features, against, " floor", seed)


def _distances(one: Tensor, other: Tensor, features: Features, against: str, note: str, seed: int) -> dict[str, Metric]:
    """FID and KID between two sets of pooled features, float32 (n, d) each."""
    n = len(one)
    size = min(KID_SUBSET_SIZE, n // 2)
    with full_fp32():
        statistics = [fid_features_to_statistics(pooled) for pooled in (one, other)]
        frechet = fid_statistics_to_metric(*statistics, verbose=False)[KEY_METRIC_FID]
        kernel = kid_features_to_metric(
            one, other, kid_subsets=KID_SUBSETS, kid_subset_size=size, rng_seed=seed, verbose=False
        )
    layer = _pooled_words(features, one)
    subsets = f"mean over {KID_SUBSETS} subsets of {size} drawn with seed {seed}, cubic polynomial kernel"
    return {
        "FID": Metric(frechet, None, n, _protocol("FID", features, against, layer, note)),
        "KID": Metric(
            kernel[KEY_METRIC_KID_MEAN],
            kernel[KEY_METRIC_KID_STD],
            n,
            _protocol("KID", features, f"{against}, {subsets}", layer, note),
        ),
    }


def _pooled_words(features: Features, pooled: Tensor) -> str:
    return f"{features.title} pooled features ({pooled.shape[1]})"


def _protocol(kind: str, features: Features, how: str, layer: str, note: str = "") -> str:
    """All that fixes the number, in words."""
    library = f"torch-fidelity {torch_fidelity.__version__}"
    parts = (how, layer, features.resize, features.weights_words, library)
    return f"{label(kind, features)}{note}: " + ", ".join(part for part in parts if part)


def _check(one: Tensor, other: Tensor, one_words: str, other_words: str) -> int:
    """The common number of images; UserError when no score can be had of these two sets."""
    for images, words in ((one, one_words), (other, other_words)):
        if images.dtype != torch.uint8 or images.dim() != 4 or images.shape[1] != 3:
            raise UserError(
                f"IS, FID, KID, precision and recall need colour images, uint8 (n, 3, H, W); "
                f"the {words} images are {images.dtype} {tuple(images.shape)}"
            )
        if len(images) <= NEIGHBOURS:
            raise UserError(
                f"FID, KID, precision and recall need at least {NEIGHBOURS + 1} images; "
                f"there are {len(images)} {words} images: use more"
            )
    if one.shape != other.shape:
        raise UserError(
            f"FID is biased by the number of images, so both sets must be equally large and of one size: "
            f"{one_words} {tuple(one.shape)}, {other_words} {tuple(other.shape)}"
        )
    return len(one)
