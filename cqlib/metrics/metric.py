"""One measured number, as it stands in records, and how it was measured."""

import math
from typing import Any, Literal, Self

from pydantic import SerializerFunctionWrapHandler, model_serializer, model_validator
from pydantic.dataclasses import dataclass

from cqlib.metrics.quantities import QUANTITIES, SCORES, quantity_of
from cqlib.util.schema import STRICT, Count, Flag, NonNegative, Number, Text

SPLITS = {"test": "held-out test split", "train": "training split"}
NETWORKS = {"lite0": "EfficientNet-lite0", "inception": "TF-Inception"}
Subject = Literal["real images", "decoder's means", "untrained copy", "Gaussian pixels"] | None
"""What is measured instead of samples of the model."""
SUBJECTS = {"real images": " of real images", "decoder's means": " of the decoder's means, not of samples"}
CODES = {
    "encoded": "the median of ln σ(z) over images and features, at codes z ~ q(z|x) of test images",
    "drawn": "the median of ln σ(z) over codes and features, at codes z ~ p(z)",
    "both": "the share of codes z ~ p(z) whose mean ln σ(z) is within the central 99 % of that at codes of test images",
}
BASELINES = {"untrained copy": "samples of an untrained copy", "Gaussian pixels": "independent Gaussian pixels"}
"""A `Subject` in words: after the name of the score, and before the whole sentence."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Protocol:
    """How a number was measured. A field that does not apply is None, and not in a record.

    Of any number: `split`, that of the real images; `of`, what is measured instead of samples of the model.
    Of bits per dimension: `bound`, the kind of number ("exact", "ELBO", "dequantisation bound", "importance-weighted
    bound" of `k` samples, "gain" of that over the plain bound, "histogram", "KL" of a layer); `dequantised` by uniform
    noise; `starred`, obtained around a frozen generator; `given`, what the model is conditioned on.
    Of the decoder's sigma: the `codes` at which it is taken.
    Of scores: `features` at `side` pixels, of so many `dimensions`; `n_real` images against `n_fake` samples under the
    `preset` of the literature; IS over `splits`, KID over `subsets` of `subset_size`, drawn with `seed`; coverage by
    the `k`-th neighbour; by this `torch_fidelity`.
    Of times: `batch` samples, `repeats`, `device`. Of digits: the least `confidence` of the classifier.
    """

    split: Literal["test", "train"] | None = None
    of: Subject = None
    bound: Text | None = None
    k: Count | None = None
    dequantised: Flag = False
    starred: Flag = False
    given: Text | None = None
    codes: Literal["encoded", "drawn", "both"] | None = None
    features: Literal["lite0", "inception"] | None = None
    side: Count | None = None
    dimensions: Count | None = None
    preset: Text | None = None
    n_real: Count | None = None
    n_fake: Count | None = None
    splits: Count | None = None
    subsets: Count | None = None
    subset_size: Count | None = None
    seed: Count | None = None
    torch_fidelity: Text | None = None
    batch: Count | None = None
    repeats: Count | None = None
    device: Text | None = None
    confidence: Number | None = None

    @model_serializer(mode="wrap")
    def given_fields(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """The fields that apply, as records have them."""
        return {name: value for name, value in serialise(self).items() if value is not None and value is not False}


@dataclass(frozen=True, config=STRICT)
class Metric:
    """One number: `value`, `std` (a spread, or None), taken on `n` images, and the `protocol`. JSON has no infinity: an
    infinite number has no `value` and `status` "infinite", a field that is not in the record of any other. ValueError
    for a value and a status, or neither."""

    value: Number | None
    std: NonNegative | None
    n: Count
    protocol: Protocol
    status: Literal["infinite"] | None = None

    @property
    def number(self) -> float:
        """The value, as a float that may be infinite."""
        return math.inf if self.value is None else self.value

    @model_validator(mode="after")
    def one_of_two(self) -> Self:
        """Refuses a metric without a number."""
        if (self.value is None) != (self.status == "infinite"):
            raise ValueError("a metric has a value, or the status infinite")
        return self

    @model_serializer(mode="wrap")
    def without_usual_status(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """The fields as records have them."""
        return {name: value for name, value in serialise(self).items() if name != "status" or value is not None}


def sentence(name: str, metric: Metric) -> str:
    """How the metric `name` of a record was measured."""
    protocol, n = metric.protocol, f"n = {metric.n}"
    if protocol.features:
        return _score_in_words(name, metric)
    if protocol.device:
        batch = f"wall clock of one batch of {protocol.batch} samples without gradients"
        return f"{batch}, median of {protocol.repeats}, {protocol.device}"
    if protocol.codes:
        return f"{CODES[protocol.codes]}, {n}"
    if protocol.confidence:
        subject = SUBJECTS.get(protocol.of or "", "")
        return f"{n}{subject}: the share that a classifier reads with a probability of at least {protocol.confidence}"
    if protocol.bound == "histogram":
        return f"independent pixels, a histogram of training images for each; exact, test split, {n}"
    starred = "of a VAE around the frozen generator (encoder and sigma trained): " if protocol.starred else ""
    given = f"of P(x given {protocol.given}), " if protocol.given else ""
    if protocol.bound == "KL":
        layer = name.removeprefix("KL-")
        words = f"KL(q || p) of latent layer {layer}, in bits per dimension of the image, {n}"
    elif protocol.bound == "gain":
        words = f"BPD minus BPD-IW, held-out test split, {n} for both"
    else:
        one = "" if protocol.bound == "exact" else ", 1 sample"
        drawn = f", k = {protocol.k}" if protocol.bound == "importance-weighted bound" else one
        noise = ", uniform dequantisation" if protocol.dequantised else ""
        words = f"{protocol.bound}{drawn}{noise}, {SPLITS[protocol.split or 'test']}, {n}, averaged weights"
    return starred + given + words


def _score_in_words(name: str, metric: Metric) -> str:
    quantity, protocol = quantity_of(name) or SCORES[0], metric.protocol
    label = quantity.lite0 if protocol.features == "lite0" else quantity.name
    real = protocol.of == "real images"
    n_fake, n_real = (metric.n if count is None else count for count in (protocol.n_fake, protocol.n_real))
    if quantity is QUANTITIES["is"]:
        kind = f"logits ({protocol.dimensions} classes)"
        splits = f"{protocol.splits} split{'s' * (protocol.splits != 1)}"
        how = f"{'n_test' if real else 'n_fake'} = {n_fake} in {splits}, shuffled with seed {protocol.seed}"
    else:
        kind = f"pooled features ({protocol.dimensions})"
        if real:
            how = f"n_train = n_test = {n_fake}, training split against held-out test split"
        else:
            n = f"n_real = n_fake = {n_fake}" if n_fake == n_real else f"n_real = {n_real}, n_fake = {n_fake}"
            how = f"{n}, {SPLITS[protocol.split or 'test']}"
        if protocol.subsets:
            subsets = f"{protocol.subsets} subsets of {protocol.subset_size} drawn with seed {protocol.seed}"
            how += f", mean over {subsets}, cubic polynomial kernel"
        if protocol.k:
            how += f", k = {protocol.k}"
    resize = f"bilinear resize to {protocol.side}" if protocol.side else "TF bilinear resize to 299"
    preset = f"protocol {protocol.preset}" if protocol.preset else ""
    parts = (preset, how, f"{NETWORKS[protocol.features or 'lite0']} {kind}", resize,
             f"torch-fidelity {protocol.torch_fidelity}")  # fmt: skip
    baseline = f"{BASELINES[protocol.of]}; " if protocol.of in BASELINES else ""
    return f"{baseline}{label}{SUBJECTS.get(protocol.of or '', '')}: " + ", ".join(filter(None, parts))
