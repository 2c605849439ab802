"""The paper's equations (1) to (8) as the slides print them, and where each one stands in this package."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Equation:
    """One numbered equation: LaTeX, what it is, the dotted name of the code that computes it, a footnote."""

    number: int
    name: str
    latex: str
    where: str
    footnote: str = ""


EQUATIONS = (
    Equation(
        1,
        "The discriminator's objective, maximised: binary cross-entropy between real images and samples",
        r"\mathbb{E}_{p_{\text{train}}(x)}[\ln D(x)] + \mathbb{E}_{p_{\theta}(x)}[\ln(1 - D(x))]",
        where="cqlib.losses.discriminator_loss",
    ),
    Equation(
        2,
        "The quality loss, both of Goodfellow's losses added: KL(model || data) for an optimal discriminator",
        r"\mathcal{L}_Q(\theta) = "
        r"-\mathbb{E}_{p(z)}\left[\ln \frac{D(G_{\theta}(z))}{1 - D(G_{\theta}(z))}\right]",
        where="cqlib.losses.quality_loss",
    ),
    Equation(
        3,
        "The coverage loss, maximum likelihood: KL(data || model) up to the data's entropy",
        r"\mathcal{L}_C(\theta) = -\mathbb{E}_{p_{\text{train}}(x)}[\ln p_{\theta}(x)]",
        where="cqlib.losses.coverage_loss",
    ),
    Equation(
        4,
        "The coverage loss on n training images: it sees the mass on them and not where the rest goes",
        r"\mathcal{L}_C(\theta) = -\mathbb{E}_{p_{\text{train}}(x)}[\ln p_{\theta}(x)]"
        r" \approx \frac{1}{n}\sum_{i=1}^n \ln p_{\theta}(x_i)",
        where="cqlib.losses.coverage_loss",
        footnote="eq4-sign",
    ),
    Equation(
        5,
        "The basic decoder: pixels are independent given z",
        r"p(x|z) = \mathcal{N}(x; \mu(z), \text{diag}(\sigma(z)))",
        where="cqlib.losses.gaussian_log_density",
    ),
    Equation(
        6,
        "The decoder over features: independent features y given z",
        r"p_y(y|z) = \mathcal{N}(y; \mu(z), \text{diag}(\sigma(z)))",
        where="cqlib.losses.gaussian_log_density",
    ),
    Equation(
        7,
        "From features to the image, through the inverse of f",
        r"x = f^{-1}(y)",
        where="cqlib.models.hybrid.HybridModel.image",
    ),
    Equation(
        8,
        "The decoder over images: change of variables, so that pixels depend on each other given z",
        r"p_x(x|z) = p_y(f(x)|z) \times \left|\det\left(\frac{\partial f(x)}{\partial x^\top}\right)\right|",
        where="cqlib.losses.decoder_log_density",
    ),
)
