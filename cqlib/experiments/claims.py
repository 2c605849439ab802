"""What the slides claim or show, as data: two rows, one metric, and which way the difference goes.

Each claim names the data set it is made for. It can be tested on any other, unless it is bound: the claims
for STL-10 are exceptions to what holds on CIFAR-10 and say nothing elsewhere. "CQ-F beats CQ" and "f improves
a system with the quality loss" are the same comparison and stand here once.
"""

from __future__ import annotations

from dataclasses import dataclass

KINDS = ("lower", "higher", "equal", "cost")
UNITS = {"bpd": "bpd", "is": "%", "fid": "%", "seconds": "%"}

_TABLE1 = "Impact of training objectives and NVP decoder"
_TABLE2 = "Evaluation of more advanced architectures"
_TABLE3 = "Comparison to the state of the art"
_DECODERS = "Limitation of basic VAE decoders"
NARROW = "In all profiles but `paper`, f is also half as wide at its first scale where it has two."
SCALES = (
    "Table 3 has no CQF of one scale with the smaller discriminator: the one with the large is compared, so that the "
    f"two differ in both. {NARROW}"
)
SAME_CRITIC = f"Against Table 2's CQF [IAF, Residual], whose discriminator is the same. {NARROW}"


@dataclass(frozen=True)
class Claim:
    """`row_a` is lower, higher or equal in `metric` than `row_b` on `data`; "cost" is a "higher" that is bad.

    `source` is the title of the slide; a `bound` claim is tested on its own data set only; `note` is what a reader has
    to know of the comparison.
    """

    id: str
    sentence: str
    source: str
    data: str
    metric: str
    row_a: str
    row_b: str
    kind: str
    bound: bool = False
    note: str = ""

    @property
    def unit(self) -> str:
        """Unit of the effect: "bpd", or "%" of row_b's score."""
        return UNITS[self.metric]

    def effect(self, a: float, b: float, scale: float | None = None) -> float:
        """The oriented difference between a value `a` of row_a and a value `b` of row_b.

        In bits per dimension for "bpd", else in percent of `scale`, a score of row_b (by default `b`).
        Positive is as claimed; for "equal", where no side is claimed, positive is "row_a is better", that is,
        lower, or higher for IS.
        """
        rises = self.kind in ("higher", "cost") or (self.kind == "equal" and self.metric == "is")
        difference = a - b if rises else b - a
        return difference if self.unit == "bpd" else 100 * difference / (b if scale is None else scale)


def _group(
    source: str, data: str, prefix: str, *claims: tuple[str, ...], bound: bool = False, note: str = ""
) -> list[Claim]:
    """Claims of one slide: (id, metric, kind, row_a, row_b, sentence) each, rows without "`prefix`/"."""

    def full(row: str) -> str:
        return row if "/" in row else f"{prefix}/{row}"

    return [
        Claim(f"{prefix}/{id}", sentence, source, data, metric, full(a), full(b), kind, bound, note)
        for id, metric, kind, a, b, sentence in claims
    ]


CLAIMS: tuple[Claim, ...] = (
    *_group(
        _TABLE1,
        "cifar10",
        "table1",
        # The quality loss, without f and with it.
        ("quality-loss-is", "is", "higher", "cq", "vae", "Without f, the quality loss raises IS"),
        ("quality-loss-fid", "fid", "lower", "cq", "vae", "Without f, the quality loss lowers FID"),
        ("quality-loss-bpd", "bpd", "equal", "cq", "vae", "Without f, the quality loss leaves BPD as it is"),
        ("quality-loss-f-is", "is", "higher", "cq-f", "vae-f", "With f, the quality loss raises IS"),
        ("quality-loss-f-fid", "fid", "lower", "cq-f", "vae-f", "With f, the quality loss lowers FID"),
        ("quality-loss-f-bpd", "bpd", "cost", "cq-f", "vae-f", "With f, the quality loss costs BPD"),
        # f, without the quality loss and with it.
        ("f-bpd", "bpd", "lower", "vae-f", "vae", "Without the quality loss, f lowers BPD"),
        ("f-is", "is", "higher", "vae-f", "vae", "Without the quality loss, f raises IS"),
        ("f-fid", "fid", "lower", "vae-f", "vae", "Without the quality loss, f lowers FID"),
        ("f-quality-bpd", "bpd", "lower", "cq-f", "cq", "With the quality loss, f lowers BPD: CQ-F beats CQ"),
        ("f-quality-is", "is", "higher", "cq-f", "cq", "With the quality loss, f raises IS: CQ-F beats CQ"),
        ("f-quality-fid", "fid", "lower", "cq-f", "cq", "With the quality loss, f lowers FID: CQ-F beats CQ"),
        # CQ-F against GAN, and the two pure objectives against each other.
        ("cq-f-gan-bpd", "bpd", "lower", "cq-f", "gan", "CQ-F beats GAN in BPD"),
        ("cq-f-gan-is", "is", "higher", "cq-f", "gan", "CQ-F beats GAN in IS"),
        ("cq-f-gan-fid", "fid", "lower", "cq-f", "gan", "CQ-F beats GAN in FID"),
        ("vae-gan-bpd", "bpd", "lower", "vae", "gan", "A VAE covers the data better than a GAN: lower BPD"),
        ("gan-vae-is", "is", "higher", "gan", "vae", "A GAN's samples are better than a VAE's: higher IS"),
        ("gan-vae-fid", "fid", "lower", "gan", "vae", "A GAN's samples are better than a VAE's: lower FID"),
    ),
    *_group(
        _TABLE2,
        "cifar10",
        "table2",
        ("residual-gan-is", "is", "higher", "gan-residual", "gan", "Residual nets raise a GAN's IS"),
        ("residual-gan-fid", "fid", "lower", "gan-residual", "gan", "Residual nets lower a GAN's FID"),
        ("residual-bpd", "bpd", "lower", "cqf-residual", "cqf", "Residual nets lower CQF's BPD"),
        ("residual-is", "is", "higher", "cqf-residual", "cqf", "Residual nets raise CQF's IS"),
        ("residual-fid", "fid", "lower", "cqf-residual", "cqf", "Residual nets lower CQF's FID"),
        ("iaf-bpd", "bpd", "lower", "cqf-iaf-residual", "cqf-residual", "IAF posteriors lower BPD"),
        ("iaf-is", "is", "higher", "cqf-iaf-residual", "cqf-residual", "IAF posteriors raise IS"),
        ("iaf-fid", "fid", "lower", "cqf-iaf-residual", "cqf-residual", "IAF posteriors lower FID"),
        *(
            (f"large-d-{metric}", metric, kind, "cqf-iaf-residual-large-d", "cqf-iaf-residual", sentence)
            for metric, kind, sentence in (
                ("bpd", "lower", "A larger discriminator lowers BPD"),
                ("is", "higher", "A larger discriminator raises IS"),
                ("fid", "lower", "A larger discriminator lowers FID"),
            )
        ),
    ),
    *_group(
        _TABLE3,
        "cifar10",
        "table3",
        ("scales-bpd", "bpd", "lower", "cqf-2-scales", "cqf-large-d", "Two scales buy likelihood: lower BPD"),
        ("scales-is", "is", "lower", "cqf-2-scales", "cqf-large-d", "Two scales cost quality: lower IS"),
        ("scales-fid", "fid", "higher", "cqf-2-scales", "cqf-large-d", "Two scales cost quality: higher FID"),
        note=SCALES,
    ),
    *_group(
        _TABLE3,
        "cifar10",
        "table3",
        *(
            (f"scales-same-critic-{metric}", metric, kind, "cqf-2-scales", "table2/cqf-iaf-residual", sentence)
            for metric, kind, sentence in (
                ("bpd", "lower", "With one discriminator, two scales buy likelihood: lower BPD"),
                ("is", "lower", "With one discriminator, two scales cost quality: lower IS"),
                ("fid", "higher", "With one discriminator, two scales cost quality: higher FID"),
            )
        ),
        note=SAME_CRITIC,
    ),
    *_group(
        _TABLE3,
        "cifar10",
        "table3",
        ("sngan-fid", "fid", "lower", "cqf-large-d", "sngan-resnet-hinge", "CQF beats SNGAN-ResNet-Hinge in FID"),
        ("nvp-bpd", "bpd", "equal", "cqf-2-scales", "nvp", "CQF with two scales matches Real NVP's BPD"),
        ("pixelcnnpp-bpd", "bpd", "lower", "pixelcnnpp", "pixelrnn", "PixelCNN++ beats PixelRNN in BPD"),
        ("pixelrnn-bpd", "bpd", "lower", "pixelrnn", "vae-iaf", "PixelRNN beats VAE-IAF in BPD"),
        ("vae-iaf-bpd", "bpd", "lower", "vae-iaf", "nvp", "VAE-IAF beats NVP in BPD"),
    ),
    *_group(
        _TABLE3,
        "stl10",
        "table3",
        *(
            (f"stl10-scales-{metric}", metric, kind, "cqf-2-scales", "cqf-large-d", sentence)
            for metric, kind, sentence in (
                ("bpd", "lower", "On STL-10 too, two scales buy likelihood: lower BPD"),
                ("is", "equal", "On STL-10 two scales cost no quality: equal IS"),
                ("fid", "equal", "On STL-10 two scales cost no quality: equal FID"),
            )
        ),
        bound=True,
        note=SCALES,
    ),
    *_group(
        _TABLE3,
        "stl10",
        "table3",
        (
            "stl10-sngan-fid",
            "fid",
            "higher",
            "cqf-large-d",
            "sngan-resnet-hinge",
            "On STL-10 CQF does not beat SNGAN-ResNet-Hinge's FID",
        ),
        bound=True,
    ),
    *_group(
        _DECODERS,
        "cifar10",
        "decoders",
        (
            "pixelcnn-seconds",
            "seconds",
            "higher",
            "extra/vae-pixelcnn",
            "table1/vae-f",
            "A PixelCNN decoder samples more slowly than f",
        ),
    ),
)
BY_ID = {claim.id: claim for claim in CLAIMS}


def applies(claim: Claim, data: str) -> bool:
    """Can `claim` be tested on `data`? A bound one only at home; no other where `data` is the exception."""
    if claim.bound:
        return data == claim.data
    pair = (claim.metric, claim.row_a, claim.row_b)
    exceptions = (other for other in CLAIMS if other.bound and other.data == data)
    return not any((other.metric, other.row_a, other.row_b) == pair for other in exceptions)
