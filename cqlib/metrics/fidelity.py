"""IS, FID, KID, precision and recall of samples, by torch-fidelity's own functions on features extracted once (KID of
up to 10,000 images by `kernel.py`, with the same numbers); and how evenly samples reach the classes.

Sources: IS, Salimans et al., arXiv:1606.03498; FID, Heusel et al., arXiv:1706.08500; KID, Binkowski et al.,
arXiv:1801.01401; precision and recall, Kynkaanniemi et al., arXiv:1904.06991 (3 nearest neighbours).
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib import metadata

import torch
from torch import Tensor

from cqlib.metrics.features import Features
from cqlib.metrics.fp32 import full_fp32
from cqlib.metrics.kernel import subset_distances
from cqlib.metrics.metric import Metric
from cqlib.metrics.protocols import Protocol
from cqlib.metrics.quantities import QUANTITIES, SCORES, Quantity
from cqlib.util.errors import unknown_name

SCORES_VERSION = 1
"""Changes with whatever changes a score of the same features, so that none that were stored before are read."""
SEED = 0
"""The seed of the shuffle for IS and of the subsets for KID."""
IS_SPLITS = 10  # as Salimans et al.; fewer where there are fewer than 100 samples
NEIGHBOURS = 3
CHUNK = 1000  # images whose distances to all others are held at once
KID_SUBSETS = 100
KID_SUBSET_SIZE = 1000  # at most; half of the images when there are fewer than 2,000
SPLITS = {"test": "held-out test split", "train": "training split"}
POOLED = tuple(q.id for q in SCORES if q.id not in ("is", "classes"))
"""The scores that need neither logits nor labels."""


@dataclass(frozen=True)
class ScoreInputs:
    """What a score is computed from.

    `fake` (n, d) and `real` (m, d) are pooled features, float32. `logits` (k, classes) are of the images that IS is
    taken of (samples, or real test images), `labels` (m,) of the real images, where a score needs them. The rest
    are words for the text of the protocol: `against` says what the sets are, `protocol_name` is "" for a profile's own,
    `note` follows the score's name, and `logits_count` is what the number of `logits` is called. IS is the mean over
    `splits` of them.
    """

    features: Features
    fake: Tensor
    real: Tensor
    against: str
    logits: Tensor | None = None
    labels: Tensor | None = None
    protocol_name: str = ""
    note: str = ""
    logits_count: str = "n_fake"
    splits: int = field(default_factory=lambda: IS_SPLITS)

    def __post_init__(self) -> None:
        if min(len(self.fake), len(self.real)) <= NEIGHBOURS:
            counts = f"{len(self.fake)} samples and {len(self.real)} real images"
            raise ValueError(f"scores take at least {NEIGHBOURS + 1} samples and as many real images, not {counts}")

    @cached_property
    def neighbours(self) -> dict[str, float]:
        """Precision and recall; their time grows as the square of n."""
        from torch_fidelity import metric_prc

        with full_fp32():  # in parts: memory stays small, the result is the same
            values = metric_prc.prc_features_to_metric(self.fake, self.real, prc_neighborhood=NEIGHBOURS,
                                                       prc_batch_size=CHUNK, save_cpu_ram=True,
                                                       verbose=False)  # fmt: skip
        return {"Precision": values[metric_prc.KEY_METRIC_PRECISION], "Recall": values[metric_prc.KEY_METRIC_RECALL]}

    def protocol(self, kind: str, how: str, layer: str = "") -> str:
        """All that fixes the number, in words."""
        name = f"protocol {self.protocol_name}" if self.protocol_name else ""
        layer = layer or f"{self.features.title} pooled features ({self.real.shape[1]})"
        version = f"torch-fidelity {metadata.version('torch-fidelity')}"
        parts = (name, how, layer, self.features.resize, self.features.weights_words, version)
        return f"{self.features.label(kind)}{self.note}: " + ", ".join(part for part in parts if part)


def score(
    extracted: Mapping[str, Tensor], real: Tensor, protocol: Protocol, *, features: Features, slow: bool = True,
    labels: Tensor | None = None,
) -> dict[str, Metric]:  # fmt: skip
    """A `Metric` for each of `SCORES` under `protocol`, from features that one pass has extracted for all protocols,
    by its name on these features: "FID", or "FD-lite0".

    `extracted` holds the samples' pooled features and logits by layer (see `extract`), `real` the pooled features of
    real images, (n, d) float32 each; the first `n_fake`, `is_images` and `n_real` of them are used. Without `slow`
    those that take long are left out. A metric's n is the number of samples; std: IS over splits, KID over subsets,
    else None. Without `labels`, int64 (n,) of the real images, there is no score of classes.
    """
    fake, logits = extracted[features.pooled][: protocol.n_fake], extracted[features.logits][: protocol.is_images]
    real = real[: protocol.n_real]
    labels = None if labels is None else labels[: protocol.n_real]
    against = _against(fake, real, protocol.split)
    return _scores(ScoreInputs(features, fake, real, against, logits, labels, protocol.name), slow)


def _scores(sets: ScoreInputs, slow: bool = True) -> dict[str, Metric]:
    quantities = [q for q in SCORES if (slow or not q.slow) and (sets.labels is not None or not q.labelled)]
    return _computed(sets, quantities)


def _computed(sets: ScoreInputs, quantities: Iterable[Quantity]) -> dict[str, Metric]:
    return {sets.features.label(q.name): globals()[q.how](sets) for q in quantities}


def inception_score(sets: ScoreInputs) -> Metric:
    """exp E KL(p(class | sample) || p(class)): the mean over splits of the samples."""
    from torch_fidelity import metric_isc

    assert sets.logits is not None
    n, classes = sets.logits.shape
    splits = max(1, min(sets.splits, n // 10))
    with full_fp32():
        values = metric_isc.isc_features_to_metric(sets.logits, splits=splits, rng_seed=SEED)
    mean, spread = values[metric_isc.KEY_METRIC_ISC_MEAN], values[metric_isc.KEY_METRIC_ISC_STD]
    how = f"{sets.logits_count} = {n} in {splits} split{'s' * (splits > 1)}, shuffled with seed {SEED}"
    words = sets.protocol("IS", how, f"{sets.features.title} logits ({classes} classes)")
    return Metric(mean, spread if splits > 1 else None, n, words)


def frechet_distance(sets: ScoreInputs) -> Metric:
    """The Fréchet distance between Gaussians fitted to the two sets."""
    from torch_fidelity import metric_fid

    with full_fp32():
        moments = [metric_fid.fid_features_to_statistics(pooled) for pooled in (sets.fake, sets.real)]
        value = metric_fid.fid_statistics_to_metric(*moments, verbose=False)[metric_fid.KEY_METRIC_FID]
    return Metric(value, None, len(sets.fake), sets.protocol("FID", sets.against))


def kernel_distance(sets: ScoreInputs) -> Metric:
    """The squared maximum mean discrepancy with a cubic kernel, the mean over subsets of the two sets."""
    from torch_fidelity import metric_kid

    size = min(KID_SUBSET_SIZE, len(sets.fake) // 2, len(sets.real) // 2)
    if max(len(sets.fake), len(sets.real)) ** 2 <= KID_SUBSETS * size**2:  # fewer pairs than in all subsets
        distances = subset_distances(sets.fake, sets.real, subsets=KID_SUBSETS, size=size, seed=SEED)
        mean, spread = float(distances.mean()), float(distances.std(correction=0))
    else:
        with full_fp32():
            values = metric_kid.kid_features_to_metric(sets.fake, sets.real, kid_subsets=KID_SUBSETS,
                                                       kid_subset_size=size, rng_seed=SEED, verbose=False)  # fmt: skip
        mean, spread = values[metric_kid.KEY_METRIC_KID_MEAN], values[metric_kid.KEY_METRIC_KID_STD]
    subsets = f"mean over {KID_SUBSETS} subsets of {size} drawn with seed {SEED}, cubic polynomial kernel"
    words = sets.protocol("KID", f"{sets.against}, {subsets}")
    return Metric(mean, spread, len(sets.fake), words)


def precision(sets: ScoreInputs) -> Metric:
    """The share of samples that lie near a real image, by nearest neighbours."""
    return _by_neighbours(sets, "Precision")


def recall(sets: ScoreInputs) -> Metric:
    """The share of real images that lie near a sample, by nearest neighbours."""
    return _by_neighbours(sets, "Recall")


def class_coverage(sets: ScoreInputs) -> Metric:
    """The share of classes that samples reach: exp(-KL(p || q)), p and q the shares of classes among samples and among
    real images, in (0, 1]. It is 1 where they agree, and k / K where samples fall evenly on k of K equal classes alone.

    A sample gets the class of its nearest real image, as with the bins of Richardson and Weiss (NDB, arXiv:1805.12462);
    the divergence is that of Metz et al. (arXiv:1611.02163), who ask a classifier. A mere count of the classes reached
    would not notice a class with too few samples. Samples that get a wrong class move the score towards 1.
    """
    assert sets.labels is not None
    with full_fp32():
        nearest = torch.cat([torch.cdist(part, sets.real).argmin(1) for part in sets.fake.split(CHUNK)])
    classes = int(sets.labels.max()) + 1
    p, q = (torch.bincount(of, minlength=classes).double() / len(of) for of in (sets.labels[nearest], sets.labels))
    reached = p > 0
    divergence = float((p * (p / q).log())[reached].sum())
    words = sets.protocol("Classes", f"{sets.against}, by the nearest real image")
    return Metric(math.exp(-divergence), None, len(sets.fake), words)


def _by_neighbours(sets: ScoreInputs, name: str) -> Metric:
    words = sets.protocol(name, f"{sets.against}, {NEIGHBOURS} nearest neighbours")
    return Metric(sets.neighbours[name], None, len(sets.fake), words)


def real_images(
    train: Tensor, test: Mapping[str, Tensor], protocol: Protocol, *, features: Features, labels: Tensor | None = None
) -> dict[str, Metric]:
    """The scores of real images, a bar for samples: IS of test images; the distances (their floor), precision, recall
    and classes of training images against test images. `train` are pooled features (n, d), `test` features by layer.
    IS is higher the more images there are in a split, so that real images, of which there may be fewer than samples,
    have splits as large as those have."""
    pooled, logits = test[features.pooled], test[features.logits]
    against = f"n_train = n_test = {len(train)}, training split against held-out test split"
    sets = ScoreInputs(features, train, pooled, against, logits, labels, protocol.name, " of real images", "n_test",
                       splits=max(1, IS_SPLITS * len(logits) // protocol.is_images))
    return _scores(sets)


def pooled_scores(
    fake: Tensor, real: Tensor, ids: Sequence[str], *, features: Features, split: str
) -> dict[str, Metric]:
    """The scores `ids` of `POOLED`, by name ("FID", or "FD-lite0"), from pooled features (n, d) of samples and of real
    images of `split`, "test" or "train". UsageError for others."""
    for kind, name, valid in ("split", split, SPLITS), *(("score", id, POOLED) for id in ids):
        if name not in valid:
            raise unknown_name(kind, name, valid)
    return _computed(ScoreInputs(features, fake, real, _against(fake, real, split)), (QUANTITIES[id] for id in ids))


def _against(fake: Tensor, real: Tensor, split: str) -> str:
    n = f"n_real = n_fake = {len(fake)}" if len(real) == len(fake) else f"n_real = {len(real)}, n_fake = {len(fake)}"
    return f"{n}, {SPLITS[split]}"
