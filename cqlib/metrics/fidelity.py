"""IS, FID, KID, precision and recall of samples: torch-fidelity's own functions on features extracted once.

Sources: IS, Salimans et al., arXiv:1606.03498; FID, Heusel et al., arXiv:1706.08500; KID, Binkowski et al.,
arXiv:1801.01401; precision and recall, Kynkaanniemi et al., arXiv:1904.06991 (3 nearest neighbours).

Features of real images are cached by content (cache.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from cqlib.metrics import library
from cqlib.metrics.cache import pooled_features
from cqlib.metrics.features import Features
from cqlib.metrics.library import full_fp32
from cqlib.metrics.metric import Metric
from cqlib.metrics.protocols import Protocol
from cqlib.metrics.resumable import IN_MEMORY, PartialResults
from cqlib.util.errors import UserError, unknown

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

    Under another protocol than the main one, `protocols.with_protocol` adds its name to it. UsageError for an
    unknown kind or unknown features; ValueError for the floor of another kind.
    """
    if temperature is not None:
        return f"{label(kind, features)}@T{temperature:g}"
    if kind not in ("FID", "KID"):
        raise ValueError(f"{kind} has no floor: give a temperature")
    return f"{label(kind, features)}-floor"


def score(
    extracted: Mapping[str, Tensor],
    real: Tensor,
    protocol: Protocol,
    *,
    features: Features,
    prc: bool = True,
    seed: int = 0,
) -> dict[str, Metric]:
    """A `Metric` per kind of `KINDS` under `protocol`, from features that one pass has extracted for all protocols.

    `extracted` holds the samples' pooled features and logits by layer (see `extract`), `real` the pooled features of
    real images, (n, d) float32 each; the first `n_fake`, `is_images` and `n_real` of them are used. `prc`: precision
    and recall too, whose time grows as the square of n. `seed` fixes the shuffle of IS and the subsets of KID. A
    metric's n is the number of samples; std: IS over splits, KID over subsets, else None.
    """
    fake, logits = extracted[features.pooled][: protocol.n_fake], extracted[features.logits][: protocol.is_images]
    real = real[: protocol.n_real]
    n_splits = max(1, min(protocol.is_splits, len(logits) // 10))
    with full_fp32():
        mean, spread = library.inception_score(logits, n_splits, seed)
    classes = f"{features.title} logits ({logits.shape[1]} classes)"
    how = _named(f"n_fake = {len(logits)} in {n_splits} splits, shuffled with seed {seed}", protocol.name)
    words = _protocol("IS", features, how, classes)
    metrics = {"IS": Metric(mean, spread if n_splits > 1 else None, len(logits), words)}
    equal = len(real) == len(fake)
    n = f"n_real = n_fake = {len(fake)}" if equal else f"n_real = {len(real)}, n_fake = {len(fake)}"
    against = _named(f"{n}, {SPLITS.get(protocol.split, protocol.split)}", protocol.name)
    metrics |= _distances(fake, real, features, against, "", seed)
    if prc:
        with full_fp32():
            values = library.precision_and_recall(fake, real, NEIGHBOURS)
        how, layer = f"{against}, {NEIGHBOURS} nearest neighbours", _pooled_words(features, real)
        for kind, value in zip(("Precision", "Recall"), values, strict=True):
            metrics[kind] = Metric(value, None, len(fake), _protocol(kind, features, how, layer))
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
    protocol_name: str = "",
    results: PartialResults = IN_MEMORY,
) -> dict[str, Metric]:
    """FID and KID between real training and test images, uint8 (n, 3, H, W): what a perfect model gets.

    `protocol_name` is part of the protocol; `results` as in `extract`. UserError when the images are no two equally
    large sets of at least 4 colour images of one size.
    """
    _check(train, test)
    one, other = (
        pooled_features(x, features=features, batch_size=batch_size, cache_dir=cache_dir, device=device,
                        results=results)
        for x in (train, test)
    )  # fmt: skip
    against = f"n_train = n_test = {len(one)}, training split against held-out test split"
    against = _named(against, protocol_name)
    return _distances(one, other, features, against, " floor", seed)


def frechet(fake: Tensor, real: Tensor, *, features: Features, split: str) -> Metric:
    """FID alone, from pooled features (n, d) of samples and of real images of `split`."""
    with full_fp32():
        value = library.frechet_distance(fake, real)
    n = f"n_real = n_fake = {len(fake)}" if len(real) == len(fake) else f"n_real = {len(real)}, n_fake = {len(fake)}"
    words = _protocol("FID", features, f"{n}, {SPLITS.get(split, split)}", _pooled_words(features, fake))
    return Metric(value, None, len(fake), words)


def _distances(one: Tensor, other: Tensor, features: Features, against: str, note: str, seed: int) -> dict[str, Metric]:
    """FID and KID between two sets of pooled features, float32 (n, d) each."""
    n = len(one)
    size = min(KID_SUBSET_SIZE, n // 2, len(other) // 2)
    with full_fp32():
        frechet = library.frechet_distance(one, other)
        kernel, spread = library.kernel_distance(one, other, KID_SUBSETS, size, seed)
    layer = _pooled_words(features, one)
    subsets = f"mean over {KID_SUBSETS} subsets of {size} drawn with seed {seed}, cubic polynomial kernel"
    return {
        "FID": Metric(frechet, None, n, _protocol("FID", features, against, layer, note)),
        "KID": Metric(
            kernel,
            spread,
            n,
            _protocol("KID", features, f"{against}, {subsets}", layer, note),
        ),
    }


def _named(how: str, name: str) -> str:
    return f"protocol {name}, {how}" if name else how


def _pooled_words(features: Features, pooled: Tensor) -> str:
    return f"{features.title} pooled features ({pooled.shape[1]})"


def _protocol(kind: str, features: Features, how: str, layer: str, note: str = "") -> str:
    """All that fixes the number, in words."""
    parts = (how, layer, features.resize, features.weights_words, f"torch-fidelity {library.version()}")
    return f"{label(kind, features)}{note}: " + ", ".join(part for part in parts if part)


def _check(train: Tensor, test: Tensor) -> None:
    """UserError when no score can be computed from these two sets."""
    for images, words in ((train, "training"), (test, "test")):
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
    if train.shape != test.shape:
        raise UserError(
            f"FID is biased by the number of images, so both sets must be equally large and of one size: "
            f"training {tuple(train.shape)}, test {tuple(test.shape)}"
        )
