"""What the slides claim or show, as data: two rows, one metric, and which way the difference goes. A claim can be
tested on any data set, unless it is bound: those for STL-10 are exceptions to what holds on CIFAR-10. Claims that are
`own` are this project's, beside the paper's."""

from collections.abc import Collection
from dataclasses import dataclass, replace

from cqlib.experiments.trade_off import CQ, CQ_F, USUAL, front
from cqlib.metrics.quantities import QUANTITIES

_COVERAGE = ("recall", "classes")
_STL10 = ("cqf-2-scales", "cqf-large-d")
SCALES = (
    "Table 3 has no CQF of one scale with the smaller discriminator: the one with the large is compared, so that the "
    "two differ in both."
)
FULL_SUPPORT = "The paper says “full support” and prints BPD alone; this is a test of it by other means."
NO_COST = (
    "It holds where recall is not lower (95 % interval) and more than the margin of equality lower is ruled out (5 %)."
)
DOMINATED = (
    "What one of a front’s points beats in both BPD and the distance, up to VAE’s, which was chosen before any other "
    "point ran, as a share of all that VAE beats."
)
SAME_CRITIC = "Against Table 2's CQF [IAF, Residual], whose discriminator is the same."


@dataclass(frozen=True)
class Claim:
    """`row_a` is lower, higher or equal in `metric` than `row_b` on `data`; "cost" is a "higher" that is bad, "kept" is
    not worse. Rows may be changed ones, by the name of `variants.variant`. A `bound`
    claim is tested on its own data set only; `note` is what a reader has to know of the comparison. An `own` claim is
    this project's and not the paper's."""

    id: str
    sentence: str
    data: str
    metric: str
    row_a: str
    row_b: str
    kind: str
    bound: bool = False
    note: str = ""
    own: bool = False

    @property
    def table(self) -> str:
        """The table that it is about, "table1"; what begins its id."""
        return self.id.partition("/")[0]

    @property
    def unit(self) -> str:
        """Unit of the effect: "bpd", "%" of row_b's score, or percentage "points"."""
        return QUANTITIES[self.metric].unit

    @property
    def sign(self) -> int:
        """Of a difference, row_a's value less row_b's, that is as claimed, or, for "equal", where row_a is better."""
        better = QUANTITIES[self.metric].better
        return 1 if self.kind in ("higher", "cost") or (self.kind in ("equal", "kept") and better == "higher") else -1

    @property
    def check(self) -> "Claim | None":
        """The same claim by another score of the same thing, KID for FID; None where there is none."""
        other = QUANTITIES[self.metric].checked_by
        return replace(self, metric=other) if other else None

    def effect(self, a: float, b: float) -> float:
        """The difference between values `a` of row_a and `b` of row_b in `unit`. Positive is as claimed; for "equal",
        where row_a is better."""
        scale = {"bpd": 1.0, "points": 100.0}
        return self.sign * (a - b) * (100 / b if self.unit == "%" else scale[self.unit])


Spec = tuple[str, str, str, str, str, str]
"""A claim within its group: id, metric, kind, row_a, row_b, sentence; ids and rows without the group's prefix."""


def _trio(id: str, row_a: str, row_b: str, sentence: str, *metrics: str) -> list[Spec]:
    """`row_a` is better than `row_b` in BPD, IS and FID, or in those of `metrics`: a claim for each, "`id`-bpd" and so
    on. In `sentence` "{lowers}" is "lowers BPD", "raises IS", "lowers FID"; {lower} its plural, {metric} "BPD"."""
    claims: list[Spec] = []
    for metric in metrics or ("bpd", "is", "fid"):
        quantity = QUANTITIES[metric]
        verb, name = {"higher": "raise", "lower": "lower"}[quantity.better], quantity.name
        words = sentence.format(lowers=f"{verb}s {name}", lower=verb, metric=name)
        claims.append((f"{id}-{metric}", metric, quantity.better, row_a, row_b, words))
    return claims


def _scales(id: str, row_b: str, start: str) -> list[Spec]:
    """Two scales against one, on CIFAR-10."""
    costs = f"{start}wo scales cost quality"
    return [
        (f"{id}-bpd", "bpd", "lower", "cqf-2-scales", row_b, f"{start}wo scales buy likelihood: lower BPD"),
        (f"{id}-is", "is", "lower", "cqf-2-scales", row_b, f"{costs}: lower IS"),
        (f"{id}-fid", "fid", "higher", "cqf-2-scales", row_b, f"{costs}: higher FID"),
    ]


def _along_lambda(id: str, metric: str, kind: str, sentence: str, known: Collection[float]) -> list[Spec]:
    """CQ-F against CQ at every lambda but those that are `known`."""
    pairs = zip(front(CQ_F, "quick").items(), front(CQ, "quick").values(), strict=True)
    return [(f"{id}-{weight:g}", metric, kind, with_f, without, f"At λ = {weight:,g} {sentence}")
            for (weight, with_f), without in pairs if weight not in known]  # fmt: skip


def _group(
    prefix: str, data: str, *specs: Spec, bound: bool = False, note: str = "", own: bool = False
) -> list[Claim]:  # fmt: skip
    """Claims on one data set; a row of another table has its full name."""

    def full(row: str) -> str:
        return row if "/" in row else f"{prefix}/{row}"

    return [
        Claim(f"{prefix}/{id}", sentence, data, metric, full(a), full(b), kind, bound, note, own)
        for id, metric, kind, a, b, sentence in specs
    ]


CLAIMS: tuple[Claim, ...] = (
    *_group(
        "table1", "cifar10",
        *_trio("quality-loss", "cq", "vae", "Without f, the quality loss {lowers}", "is", "fid"),
        ("quality-loss-bpd", "bpd", "equal", "cq", "vae", "Without f, the quality loss leaves BPD as it is"),
        *_trio("quality-loss-f", "cq-f", "vae-f", "With f, the quality loss {lowers}", "is", "fid"),
        ("quality-loss-f-bpd", "bpd", "cost", "cq-f", "vae-f", "With f, the quality loss costs BPD"),
        *_trio("f", "vae-f", "vae", "Without the quality loss, f {lowers}"),
        *_trio("f-quality", "cq-f", "cq", "With the quality loss, f {lowers}: CQ-F beats CQ"),
        *_trio("cq-f-gan", "cq-f", "gan", "CQ-F beats GAN in {metric}"),
        ("vae-gan-bpd", "bpd", "lower", "vae", "gan", "A VAE covers the data better than a GAN: lower BPD"),
        ("gan-vae-is", "is", "higher", "gan", "vae", "A GAN's samples are better than a VAE's: higher IS"),
        ("gan-vae-fid", "fid", "lower", "gan", "vae", "A GAN's samples are better than a VAE's: lower FID"),
    ),
    *_group(
        "table1", "cifar10",
        *_trio("cq-f-gan", "cq-f", "gan", "CQ-F covers the data better than a GAN, by {metric}", *_COVERAGE),
        *_trio("cq-gan", "cq", "gan", "CQ covers the data better than a GAN, by {metric}", *_COVERAGE),
        note=FULL_SUPPORT, own=True,
    ),
    *_group(
        "trade-off", "cifar10", *_along_lambda("f-bpd", "bpd", "lower", "too, f lowers BPD", (0, USUAL)), own=True
    ),
    *_group(
        "trade-off", "cifar10", *_along_lambda("f-recall", "recall", "kept", "f does not cost recall", (0,)),
        note=NO_COST, own=True,
    ),
    *_group(
        "trade-off", "cifar10",
        ("front", "hypervolume", "higher", CQ_F, CQ, "With f the trade-off over λ has the larger hypervolume"),
        note=DOMINATED, own=True,
    ),
    *_group(
        "table2", "cifar10",
        *_trio("residual-gan", "gan-residual", "gan", "Residual nets {lower} a GAN's {metric}", "is", "fid"),
        *_trio("residual", "cqf-residual", "cqf", "Residual nets {lower} CQF's {metric}"),
        *_trio("iaf", "cqf-iaf-residual", "cqf-residual", "IAF posteriors {lower} {metric}"),
        *_trio("large-d", "cqf-iaf-residual-large-d", "cqf-iaf-residual", "A larger discriminator {lowers}"),
    ),
    *_group("table3", "cifar10", *_scales("scales", "cqf-large-d", "T"), note=SCALES),
    *_group(
        "table3", "cifar10",
        *_scales("scales-same-critic", "table2/cqf-iaf-residual", "With one discriminator, t"),
        note=SAME_CRITIC,
    ),
    *_group(
        "table3", "cifar10",
        ("sngan-fid", "fid", "lower", "cqf-large-d", "sngan-resnet-hinge", "CQF beats SNGAN-ResNet-Hinge in FID"),
        ("nvp-bpd", "bpd", "equal", "cqf-2-scales", "nvp", "CQF with two scales matches Real NVP's BPD"),
        ("pixelcnnpp-bpd", "bpd", "lower", "pixelcnnpp", "pixelrnn", "PixelCNN++ beats PixelRNN in BPD"),
        ("pixelrnn-bpd", "bpd", "lower", "pixelrnn", "vae-iaf", "PixelRNN beats VAE-IAF in BPD"),
        ("vae-iaf-bpd", "bpd", "lower", "vae-iaf", "nvp", "VAE-IAF beats NVP in BPD"),
    ),
    *_group(
        "table3", "stl10",
        ("stl10-scales-bpd", "bpd", "lower", *_STL10, "On STL-10 too, two scales buy likelihood: lower BPD"),
        ("stl10-scales-is", "is", "equal", *_STL10, "On STL-10 two scales cost no quality: equal IS"),
        ("stl10-scales-fid", "fid", "equal", *_STL10, "On STL-10 two scales cost no quality: equal FID"),
        bound=True, note=SCALES,
    ),
    *_group(
        "table3", "stl10",
        ("stl10-sngan-fid", "fid", "higher", "cqf-large-d", "sngan-resnet-hinge",
         "On STL-10 CQF does not beat SNGAN-ResNet-Hinge's FID"),
        bound=True,
    ),
    *_group(
        "decoders", "cifar10",
        ("pixelcnn-seconds", "seconds", "higher", "extra/vae-pixelcnn", "table1/vae-f",
         "A PixelCNN decoder samples more slowly than f"),
    ),
)  # fmt: skip
BY_ID = {claim.id: claim for claim in CLAIMS}


def applies(claim: Claim, data: str) -> bool:
    """Can `claim` be tested on `data`? A bound one only at home; no other where `data` is the exception."""
    if claim.bound:
        return data == claim.data
    pair = (claim.metric, claim.row_a, claim.row_b)
    exceptions = (other for other in CLAIMS if other.bound and other.data == data)
    return not any((other.metric, other.row_a, other.row_b) == pair for other in exceptions)
