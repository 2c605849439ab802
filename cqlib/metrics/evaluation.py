"""What a trained system is measured by: bits per dimension, the quality of its samples, the time to draw them."""

import statistics
from functools import partial

import torch
from torch import Tensor

from cqlib.data.dataset import Dataset
from cqlib.metrics import fidelity, protocols
from cqlib.metrics.bpd import BATCH, bits_per_dimension, by_batch, held_out_nll, histogram_nll
from cqlib.metrics.cache import FeatureCache
from cqlib.metrics.features import extract
from cqlib.metrics.fp32 import full_fp32
from cqlib.metrics.metric import GROUP, MAX_PER_IMAGE, Metric
from cqlib.metrics.protocols import Protocol
from cqlib.metrics.quantities import SCORES, TEMPERATURES, real_name
from cqlib.metrics.resumable import IN_MEMORY, PartialResults
from cqlib.models.base import LikelihoodSystem, System
from cqlib.models.hierarchical import LayeredLatents
from cqlib.pixels import to_uint8
from cqlib.recipe import Evaluation
from cqlib.training.device import fork_rng, wall_clock
from cqlib.util.provenance import device_name

TEMPERATURES_AS_DRAWN = TEMPERATURES[::-1]
"""Temperatures in the order in which samples are drawn, measured and recorded."""
TEST_SEED, SELECTION_SEED = 10_000, 20_000
"""Added to a run's seed: for the samples that are reported, and for those that choose a step."""
GRID = 64
"""Samples in a grid."""
TIMED = 64
"""Samples whose time is taken, in one batch."""
REPEATS = 5


def likelihood_metrics(
    model: LikelihoodSystem,
    data: Dataset,
    evaluation: Evaluation,
    *,
    note: str = "",
    results: PartialResults = IN_MEMORY,
) -> tuple[dict[str, Metric], dict[str, list[float]]]:
    """Metrics, and values per image. The metrics: BPD and BPD-IW (importance-weighted) on the test split, with their
    standard error over images as std; what BPD-IW gains on the same images; the KL of each layer of a hierarchy
    ("KL-8x8-1"); the BPD of `histogram_nll` if `evaluation` asks for it. The values: BPD of each of the first images.
    `note` begins the protocols of the model's metrics; `results`: see `held_out_nll`."""
    dimensions = data.train.images[0].numel()
    note += f"of P(x given {model.conditioned_on}), " if model.conditioned_on else ""
    metrics: dict[str, Metric] = {}
    where = "held-out test split, n ="
    exact = model.bound == "exact"

    def held_out_bits(name: str, kind: str, n: int, k: int) -> Tensor:
        nll = held_out_nll(model, data.test.images[:n], importance_samples=k, results=results)
        bpd = bits_per_dimension(nll, dimensions)
        noise = "" if exact or not model.dequantised else ", uniform dequantisation"
        metrics[name] = _mean_over_images(bpd, f"{note}{kind}{noise}, {where} {len(bpd)}, averaged weights")
        return bpd

    plain = held_out_bits("BPD", "exact" if exact else f"{model.bound}, 1 sample", evaluation.bpd_images, 1)
    if not exact:  # where nothing is sampled, more samples change nothing
        k = evaluation.importance_samples
        better = held_out_bits("BPD-IW", f"importance-weighted bound, k = {k}", evaluation.importance_images, k)
        gain = plain[: len(better)] - better[: len(plain)]
        metrics["BPD-IW-gain"] = _mean_over_images(gain, f"{note}BPD less BPD-IW, {where} {len(gain)} for both")
    per_image = {"BPD": [round(value, 4) for value in plain[:MAX_PER_IMAGE].tolist()]}
    if data.test.groups is not None:
        per_image[GROUP] = data.test.groups[: len(per_image["BPD"])].tolist()
    if evaluation.histogram:
        images = data.test.images[: evaluation.bpd_images]
        bits = float(bits_per_dimension(histogram_nll(data.train.images, images).mean(), dimensions))
        protocol = f"independent pixels, a histogram of training images for each; exact, test split, n = {len(images)}"
        metrics["BPD-histogram"] = Metric(bits, None, len(images), protocol)
    if isinstance(model, LayeredLatents):
        batches = data.test.images[: evaluation.importance_images].split(BATCH)
        layers = by_batch(
            model, batches, lambda x, generator: model.kl_by_layer(x.to(model.device), generator=generator), name="kl",
            results=results,
        )  # fmt: skip
        for name, kl in layers.items() if len(layers) > 1 else ():
            bits = float(bits_per_dimension(kl.double().mean(), dimensions))
            protocol = f"{note}KL(q || p) of latent layer {name}, in bits per dimension of the image, n = {len(kl)}"
            metrics[f"KL-{name}"] = Metric(bits, None, len(kl), protocol)
    return metrics, per_image


def _mean_over_images(bpd: Tensor, protocol: str) -> Metric:
    """The mean of bits per dimension (n,) and its standard error."""
    error = float(bpd.std(correction=1)) / len(bpd) ** 0.5 if len(bpd) > 1 else None
    return Metric(float(bpd.mean()), error, len(bpd), protocol)


def draw_samples(
    model: System, n: int, *, temperature: float, seed: int, results: PartialResults = IN_MEMORY
) -> Tensor:
    """n samples, uint8 (n, C, H, W) on the CPU, in evaluation mode and fp32; `results` as in `held_out_nll`."""

    def draw(size: int, *, generator: torch.Generator) -> dict[str, Tensor]:
        return {"": to_uint8(model.sample(size, temperature=temperature, generator=generator))}

    sizes = [min(BATCH, n - start) for start in range(0, n, BATCH)]
    return by_batch(model, sizes, draw, name=f"T{temperature:g}", seed=seed, results=results)[""]


def sample_metrics(
    model: System, data: Dataset, evaluation: Evaluation, cache: FeatureCache, *, seed: int
) -> tuple[dict[str, Metric], dict[str, Tensor], list[str]]:
    """All scores of samples at temperatures 1 and 0, with those of real images; the first `GRID` samples at each
    temperature, uint8 (n, C, H, W); and a note on each protocol that the data set is too small for. The distances and
    IS of the same samples are also taken under each of `evaluation.protocols` ("FID@T1 [sngan]"); UsageError for an
    unknown one. A system without decoder noise is measured once and reported under both temperatures. The score of
    classes needs data of more than one class."""
    features = cache.features
    fitting, notes = protocols.fitting(evaluation, len(data.train), len(data.test))
    main, labelled = fitting[0], len(data.classes) > 1
    metrics = _of_real_images(data, main, cache, labelled)
    n_real = {p.split: max(q.n_real for q in fitting if q.split == p.split) for p in fitting}
    real = {split: cache.pooled(getattr(data, split).images[:n]) for split, n in n_real.items()}
    n_samples = max(max(p.n_fake, p.is_images) for p in fitting)
    grids: dict[str, Tensor] = {}
    for temperature in TEMPERATURES_AS_DRAWN:
        if not grids or model.decoder_noise:  # else the scores of the first temperature hold for both
            samples = draw_samples(
                model, n_samples, temperature=temperature, seed=TEST_SEED + seed, results=cache.results
            )
            layers = (features.pooled, features.logits)
            extracted = extract(samples, features, *layers, device=cache.device, results=cache.results)
            scores = []
            for p in fitting:
                labels = getattr(data, p.split).labels if labelled else None
                scores.append(fidelity.score(extracted, real[p.split], p, features=features, slow=p is main,
                                             labels=labels))  # fmt: skip
                cache.results.check()
        for p, by_score in zip(fitting, scores, strict=True):
            for score, metric in by_score.items():
                name = f"{score}@T{temperature:g}"
                metrics[name if p is main else protocols.with_protocol(name, p.name)] = metric
        grids[f"samples_T{temperature:g}"] = samples[:GRID]
    return metrics, grids, notes


def _of_real_images(data: Dataset, main: Protocol, cache: FeatureCache, labelled: bool) -> dict[str, Metric]:
    """The scores of real images under the profile's own protocol, by their names in records: "FD-lite0-floor"."""
    features, n = cache.features, main.n_real
    train = cache.pooled(data.train.images[:n])
    test = cache.layers(data.test.images[:n], features.pooled, features.logits)
    labels = data.test.labels[:n] if labelled else None
    compute = partial(fidelity.real_images, train, test, main, features=features, labels=labels)
    inputs = [train, *test.values(), *([] if labels is None else [labels])]
    name = " ".join(["real images", main.name, str(main.is_images), *(quantity.id for quantity in SCORES)])
    return {real_name(score): m for score, m in cache.metrics(name, *inputs, compute=compute).items()}


def sampling_time(model: System, *, results: PartialResults = IN_MEMORY) -> Metric:
    """Seconds to draw a batch of samples, the median of `REPEATS` after a first one; std over them. The global random
    state is left as it was."""
    device = model.eval().device
    times = []
    with full_fp32(), torch.no_grad(), fork_rng(device):
        for _ in range(REPEATS + 1):
            times.append(wall_clock(lambda: model.sample(TIMED), device))
            results.check()
        where = device_name(device, bf16=False)
    del times[0]
    protocol = f"wall clock of one batch of {TIMED} samples without gradients, median of {REPEATS}, {where}"
    return Metric(round(statistics.median(times), 6), round(statistics.stdev(times), 6), TIMED, protocol)
