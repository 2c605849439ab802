"""The literature's protocols by name: how many real images and samples stand behind a score; both bias FID."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from cqlib.recipe import Evaluation

IS_IMAGES = 50_000  # Salimans et al., arXiv:1606.03498, and nearly everyone since


@dataclass(frozen=True)
class Preset:
    """The first `n_real` images of `split` ("test" or "train") against `n_fake` samples; IS on `is_images`. Without a
    `name` it is a profile's own."""

    name: str
    split: Literal["test", "train"]
    n_real: int
    n_fake: int
    is_images: int

    def shortfall(self, n_train: int, n_test: int) -> str:
        """What a data set of these sizes lacks for it, as the end of a sentence; "" when nothing."""
        words, n = {"train": ("training", n_train), "test": ("test", n_test)}[self.split]
        return "" if n >= self.n_real else f"it needs {self.n_real:,} {words} images and there are {n:,}"


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        # Held-out images, as remembered of the paper. How many images and samples it used is not known; 10,000 is
        # CIFAR-10's whole test split.
        Preset("paper", "test", 10_000, 10_000, IS_IMAGES),
        # What most GAN code reports, for example mimicry's baselines (arXiv:2005.02494): 50,000 training images. It
        # rewards a model that memorises them.
        Preset("50k/50k-train", "train", 50_000, 50_000, IS_IMAGES),
        # Miyato et al., arXiv:1802.05957, appendix B.1: FID over 10,000 real images and 5,000 samples. The split is not
        # stated there; training images are this project's guess. Its IS is the mean over ten sets of 5,000 samples, of
        # as many trained generators; here the ten sets come from one.
        Preset("sngan", "train", 10_000, 5_000, IS_IMAGES),
    )
}
"""Presets by name. "paper" is the main protocol of profile `paper`, the others are measured in addition."""


def default_protocol(n: int, is_images: int | None = None) -> Preset:
    """The main protocol of a profile: n_real = n_fake = `n` held-out images; IS on `is_images` samples (None: n). With
    `is_images` it is the preset "paper", or, where a data set has too few images for that, "paper at {n} images"."""
    if is_images is None:
        return Preset("", "test", n, n, n)
    preset = PROTOCOLS["paper"]
    if (n, is_images) == (preset.n_real, preset.is_images):
        return preset
    return Preset(f"paper at {n} images", "test", n, n, is_images)


def fitting_presets(evaluation: "Evaluation", n_train: int, n_test: int) -> tuple[list[Preset], list[str]]:
    """The profile's own protocol, then those of `evaluation.protocols` that a data set of `n_train` and `n_test` images
    is large enough for; and a note on each of the others."""
    n = min(evaluation.fidelity_images, n_test, n_train)
    found, notes = [default_protocol(n, evaluation.is_images)], []
    for p in (PROTOCOLS[name] for name in evaluation.protocols):
        if shortfall := p.shortfall(n_train, n_test):
            notes.append(f"protocol {p.name} left out: {shortfall}")
        else:
            found.append(p)
    return found, notes


def with_protocol(metric: str, name: str) -> str:
    """The name in a record under a preset that is not the main one: "FID [sngan]"."""
    return f"{metric} [{name}]"
