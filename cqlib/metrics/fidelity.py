"""IS, FID, KID and coverage of samples; the first three by torch-fidelity's own functions on features extracted once
(KID of up to 10,000 images by `kernel.py`, with the same numbers).

Sources: IS, Salimans et al., arXiv:1606.03498; FID, Heusel et al., arXiv:1706.08500; KID, Binkowski et al.,
arXiv:1801.01401; coverage, Naeem et al., arXiv:2002.09797.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any, Literal

import torch
from torch import Tensor

from cqlib.metrics.features import Features
from cqlib.metrics.kernel import subset_distances
from cqlib.metrics.metric import Metric, Protocol, Subject
from cqlib.metrics.protocols import Preset
from cqlib.metrics.quantities import QUANTITIES, SCORES, Quantity
from cqlib.util.fp32 import full_fp32

SCORES_VERSION = 2
"""Changes with whatever changes a score of the same features, or its form, so that none that were stored before are
read."""
SEED = 0
"""The seed of the shuffle for IS and of the subsets for KID."""
IS_SPLITS = 10  # as Salimans et al.; fewer where there are fewer than 100 samples
NEIGHBOURS = 5
"""k of coverage, as in its authors' experiments."""
CHUNK = 1000  # images whose distances to all others are held at once
KID_SUBSETS = 100
KID_SUBSET_SIZE = 1000  # at most; half of the images when there are fewer than 2,000


@dataclass(frozen=True)
class ScoreInputs:
    """What a score is computed from.

    `fake` (n, d) and `real` (m, d) are pooled features, float32. `logits` (k, classes) are of the images that IS is
    taken of (samples, or real test images), in `splits`. The rest is for the protocol: the `split` of the real images,
    what the scores are `of` if not samples, and the name of the `preset`, "" for a profile's own.
    """

    features: Features
    fake: Tensor
    real: Tensor
    split: Literal["test", "train"]
    logits: Tensor | None = None
    preset: str = ""
    of: Subject = None
    splits: int = field(default_factory=lambda: IS_SPLITS)

    def __post_init__(self) -> None:
        if min(len(self.fake), len(self.real)) <= NEIGHBOURS:
            counts = f"{len(self.fake)} samples and {len(self.real)} real images"
            raise ValueError(f"scores take at least {NEIGHBOURS + 1} samples and as many real images, not {counts}")

    def protocol(self, dimensions: int, **more: Any) -> Protocol:
        """All that fixes a number: what the scores of these sets share, and `more` of one of them."""
        return Protocol(
            features=self.features.name,
            side=self.features.side,
            dimensions=dimensions,
            preset=self.preset or None,
            of=self.of,
            torch_fidelity=metadata.version("torch-fidelity"),
            **more,
        )

    def compared(self, **more: Any) -> Protocol:
        """The protocol of a score that compares the two sets."""
        counts = {"n_real": len(self.real), "n_fake": len(self.fake)}
        return self.protocol(self.real.shape[1], split=self.split, **counts, **more)


def score(
    extracted: Mapping[str, Tensor], real: Tensor, preset: Preset, *, features: Features, slow: bool = True,
    of: Subject = None,
) -> dict[str, Metric]:  # fmt: skip
    """A `Metric` for each of `SCORES` under `preset`, from features that one pass has extracted for all protocols,
    by its name on these features: "FID", or "FD-lite0".

    `extracted` holds the samples' pooled features and logits by layer (see `extract`), `real` the pooled features of
    real images, (n, d) float32 each; the first `n_fake`, `is_images` and `n_real` of them are used. Without `slow`
    those that take long are left out. A metric's n is the number of samples; std: IS over splits, KID over subsets,
    else None. `of`: what was drawn, if not samples.
    """
    fake, logits = extracted[features.pooled][: preset.n_fake], extracted[features.logits][: preset.is_images]
    sets = ScoreInputs(features, fake, real[: preset.n_real], preset.split, logits, preset.name, of)
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
    return Metric(mean, spread if splits > 1 else None, n, sets.protocol(classes, splits=splits, seed=SEED))


def frechet_distance(sets: ScoreInputs) -> Metric:
    """The Fréchet distance between Gaussians fitted to the two sets."""
    from torch_fidelity import metric_fid

    with full_fp32():
        moments = [metric_fid.fid_features_to_statistics(pooled) for pooled in (sets.fake, sets.real)]
        value = metric_fid.fid_statistics_to_metric(*moments, verbose=False)[metric_fid.KEY_METRIC_FID]
    return Metric(value, None, len(sets.fake), sets.compared())


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
    protocol = sets.compared(subsets=KID_SUBSETS, subset_size=size, seed=SEED)
    return Metric(mean, spread, len(sets.fake), protocol)


def coverage(sets: ScoreInputs) -> Metric:
    """The share of real images that have a sample nearer than their k-th nearest other real image."""
    share = covered_share(sets.fake, sets.real, NEIGHBOURS)
    return Metric(share, None, len(sets.fake), sets.compared(k=NEIGHBOURS))


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


def real_images(train: Tensor, test: Mapping[str, Tensor], preset: Preset, *, features: Features) -> dict[str, Metric]:
    """The scores of real images, a reference for samples: IS of test images; the distances (their floor) and coverage
    of training images against test images. `train` are pooled features (n, d), `test` features by layer. IS is higher
    the more images there are in a split, so that real images, of which there may be fewer than samples, have splits as
    large as those have."""
    pooled, logits = test[features.pooled], test[features.logits]
    splits = max(1, IS_SPLITS * len(logits) // preset.is_images)
    sets = ScoreInputs(features, train, pooled, "test", logits, preset.name, "real images", splits)
    return _computed(sets, SCORES)


def pooled_scores(fake: Tensor, real: Tensor, ids: Sequence[str], *, features: Features) -> dict[str, Metric]:
    """The scores with these `ids` but for "is", by name ("FID", or "FD-lite0"), from pooled features (n, d) of samples
    and of test images."""
    return _computed(ScoreInputs(features, fake, real, "test"), (QUANTITIES[id] for id in ids))
