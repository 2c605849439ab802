"""What the slides claim or show, as data: two rows, one metric, and which way the difference goes. A claim can be
tested on any data set, with two exceptions: what the slides say of STL-10 alone is tested there only, and what it
replaces is not tested there. Claims that are `own` are this project's, beside the paper's."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from cqlib.experiments.trade_off import CQ, CQ_F, LAMBDA, LAMBDAS, usual
from cqlib.experiments.variants import row_and_changes, variant
from cqlib.metrics.quantities import QUANTITIES

FULL_SUPPORT = {
    "note": "The paper claims “full support” and prints only BPD; this tests it by another score.", "own": True
}  # fmt: skip
MORE_PARAMETERS = {
    "note": "Under quick the residual CQF has twice the parameters of the plain one, the residual GAN's generator "
    "three times; under study, at 32×32, the residual CQF has a seventh fewer, the residual GAN's generator "
    "about as many."
}
SCALES = {
    "note": "Table 3 has no one-scale CQF with the smaller discriminator, so the one with the larger discriminator is "
            "compared: the two rows differ in scales and in discriminator."
}  # fmt: skip
SAME_CRITIC = {"note": "Against Table 2's CQF [IAF, Residual], whose discriminator is the same."}
RIVAL = {
    "note": "The rival is the smaller net, under quick and study, and had fewer trials of its recipe. Its run takes "
            "less time, under study with the exception of DCGAN, Prog-GAN and SNGAN with either loss."
}  # fmt: skip
SHOWN = {"note": "The slides show the samples side by side and print no score of Real NVP's.", "own": True}
OTHER_COST = {
    "note": "Under quick CQF has 1.6 times the parameters of Real NVP, and its runs take about three times as long; "
    "under study, at 32×32, Real NVP has 2.3 times CQF's, and its run takes three quarters of the time."
}
TOO_SLOW = {
    "note": "The slides call it too slow to sample from during training, and name no time that would be fast enough; "
            "this compares how long a batch of samples takes.",
}  # fmt: skip
OTHER_SIZE = {
    "note": "The two differ in size and time: PixelRNN is the smallest and, under quick, the quickest; under study, at "
            "32×32, VAE-IAF is the quickest."
}  # fmt: skip
SLOW_IAF = {
    "note": "The paper's VAE-IAF has twenty layers and, presumably, some 10⁵ steps. In the smaller profiles it has few "
            "layers, and its training ends long before it converges; NVP, whose couplings see a pixel's neighbours, "
            "learns fast."
}  # fmt: skip
NOT_ON_STL10, ON_STL10 = {"replaced_on": "stl10"}, {"own_data_only": True}


@dataclass(frozen=True)
class Claim:
    """How `row_a` compares with `row_b` in `metric` on `data`.

    `kind`: "lower", "higher" or "equal" (within the metric's margin); "cost": higher, where that is bad. Rows may be
    changed ones, by the name of `variants.variant`. Where it is tested: see `applies`. `note` is what a reader has to
    know of the comparison. `own`: this project's claim, not the paper's.
    """

    id: str
    sentence: str
    data: str
    metric: str
    row_a: str
    row_b: str
    kind: str
    own_data_only: bool = False
    replaced_on: str = ""
    note: str = ""
    own: bool = False

    @property
    def table(self) -> str:
        """What it is about, the beginning of its id: a table, "table1", or "trade-off", "decoders"."""
        return self.id.partition("/")[0]

    @property
    def heading(self) -> str:
        """What it is about in words: "Table 1", "trade-off"."""
        return self.table.replace("table", "Table ")

    @property
    def unit(self) -> str:
        """Unit of the effect: "bpd", "%" of row_b's score, or percentage "points"."""
        return QUANTITIES[self.metric].unit

    @property
    def sign(self) -> int:
        """The sign of row_a's value less row_b's where that is as claimed, or, for "equal", where row_a is better."""
        better = QUANTITIES[self.metric].better
        return 1 if self.kind in ("higher", "cost") or (self.kind == "equal" and better == "higher") else -1

    def effect(self, a: float, b: float) -> float:
        """The difference between values `a` of row_a and `b` of row_b in `unit`. It is positive where it is as claimed,
        or, for "equal", where row_a is better."""
        scale = {"bpd": 1.0, "points": 100.0}
        return self.sign * (a - b) * (100 / b if self.unit == "%" else scale[self.unit])


KINDS = {"costs": "cost", "=": "equal"}
WORSE = {"lower": "higher", "higher": "lower"}
ALL = "bpd is fid"


def _claims(prefix: str, data: str, *lines: tuple[Any, ...]) -> Iterator[Claim]:
    """A claim for each metric of each line (id, rows, metrics, sentence), with ids such as "table1/f-bpd"; a line may
    end with more fields of its claims.

    The first of the two rows is better (">"), worse ("<") or equal ("="), or costs the metric ("costs"); a row of
    another table has its full name. In a sentence {lowers} stands for "lowers BPD" or "raises IS", {lower} for the verb
    in the plural, {metric} for "BPD" and {kind} for the claim's kind, such as "lower".
    """
    for id, rows, metrics, sentence, *fields in lines:
        a, sign, b = rows.split()
        row_a, row_b = (row if "/" in row else f"{prefix}/{row}" for row in (a, b))
        for metric in metrics.split():
            quantity = QUANTITIES[metric]
            kind = {">": quantity.better, "<": WORSE[quantity.better], **KINDS}[sign]
            verb = {"higher": "raise", "lower": "lower"}[quantity.better]
            words = {"lowers": f"{verb}s {quantity.name}", "lower": verb, "metric": quantity.name, "kind": kind}
            id_, sentence_ = f"{prefix}/{id}-{metric}", sentence.format(**words)
            yield Claim(id_, sentence_, data, metric, row_a, row_b, kind, **dict(*fields))


def _along_lambda() -> Iterator[Claim]:
    """With f BPD is lower at every lambda: CQ-F against CQ."""
    for weight in LAMBDAS["quick"]:
        with_f, without = (variant(row, {LAMBDA: weight}) for row in (CQ_F, CQ))
        sentence = f"At λ = {weight:,g} too, f lowers BPD"
        yield Claim(f"trade-off/f-bpd-{weight:g}", sentence, "cifar10", "bpd", with_f, without, "lower", own=True)


CLAIMS: tuple[Claim, ...] = (
    *_claims(
        "table1", "cifar10",
        ("quality-loss", "cq > vae", "is fid", "Without f, the quality loss {lowers}"),
        ("quality-loss", "cq = vae", "bpd", "Without f, the quality loss leaves BPD as it is"),
        ("quality-loss-f", "cq-f > vae-f", "is fid", "With f, the quality loss {lowers}"),
        ("quality-loss-f", "cq-f costs vae-f", "bpd", "With f, the quality loss costs BPD"),
        ("f", "vae-f > vae", ALL, "Without the quality loss, f {lowers}"),
        ("f-quality", "cq-f > cq", ALL, "With the quality loss, f {lowers}: CQ-F beats CQ"),
        ("cq-f-gan", "cq-f > gan", ALL, "CQ-F beats GAN in {metric}"),
        ("vae-gan", "vae > gan", "bpd", "A VAE covers the data better than a GAN: {kind} {metric}"),
        ("gan-vae", "gan > vae", "is fid", "A GAN's samples are better than a VAE's: {kind} {metric}"),
        ("cq-f-gan", "cq-f > gan", "coverage", "CQ-F covers the data better than a GAN, by coverage", FULL_SUPPORT),
        ("cq-gan", "cq > gan", "coverage", "CQ covers the data better than a GAN, by coverage", FULL_SUPPORT),
    ),
    *_along_lambda(),
    *_claims(
        "table2", "cifar10",
        ("residual-gan", "gan-residual > gan", "is fid", "Residual nets {lower} a GAN's {metric}", MORE_PARAMETERS),
        ("residual", "cqf-residual > cqf", ALL, "Residual nets {lower} CQF's {metric}", MORE_PARAMETERS),
        ("cqf-gan-residual", "cqf-residual > gan-residual", "is", "With residual nets CQF beats GAN in {metric}"),
        ("gan-cqf-residual", "gan-residual > cqf-residual", "fid", "With residual nets GAN beats CQF in {metric}"),
        ("iaf", "cqf-iaf-residual > cqf-residual", ALL, "IAF posteriors {lower} {metric}"),
        ("large-d", "cqf-iaf-residual-large-d > cqf-iaf-residual", ALL, "A larger discriminator {lowers}"),
    ),
    *_claims(
        "table3", "cifar10",
        ("scales", "cqf-2-scales > cqf-large-d", "bpd", "Two scales buy likelihood: {kind} {metric}",
         SCALES | NOT_ON_STL10),
        ("scales", "cqf-2-scales < cqf-large-d", "is fid", "Two scales cost quality: {kind} {metric}",
         SCALES | NOT_ON_STL10),
        ("scales-same-critic", "cqf-2-scales > table2/cqf-iaf-residual", "bpd",
         "With one discriminator, two scales buy likelihood: {kind} {metric}", SAME_CRITIC),
        ("scales-same-critic", "cqf-2-scales < table2/cqf-iaf-residual", "is fid",
         "With one discriminator, two scales cost quality: {kind} {metric}", SAME_CRITIC | NOT_ON_STL10),
        ("dcgan", "cqf-large-d > dcgan", "is", "CQF beats DCGAN in {metric}", RIVAL),
        ("sngan", "cqf-large-d > sngan", "is fid", "CQF beats SNGAN in {metric}", RIVAL),
        ("batchgan", "cqf-large-d > batchgan", "is fid", "CQF beats BatchGAN in {metric}", RIVAL | NOT_ON_STL10),
        ("wgan-gp", "cqf-large-d > wgan-gp", "is", "CQF beats WGAN-GP in {metric}", RIVAL),
        ("improved-gan", "cqf-large-d = improved-gan", "is", "CQF matches Improved Training GAN's {metric}", RIVAL),
        ("sngan-resnet-hinge", "sngan-resnet-hinge > cqf-large-d", "is", "SNGAN-ResNet-Hinge beats CQF in {metric}",
         RIVAL),
        ("sngan-resnet-hinge", "cqf-large-d > sngan-resnet-hinge", "fid", "CQF beats SNGAN-ResNet-Hinge in {metric}",
         RIVAL | NOT_ON_STL10),
        ("prog-gan", "prog-gan > cqf-large-d", "is", "Prog-GAN beats CQF in {metric}", RIVAL),
        ("nvp", "cqf-2-scales = nvp", "bpd", "CQF with two scales matches Real NVP's BPD", OTHER_COST),
        ("nvp", "cqf-2-scales > nvp", "is fid", "CQF with two scales beats Real NVP in {metric}", SHOWN),
        ("pixelcnnpp", "pixelcnnpp > pixelrnn", "bpd", "PixelCNN++ beats PixelRNN in BPD", OTHER_SIZE),
        ("pixelrnn", "pixelrnn > vae-iaf", "bpd", "PixelRNN beats VAE-IAF in BPD", OTHER_SIZE),
        ("vae-iaf", "vae-iaf > nvp", "bpd", "VAE-IAF beats NVP in BPD", SLOW_IAF),
    ),
    *_claims(
        "table3", "stl10",
        ("stl10-scales", "cqf-2-scales > cqf-large-d", "bpd",
         "On STL-10 too, two scales buy likelihood: {kind} {metric}", SCALES | ON_STL10),
        ("stl10-scales", "cqf-2-scales = cqf-large-d", "is fid",
         "On STL-10 two scales cost no quality: {kind} {metric}", SCALES | ON_STL10),
        ("stl10-sngan-hinge", "sngan-hinge > cqf-large-d", "is fid", "On STL-10 SNGAN-Hinge beats CQF in {metric}",
         RIVAL | ON_STL10),
        ("stl10-batchgan", "batchgan > cqf-large-d", "is fid", "On STL-10 BatchGAN beats CQF in {metric}",
         RIVAL | ON_STL10),
        ("stl10-sngan-resnet-hinge", "sngan-resnet-hinge > cqf-large-d", "fid",
         "On STL-10 SNGAN-ResNet-Hinge beats CQF in {metric}", RIVAL | ON_STL10),
    ),
    *_claims(
        "decoders", "cifar10",
        ("pixelcnn", "extra/vae-pixelcnn < table1/vae-f", "seconds", "A PixelCNN decoder samples more slowly than f",
         TOO_SLOW),
    ),
)  # fmt: skip
BY_ID = {claim.id: claim for claim in CLAIMS}


IS_MISLEADS = ("photodigits",)
"""Data sets on which the IS of real images rises when they get noisy or blurred, or lack half the classes, so that no
claim in IS is tested there. Seen in real images alone."""


def applies(claim: Claim, data: str, size: int = 16) -> bool:
    """Whether `claim` is tested on `data`: with `own_data_only` on its own data set alone, else on any but
    `replaced_on`, for which another claim takes its place; at the usual lambda of `data` Table 1 has the claim. IS is
    not tested where it misleads."""
    if claim.metric == "is" and data in IS_MISLEADS:
        return False
    _, changes = row_and_changes(claim.row_a)
    if claim.own_data_only:
        return data == claim.data
    return data != claim.replaced_on and changes.get(LAMBDA) != usual(data, size)
