"""What a trained system is measured by: bits per dimension, the quality of its samples, the time to draw them."""

import math
import statistics
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from cqlib.data.dataset import Dataset
from cqlib.metrics import digits, fidelity, protocols
from cqlib.metrics.bpd import BATCH, bits_per_dimension, by_batch, held_out_nll, histogram_nll
from cqlib.metrics.cache import FeatureCache
from cqlib.metrics.features import extract
from cqlib.metrics.metric import Metric, Protocol, Subject
from cqlib.metrics.protocols import Preset
from cqlib.metrics.quantities import SCORES, real_name
from cqlib.metrics.regimes import regimes
from cqlib.metrics.resumable import IN_MEMORY, PartialResults
from cqlib.models.base import LikelihoodSystem, System
from cqlib.models.cq import CoverageQuality
from cqlib.models.cqf_conditional import ConditionalCQF
from cqlib.models.hierarchical import Hierarchical
from cqlib.models.vae_iaf import VAEIAF
from cqlib.pixels import to_uint8
from cqlib.recipe import Evaluation
from cqlib.util.device import fork_rng, wall_clock
from cqlib.util.errors import UserError
from cqlib.util.fp32 import full_fp32
from cqlib.util.provenance import hardware_name

TEST_SEED = 10_000
"""Added to a run's seed for the samples that are reported."""
GRID = 64
"""Samples in a grid."""
TIMED = 64
"""Samples whose time is taken, in one batch."""
REPEATS = 5


class NonFiniteSamples(UserError):
    """A model draws images with pixels that are not finite."""


def likelihood_metrics(
    model: LikelihoodSystem,
    data: Dataset,
    evaluation: Evaluation,
    *,
    starred: bool = False,
    results: PartialResults = IN_MEMORY,
) -> dict[str, Metric]:
    """BPD and BPD-IW (importance-weighted) on the test split, with their standard error over images as std; what BPD-IW
    gains on the same images; the `regimes` of sigma(z); the KL of each layer of a hierarchy ("KL-8x8-1"); the BPD of
    `histogram_nll` if `evaluation` asks for it. A likelihood that is not finite is an infinite metric, without a gain.
    `starred`: around a frozen generator; `results`: see `held_out_nll`."""
    dimensions = data.train.images[0].numel()
    metrics: dict[str, Metric] = {}
    exact = model.bound == "exact"
    given = "the grey image" if isinstance(model, ConditionalCQF) else None
    protocol = Protocol(split="test", starred=starred, given=given)

    def held_out_bits(name: str, bound: str, n: int, k: int) -> Tensor:
        nll = held_out_nll(model, data.test.images[:n], importance_samples=k, results=results)
        bpd = bits_per_dimension(nll, dimensions)
        if exact:
            how = replace(protocol, bound=bound)
        else:
            how = replace(protocol, bound=bound, k=k, dequantised=model.dequantised)
        metrics[name] = _mean_over_images(bpd, how)
        return bpd

    plain = held_out_bits("BPD", model.bound, evaluation.bpd_images, 1)
    if not exact:  # where nothing is sampled, more samples change nothing
        k = evaluation.importance_samples
        better = held_out_bits("BPD-IW", "importance-weighted bound", evaluation.importance_images, k)
        gain = plain[: len(better)] - better[: len(plain)]
        if gain.isfinite().all():
            metrics["BPD-IW-gain"] = _mean_over_images(gain, replace(protocol, bound="gain"))
    if evaluation.histogram:
        images = data.test.images[: evaluation.bpd_images]
        bits = float(bits_per_dimension(histogram_nll(data.train.images, images).mean(), dimensions))
        metrics["BPD-histogram"] = Metric(bits, None, len(images), Protocol(split="test", bound="histogram"))
    if isinstance(model, CoverageQuality):
        metrics |= regimes(model, data.test.images[: evaluation.bpd_images], results)
    if isinstance(model, Hierarchical | VAEIAF):
        batches = data.test.images[: evaluation.importance_images].split(BATCH)
        layers = by_batch(
            model, batches, lambda x, generator: model.kl_by_layer(x.to(model.device), generator=generator), name="kl",
            results=results,
        )  # fmt: skip
        for name, kl in layers.items() if len(layers) > 1 else ():
            bits = float(bits_per_dimension(kl.double().mean(), dimensions))
            metrics[f"KL-{name}"] = _metric(bits, None, len(kl), replace(protocol, bound="KL"))
    return metrics


def _mean_over_images(bpd: Tensor, protocol: Protocol) -> Metric:
    """The mean of bits per dimension (n,) and its standard error."""
    error = float(bpd.std(correction=1)) / len(bpd) ** 0.5 if len(bpd) > 1 else None
    return _metric(float(bpd.mean()), error, len(bpd), protocol)


def _metric(bits: float, std: float | None, n: int, protocol: Protocol) -> Metric:
    """Bits as a metric. Those of an image that a model gives no probability, or none that can be computed, are
    infinite, so that its run counts in all means."""
    return Metric(bits, std, n, protocol) if math.isfinite(bits) else Metric(None, None, n, protocol, "infinite")


def draw_samples(
    model: System, n: int, *, seed: int, temperature: float = 1.0, results: PartialResults = IN_MEMORY
) -> Tensor:
    """n samples, uint8 (n, C, H, W) on the CPU, in evaluation mode and fp32; `results` as in `held_out_nll`.
    `NonFiniteSamples` where a pixel is not finite."""

    def draw(size: int, *, generator: torch.Generator) -> dict[str, Tensor]:
        samples = model.sample(size, temperature=temperature, generator=generator)
        if bad := size - int(samples.isfinite().flatten(1).all(1).sum()):  # they would be scored as black images
            raise NonFiniteSamples(f"{bad} of {size} samples are not finite: train with another recipe")
        return {"": to_uint8(samples)}

    sizes = [min(BATCH, n - start) for start in range(0, n, BATCH)]
    return by_batch(model, sizes, draw, name=f"T{temperature:g}", seed=seed, results=results)[""]


def sample_metrics(
    model: System, data: Dataset, evaluation: Evaluation, cache: FeatureCache, *, seed: int, of: str = "samples"
) -> tuple[dict[str, Metric], Tensor, list[str]]:
    """All scores of samples, with those of real images; the first `GRID` samples, uint8 (n, C, H, W); and a note on
    each protocol that the data set is too small for. The distances and IS of the same samples are also taken under each
    of `evaluation.protocols` ("FID [sngan]"). `of` "means" scores the decoder's
    means f^-1(mu(z)) in place of samples. On photodigits the digits are counted."""
    features = cache.features
    subject: Subject = "decoder's means" if of == "means" else None
    temperature = 0.0 if of == "means" else 1.0
    fitting, notes = protocols.fitting_presets(evaluation, len(data.train), len(data.test))
    main = fitting[0]
    metrics = _of_real_images(data, main, cache)
    n_real = {p.split: max(q.n_real for q in fitting if q.split == p.split) for p in fitting}
    real = {split: cache.pooled(getattr(data, split).images[:n]) for split, n in n_real.items()}
    n_samples = max(max(p.n_fake, p.is_images) for p in fitting)
    samples = draw_samples(model, n_samples, seed=TEST_SEED + seed, temperature=temperature, results=cache.results)
    layers = (features.pooled, features.logits)
    extracted = extract(samples, features, *layers, device=cache.device, results=cache.results)
    for p in fitting:
        scores = fidelity.score(extracted, real[p.split], p, features=features, slow=p is main, of=subject)
        metrics |= {name if p is main else protocols.with_protocol(name, p.name): m for name, m in scores.items()}
        cache.results.check()
    if data.name == "photodigits":
        metrics |= digits.counted(samples[: main.n_fake], subject)
        metrics |= {f"{name}-real": m for name, m in digits.counted(data.test.images[: main.n_real]).items()}
    return metrics, samples[:GRID], notes


def _of_real_images(data: Dataset, main: Preset, cache: FeatureCache) -> dict[str, Metric]:
    """The scores of real images under the profile's own protocol, by their names in records: "FD-lite0-floor"."""
    features, n = cache.features, main.n_real
    train = cache.pooled(data.train.images[:n])
    test = cache.layers(data.test.images[:n], features.pooled, features.logits)
    compute = partial(fidelity.real_images, train, test, main, features=features)
    name = " ".join(["real images", main.name, str(main.is_images), *(quantity.id for quantity in SCORES)])
    return {real_name(score): m for score, m in cache.metrics(name, train, *test.values(), compute=compute).items()}


def sampling_time(model: System, *, results: PartialResults = IN_MEMORY) -> Metric:
    """Seconds to draw a batch of samples, the median of `REPEATS` after a first one; std over them. The global random
    state is left as it was."""
    device = model.eval().device
    times = []
    with full_fp32(), torch.no_grad(), fork_rng(device):
        for _ in range(REPEATS + 1):
            times.append(wall_clock(lambda: model.sample(TIMED), device))
            results.check()
    del times[0]
    protocol = Protocol(batch=TIMED, repeats=REPEATS, device=hardware_name(device))
    return Metric(round(statistics.median(times), 6), round(statistics.stdev(times), 6), TIMED, protocol)
