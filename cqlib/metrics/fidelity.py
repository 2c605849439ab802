"""IS, FID, KID and coverage of samples; the first three by torch-fidelity's own functions on features extracted once
(KID of up to 10,000 images by `kernel.py`, with the same numbers).

Sources: IS, Salimans et al., arXiv:1606.03498; FID, Heusel et al., arXiv:1706.08500; KID, Binkowski et al.,
arXiv:1801.01401; coverage, Naeem et al., arXiv:2002.09797.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata

import torch
from torch import Tensor

from cqlib.metrics.features import Features
from cqlib.metrics.kernel import subset_distances
from cqlib.metrics.metric import Metric
from cqlib.metrics.protocols import Protocol
from cqlib.metrics.quantities import QUANTITIES, SCORES, Quantity
from cqlib.util.errors import unknown_name
from cqlib.util.fp32 import full_fp32

SCORES_VERSION = 1
"""Changes with whatever changes a score of the same features, so that none that were stored before are read."""
SEED = 0
"""The seed of the shuffle for IS and of the subsets for KID."""
IS_SPLITS = 10  # as Salimans et al.; fewer where there are fewer than 100 samples
NEIGHBOURS = 5
"""k of coverage, as in its authors' experiments."""
CHUNK = 1000  # images whose distances to all others are held at once
KID_SUBSETS = 100
KID_SUBSET_SIZE = 1000  # at most; half of the images when there are fewer than 2,000
SPLITS = {"test": "held-out test split", "train": "training split"}
POOLED = tuple(q.id for q in SCORES if q.id != "is")
"""The scores that need no logits."""


@dataclass(frozen=True)
class ScoreInputs:
    """What a score is computed from.

    `fake` (n, d) and `real` (m, d) are pooled features, float32. `logits` (k, classes) are of the images that IS is
    taken of (samples, or real test images). The rest are words for the text of the protocol: `against` says what the
    sets are, `protocol_name` is "" for a profile's own, `note` follows the score's name, and `logits_count` is what the
    number of `logits` is called. IS is the mean over `splits` of them.
    """

    features: Features
    fake: Tensor
    real: Tensor
    against: str
    logits: Tensor | None = None
    protocol_name: str = ""
    note: str = ""
    logits_count: str = "n_fake"
    splits: int = field(default_factory=lambda: IS_SPLITS)

    def __post_init__(self) -> None:
        if min(len(self.fake), len(self.real)) <= NEIGHBOURS:
            counts = f"{len(self.fake)} samples and {len(self.real)} real images"
            raise ValueError(f"scores take at least {NEIGHBOURS + 1} samples and as many real images, not {counts}")

    def protocol(self, kind: str, how: str, layer: str = "") -> str:
        """All that fixes the number, in words."""
        name = f"protocol {self.protocol_name}" if self.protocol_name else ""
        layer = layer or f"{self.features.title} pooled features ({self.real.shape[1]})"
        version = f"torch-fidelity {metadata.version('torch-fidelity')}"
        parts = (name, how, layer, self.features.resize, self.features.weights_words, version)
        return f"{self.features.label(kind)}{self.note}: " + ", ".join(part for part in parts if part)


def score(
    extracted: Mapping[str, Tensor], real: Tensor, protocol: Protocol, *, features: Features, slow: bool = True,
    note: str = "",
) -> dict[str, Metric]:  # fmt: skip
    """A `Metric` for each of `SCORES` under `protocol`, from features that one pass has extracted for all protocols,
    by its name on these features: "FID", or "FD-lite0".

    `extracted` holds the samples' pooled features and logits by layer (see `extract`), `real` the pooled features of
    real images, (n, d) float32 each; the first `n_fake`, `is_images` and `n_real` of them are used. Without `slow`
    those that take long are left out. A metric's n is the number of samples; std: IS over splits, KID over subsets,
    else None. `note` follows the score's name in the protocol's words.
    """
    fake, logits = extracted[features.pooled][: protocol.n_fake], extracted[features.logits][: protocol.is_images]
    real = real[: protocol.n_real]
    against = _against(fake, real, protocol.split)
    sets = ScoreInputs(features, fake, real, against, logits, protocol.name, note)
    return _computed(sets, (q for q in SCORES if slow or not q.slow))


def _computed(sets: ScoreInputs, quantities: Iterable[Quantity]) -> dict[str, Metric]:
    return {sets.features.label(q.name): COMPUTED_BY[q.id](sets) for q in quantities}


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


def coverage(sets: ScoreInputs) -> Metric:
    """The share of real images that have a sample nearer than their k-th nearest other real image."""
    words = sets.protocol("Coverage", f"{sets.against}, k = {NEIGHBOURS}")
    return Metric(covered_share(sets.fake, sets.real, NEIGHBOURS), None, len(sets.fake), words)


def covered_share(fake: Tensor, real: Tensor, k: int) -> float:
    """The share of rows of `real` (m, d) that have a row of `fake` (n, d) nearer than their k-th nearest other row of
    `real`, m > k. Memory stays small; the time grows as m (m + n) d."""
    covered = 0
    with full_fp32():
        for start in range(0, len(real), CHUNK):
            part = real[start : start + CHUNK]
            among_real = torch.cdist(part, real)
            rows = torch.arange(len(part), device=real.device)
            among_real[rows, start + rows] = torch.inf  # not its own neighbour
            radius = among_real.kthvalue(k, dim=1).values
            nearest = torch.cdist(part, fake).amin(1)
            covered += int((nearest < radius).sum())
    return covered / len(real)


COMPUTED_BY: dict[str, Callable[[ScoreInputs], Metric]] = {
    "is": inception_score, "fid": frechet_distance, "kid": kernel_distance, "coverage": coverage,
}  # fmt: skip
"""Id of each of `SCORES` -> the function that computes it."""


def real_images(
    train: Tensor, test: Mapping[str, Tensor], protocol: Protocol, *, features: Features
) -> dict[str, Metric]:
    """The scores of real images, a bar for samples: IS of test images; the distances (their floor) and coverage of
    training images against test images. `train` are pooled features (n, d), `test` features by layer. IS is higher the
    more images there are in a split, so that real images, of which there may be fewer than samples, have splits as
    large as those have."""
    pooled, logits = test[features.pooled], test[features.logits]
    against = f"n_train = n_test = {len(train)}, training split against held-out test split"
    sets = ScoreInputs(features, train, pooled, against, logits, protocol.name, " of real images", "n_test",
                       splits=max(1, IS_SPLITS * len(logits) // protocol.is_images))  # fmt: skip
    return _computed(sets, SCORES)


def pooled_scores(fake: Tensor, real: Tensor, ids: Sequence[str], *, features: Features) -> dict[str, Metric]:
    """The scores `ids` of `POOLED`, by name ("FID", or "FD-lite0"), from pooled features (n, d) of samples and of test
    images. UsageError for others."""
    for id in ids:
        if id not in POOLED:
            raise unknown_name("score", id, POOLED)
    return _computed(ScoreInputs(features, fake, real, _against(fake, real, "test")), (QUANTITIES[id] for id in ids))


def _against(fake: Tensor, real: Tensor, split: str) -> str:
    n = f"n_real = n_fake = {len(fake)}" if len(real) == len(fake) else f"n_real = {len(real)}, n_fake = {len(fake)}"
    return f"{n}, {SPLITS[split]}"
