"""IS, FID, KID, precision and recall of samples: torch-fidelity's own functions on features extracted once.

Sources: IS, Salimans et al., arXiv:1606.03498; FID, Heusel et al., arXiv:1706.08500; KID, Binkowski et al.,
arXiv:1801.01401; precision and recall, Kynkaanniemi et al., arXiv:1904.06991 (3 nearest neighbours).
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import metadata

from torch import Tensor

from cqlib.metrics.features import Features
from cqlib.metrics.metric import Metric
from cqlib.metrics.precision import full_fp32
from cqlib.metrics.protocols import Protocol

SEED = 0
"""Of the shuffle of IS and the subsets of KID."""
NEIGHBOURS = 3
KID_SUBSETS = 100
KID_SUBSET_SIZE = 1000  # at most; half of the images when there are fewer than 2,000
SPLITS = {"test": "held-out test split", "train": "training split"}


def score(
    extracted: Mapping[str, Tensor], real: Tensor, protocol: Protocol, *, features: Features, prc: bool = True
) -> dict[str, Metric]:
    """IS, FID, KID, Precision and Recall under `protocol`, from features that one pass has extracted for all protocols.

    `extracted` holds the samples' pooled features and logits by layer (see `extract`), `real` the pooled features of
    real images, (n, d) float32 each; the first `n_fake`, `is_images` and `n_real` of them are used. `prc`: precision
    and recall too, whose time grows as the square of n. A metric's n is the number of samples; std: IS over splits, KID
    over subsets, else None.
    """
    from torch_fidelity import metric_isc, metric_prc

    fake, logits = extracted[features.pooled][: protocol.n_fake], extracted[features.logits][: protocol.is_images]
    real = real[: protocol.n_real]
    n_splits = max(1, min(protocol.is_splits, len(logits) // 10))
    with full_fp32():
        values = metric_isc.isc_features_to_metric(logits, splits=n_splits, rng_seed=SEED)
    mean, spread = values[metric_isc.KEY_METRIC_ISC_MEAN], values[metric_isc.KEY_METRIC_ISC_STD]
    classes = f"{features.title} logits ({logits.shape[1]} classes)"
    how = _named(f"n_fake = {len(logits)} in {n_splits} splits, shuffled with seed {SEED}", protocol.name)
    words = _protocol("IS", features, how, classes)
    metrics = {"IS": Metric(mean, spread if n_splits > 1 else None, len(logits), words)}
    against = _named(_against(fake, real, protocol.split), protocol.name)
    metrics |= _distances(fake, real, features, against, "")
    if prc:
        with full_fp32():  # in parts: memory stays small, the result is the same
            values = metric_prc.prc_features_to_metric(fake, real, prc_neighborhood=NEIGHBOURS, prc_batch_size=1000,
                                                       save_cpu_ram=True, verbose=False)  # fmt: skip
        words = f"{against}, {NEIGHBOURS} nearest neighbours"
        for kind, key in ("Precision", metric_prc.KEY_METRIC_PRECISION), ("Recall", metric_prc.KEY_METRIC_RECALL):
            metrics[kind] = Metric(
                values[key], None, len(fake), _protocol(kind, features, words, _layer(features, real))
            )
    return metrics


def floor(train: Tensor, test: Tensor, *, features: Features, protocol_name: str = "") -> dict[str, Metric]:
    """FID and KID between real training and test images: what a perfect model gets. Pooled features (n, d) of each;
    `protocol_name` is part of the protocol."""
    against = f"n_train = n_test = {len(train)}, training split against held-out test split"
    return _distances(train, test, features, _named(against, protocol_name), " floor")


def frechet(fake: Tensor, real: Tensor, *, features: Features, split: str) -> Metric:
    """FID alone, from pooled features (n, d) of samples and of real images of `split`."""
    return _frechet(fake, real, features, _against(fake, real, split), "")


def _distances(one: Tensor, other: Tensor, features: Features, against: str, note: str) -> dict[str, Metric]:
    """FID and KID between two sets of pooled features, float32 (n, d) each."""
    from torch_fidelity import metric_kid

    size = min(KID_SUBSET_SIZE, len(one) // 2, len(other) // 2)
    with full_fp32():
        values = metric_kid.kid_features_to_metric(one, other, kid_subsets=KID_SUBSETS, kid_subset_size=size,
                                                   rng_seed=SEED, verbose=False)  # fmt: skip
    subsets = f"mean over {KID_SUBSETS} subsets of {size} drawn with seed {SEED}, cubic polynomial kernel"
    words = _protocol("KID", features, f"{against}, {subsets}", _layer(features, one), note)
    mean, spread = values[metric_kid.KEY_METRIC_KID_MEAN], values[metric_kid.KEY_METRIC_KID_STD]
    return {"FID": _frechet(one, other, features, against, note), "KID": Metric(mean, spread, len(one), words)}


def _frechet(one: Tensor, other: Tensor, features: Features, against: str, note: str) -> Metric:
    """The Fréchet distance between Gaussians fitted to two sets of pooled features (n, d)."""
    from torch_fidelity import metric_fid

    with full_fp32():
        moments = [metric_fid.fid_features_to_statistics(pooled) for pooled in (one, other)]
        value = metric_fid.fid_statistics_to_metric(*moments, verbose=False)[metric_fid.KEY_METRIC_FID]
    return Metric(value, None, len(one), _protocol("FID", features, against, _layer(features, one), note))


def _against(fake: Tensor, real: Tensor, split: str) -> str:
    n = f"n_real = n_fake = {len(fake)}" if len(real) == len(fake) else f"n_real = {len(real)}, n_fake = {len(fake)}"
    return f"{n}, {SPLITS.get(split, split)}"


def _named(how: str, name: str) -> str:
    return f"protocol {name}, {how}" if name else how


def _layer(features: Features, pooled: Tensor) -> str:
    return f"{features.title} pooled features ({pooled.shape[1]})"


def _protocol(kind: str, features: Features, how: str, layer: str, note: str = "") -> str:
    """All that fixes the number, in words."""
    version = f"torch-fidelity {metadata.version('torch-fidelity')}"
    parts = (how, layer, features.resize, features.weights_words, version)
    return f"{features.label(kind)}{note}: " + ", ".join(part for part in parts if part)
