"""What a score of samples can see, from real images alone: how far known damage moves it, in standard deviations.

The score of n training images against n test images is taken on many draws, of undamaged and of damaged ones. Their
distance is d = |mean difference| / sqrt((s0^2 + s1^2) / 2), the detectability of signal detection theory; s0 and s1
are the standard deviations over the draws. `tools/calibrate.py` measures; what it found is published. The side s to
which images are resized for the extractor follows from a rule:

- `quick` has n = `QUICK_N`, for which a distance follows from that at another n, as it grows with the root of n. Of the
  sides at which n images cost at most `COST` of what 1,000 images cost at side 224, that one is chosen whose smallest
  distance of the Fréchet distance, which decides claims, over all damages, is the largest. The cost is the number of
  pixels that the extractor looks at, to which its multiply-adds are proportional: n must not depend on a machine.
- For `study` another side than 224 is chosen only where at equal n its smallest distance is more than `MIN_GAIN` times
  as large: so much as four times the images would bring.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
import torch.nn.functional as F
from pydantic.dataclasses import dataclass
from torch import Tensor

from cqlib.data.dataset import Dataset
from cqlib.metrics.features import FULL_SIDE
from cqlib.metrics.quantities import QUANTITIES
from cqlib.util.schema import STRICT, Count, NonNegative, Number, Text

COST, MIN_GAIN = 0.6, 2.0
REFERENCE_N, QUICK_N = 1000, 2000
SEED = 0
UNDAMAGED = "undamaged"


def noise(images: Tensor, share: float) -> Tensor:
    """uint8 `images` (N, C, S, S) with Gaussian noise whose standard deviation is this share of the range."""
    added = torch.randn(images.shape, generator=torch.Generator().manual_seed(SEED))
    return (images + 255 * share * added).round().clamp(0, 255).to(torch.uint8)


def blur(images: Tensor) -> Tensor:
    """uint8 `images` (N, C, S, S) with each pixel the mean of its 3x3 neighbourhood; the border is replicated."""
    padded = F.pad(images.float(), (1, 1, 1, 1), mode="replicate")
    return F.avg_pool2d(padded, 3, stride=1).round().to(torch.uint8)


def swap_quarters(images: Tensor) -> Tensor:
    """The quarters of `images` (N, C, S, S) exchanged along the diagonals."""
    half = images.shape[-1] // 2
    return images.roll((half, half), (2, 3))


def scramble(images: Tensor) -> Tensor:
    """The middle half of each of `images` (N, C, S, S), where a digit's strokes are, with its four quarters turned
    upside down: the same colours and edges, but no digit."""
    quarter, half = images.shape[-1] // 4, images.shape[-1] // 2
    damaged = images.clone()
    for y in (quarter, half):
        for x in (quarter, half):
            block = images[:, :, y : y + quarter, x : x + quarter]
            damaged[:, :, y : y + quarter, x : x + quarter] = block.flip(2, 3)
    return damaged


Damages = Mapping[str, Callable[[Tensor], Tensor]]
"""Name -> a function from uint8 images (N, C, S, S) to damaged ones of the same shape."""
DAMAGES: Damages = {
    "noise 0.01": lambda images: noise(images, 0.01),
    "noise 0.04": lambda images: noise(images, 0.04),
    "blur 3x3": blur,
    "quarters swapped": swap_quarters,
    "strokes scrambled": scramble,
}
FEWER_CLASSES, A_CLASS_LESS = "half the classes", "a class missing"


def image_sets(data: Dataset, size: int, damages: Damages = DAMAGES) -> dict[str, Tensor]:
    """The first `size` training images, uint8 (size, C, S, S), undamaged and with each damage; as many of the first
    half of the classes, and as many of all but the last."""
    images, labels = data.train.images, data.train.labels
    undamaged = images[:size]
    damaged = {name: damage(undamaged) for name, damage in damages.items()}
    fewer = {FEWER_CLASSES: len(data.classes) // 2, A_CLASS_LESS: max(1, len(data.classes) - 1)}
    return {UNDAMAGED: undamaged, **damaged, **{name: images[labels < k][:size] for name, k in fewer.items()}}


@dataclass(frozen=True, config=STRICT)
class SideResult:
    """What the scores see at one side and n. `undamaged`: score -> its mean and standard deviation over draws of
    undamaged images; `distances`: damage -> score -> distance in standard deviations; `milliseconds`: time to extract
    the features of one image, on one thread."""

    side: Count
    n: Count
    milliseconds: NonNegative
    undamaged: dict[Text, tuple[Number, NonNegative]]
    distances: dict[Text, dict[Text, NonNegative]]

    @property
    def cost(self) -> float:
        """The number of pixels in n images of this side, relative to `REFERENCE_N` images of `FULL_SIDE`."""
        return self.n * self.side**2 / (REFERENCE_N * FULL_SIDE**2)

    def at(self, n: int) -> "SideResult":
        """The same for n images, without their times."""
        root = math.sqrt(n / self.n)
        distances = {damage: {score: root * d for score, d in of.items()} for damage, of in self.distances.items()}
        return replace(self, n=n, distances=distances)

    @property
    def smallest(self) -> float:
        """The smallest distance of the Fréchet distance over damages."""
        names = QUANTITIES["fid"].names
        return min(value for by_score in self.distances.values() for name, value in by_score.items() if name in names)


@dataclass(frozen=True, config=STRICT)
class Calibration:
    """What the scores see on a data set at each side."""

    data: Text
    size: Count
    fingerprint: Text
    """The fingerprint of the test split."""
    resamples: Count
    device: Text
    sides: tuple[SideResult, ...]

    @property
    def choice(self) -> SideResult:
        """The result that the rule for `quick` chooses."""
        every = (result.at(QUICK_N) for result in self.sides)
        return max((result for result in every if result.cost <= COST), key=lambda result: result.smallest)

    @property
    def choice_at_equal_n(self) -> SideResult:
        """The result that the rule for `study` chooses, of `sides` that all have the same n."""
        best = max(self.sides, key=lambda result: result.smallest)
        return best if best.smallest > MIN_GAIN * self.full.smallest else self.full

    @property
    def full(self) -> SideResult:
        """The result at `FULL_SIDE`."""
        return next(result for result in self.sides if result.side == FULL_SIDE)
