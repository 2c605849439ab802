"""For tests of scores: small images, features chosen by hand, closed forms."""

from __future__ import annotations

import numpy as np
import scipy.linalg
import torch
from torch_fidelity.feature_extractor_base import FeatureExtractorBase

from cqlib.metrics import cache, features, fidelity
from cqlib.metrics.protocols import Preset

SIDE = 8


class Table(FeatureExtractorBase):
    """An extractor that looks features up: an image's first three pixels spell its row."""

    def __init__(self, pooled, logits):
        self.tables = {"1280": pooled, "logits": logits}
        super().__init__("table", ["1280", "logits"])

    @staticmethod
    def get_provided_features_list():
        return "1280", "logits"

    def forward(self, images):
        row = images[:, 0, 0, 0].long() * 65536 + images[:, 0, 0, 1].long() * 256 + images[:, 0, 0, 2].long()
        return self.tables["1280"][row], self.tables["logits"][row]


class Projection(FeatureExtractorBase):
    """An extractor of 16 features that are random projections of the pixels: a hundred times as fast as lite0, and
    Fréchet distances of 16 features are, too."""

    def __init__(self, side=16):
        super().__init__("projection", ["1280", "logits"])
        self.matrix = torch.randn(3 * side * side, 16, generator=torch.Generator().manual_seed(0)) / side

    @staticmethod
    def get_provided_features_list():
        return "1280", "logits"

    def forward(self, images):
        projected = (images.flatten(1) / 255) @ self.matrix
        return projected, projected


def images_of(monkeypatch, fake, real, logits):
    """Two sets of images whose features are fake (n, d), real (m, d), and logits (n, C) of the fake."""
    rows = len(fake) + len(real)
    table = Table(torch.cat([fake, real]).float(), torch.cat([logits, torch.zeros(len(real), logits.shape[1])]))
    monkeypatch.setattr(features, "_extractor", lambda *_: table)
    images = torch.zeros(rows, 3, SIDE, SIDE, dtype=torch.uint8)
    for place in range(3):
        images[:, 0, 0, place] = (torch.arange(rows) // 256 ** (2 - place) % 256).to(torch.uint8)
    return images.split([len(fake), len(real)])


def score(fake, real, chosen=None, *, preset=None, split="test", cache_dir=None):
    """`fidelity.score` of two sets of images: features, then scores, as `evaluation.sample_metrics` computes them."""
    chosen = chosen or features.lite0(224)
    preset = preset or Preset("", split, len(real), len(fake), len(fake))
    extracted = features.extract(fake, chosen, chosen.pooled, chosen.logits)
    pooled = cache.FeatureCache(chosen, cache_dir).pooled(real[: preset.n_real])
    return fidelity.score(extracted, pooled, preset, features=chosen)


def gaussian(n, mean, covariance, seed):
    """(n, d) points whose sample mean and sample covariance are exactly `mean` and `covariance`."""
    rng = np.random.default_rng(seed)
    points = rng.standard_normal((n, len(mean)))
    points -= points.mean(0)
    white = scipy.linalg.solve_triangular(np.linalg.cholesky(np.cov(points.T)), points.T, lower=True)
    return torch.from_numpy((np.linalg.cholesky(covariance) @ white).T + mean)


def frechet(mean_1, covariance_1, mean_2, covariance_2):
    """Dowson and Landau 1982: |m1 - m2|^2 + tr(S1 + S2 - 2 (S1^1/2 S2 S1^1/2)^1/2)."""
    root = scipy.linalg.sqrtm(covariance_1)
    cross = scipy.linalg.sqrtm(root @ covariance_2 @ root).real
    return np.sum((mean_1 - mean_2) ** 2) + np.trace(covariance_1 + covariance_2 - 2 * cross)


def expected_kid(d, shift):
    """MMD^2 of N(0, I) and N(m, I), |m|^2 = `shift`, under the kernel (x.y / d + 1)^3: Gaussian moments."""
    within_fake = 1 + 3 / d
    second, third = d + 2 * shift + shift**2, shift**3 + 6 * shift**2 + 3 * shift * d + 6 * shift
    within_real = 1 + 3 * shift / d + 3 * second / d**2 + third / d**3
    return within_fake + within_real - 2 * (1 + 3 * (d + shift) / d**2)
