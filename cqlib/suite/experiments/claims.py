"""The claims of the slides as data: two rows, a metric, and the sign of their difference. A claim can be tested on any
data set, with one exception: claims about STL-10 alone are tested only there, and replace the corresponding claims of
other data sets. Claims with `own` are this project's, not the paper's."""

from collections.abc import Iterator
from dataclasses import dataclass

from cqlib.data import usual_lambda
from cqlib.metrics.quantities import QUANTITIES
from cqlib.suite.experiments.trade_off import CQ, CQ_F, LAMBDA, LAMBDAS
from cqlib.suite.experiments.variants import row_and_changes, variant

FULL_SUPPORT = "The paper claims “full support” and prints only BPD; this tests it by another score."
MORE_PARAMETERS = (
    "Under quick the residual CQ-F has twice the parameters of the plain one, the residual GAN's generator "
    "three times; under study, at 32×32, the residual CQ-F has a seventh fewer, the residual GAN's generator "
    "about as many."
)
SCALES = (
    "Table 3 has no one-scale CQ-F with the smaller discriminator, so the one with the larger discriminator is "
    "compared: the two rows differ in scales and in discriminator."
)
SAME_CRITIC = "Against Table 2's CQ-F [IAF, Residual], whose discriminator is the same."
RIVAL = "Under quick and study the rival is the smaller net, and fewer trials were spent on its recipe."
SHOWN = "The slides show the samples side by side and print no score of Real NVP's."
OTHER_COST = "The two also differ in their numbers of parameters and in training time."
TOO_SLOW = (
    "The slides call it too slow to sample from during training, but do not say what would be fast enough; this "
    "compares how long a batch of samples takes."
)
SLOW_IAF = (
    "The paper's VAE-IAF has twenty layers and, presumably, some 10⁵ steps. In the smaller profiles it has few "
    "layers, and its training ends long before it converges; NVP, whose couplings see a pixel's neighbours, "
    "learns fast."
)


@dataclass(frozen=True)
class Claim:
    """How `row_a` compares with `row_b` in `metric` on `data`.

    `kind`: "lower", "higher" or "equal" (within the metric's margin); "cost": higher, and that is a drawback. A changed
    row goes by its name of `variants.variant`. `applies` says on which data sets a claim is tested. `note` is a remark
    on the comparison. `own`: this project's claim, not the paper's.
    """

    id: str
    row_a: str
    kind: str
    row_b: str
    metric: str
    sentence: str
    data: str = "cifar10"
    own_data_only: bool = False
    replaced_on: str = ""
    note: str = ""
    own: bool = False

    @property
    def table(self) -> str:
        """The beginning of its id: "table1", "trade-off", "decoders"."""
        return self.id.partition("/")[0]

    @property
    def heading(self) -> str:
        """Its subject in words: "Table 1", "trade-off"."""
        return self.table.replace("table", "Table ")

    @property
    def unit(self) -> str:
        """Unit of the effect: "bpd", "%" of row_b's score, or percentage "points"."""
        return QUANTITIES[self.metric].unit

    @property
    def sign(self) -> int:
        """The sign of (value of row_a − value of row_b) by the claim; for "equal", the sign if row_a is better."""
        better = QUANTITIES[self.metric].better
        return 1 if self.kind in ("higher", "cost") or (self.kind == "equal" and better == "higher") else -1

    def effect(self, a: float, b: float) -> float:
        """The difference between the values `a` of row_a and `b` of row_b in `unit`: positive if it is as claimed or,
        for "equal", if row_a is better."""
        scale = {"bpd": 1.0, "points": 100.0}
        return self.sign * (a - b) * (100 / b if self.unit == "%" else scale[self.unit])


def _along_lambda() -> Iterator[Claim]:
    """At every lambda, CQ-F has a lower BPD than CQ."""
    for weight in LAMBDAS["quick"]:
        with_f, without = (variant(row, {LAMBDA: weight}) for row in (CQ_F, CQ))
        yield Claim(f"trade-off/f-bpd-{weight:g}", with_f, "lower", without, "bpd",
                    f"At λ = {weight:,g} too, f lowers BPD", own=True)  # fmt: skip


CLAIMS: tuple[Claim, ...] = (
    Claim("table1/quality-loss-is", "table1/cq", "higher", "table1/vae", "is", "Without f, the quality loss raises IS"),
    Claim("table1/quality-loss-fid", "table1/cq", "lower", "table1/vae", "fid",
          "Without f, the quality loss lowers FID"),
    Claim("table1/quality-loss-bpd", "table1/cq", "equal", "table1/vae", "bpd",
          "Without f, the quality loss leaves BPD as it is"),
    Claim("table1/quality-loss-f-is", "table1/cq-f", "higher", "table1/vae-f", "is",
          "With f, the quality loss raises IS"),
    Claim("table1/quality-loss-f-fid", "table1/cq-f", "lower", "table1/vae-f", "fid",
          "With f, the quality loss lowers FID"),
    Claim("table1/quality-loss-f-bpd", "table1/cq-f", "cost", "table1/vae-f", "bpd",
          "With f, the quality loss costs BPD"),
    Claim("table1/f-bpd", "table1/vae-f", "lower", "table1/vae", "bpd", "Without the quality loss, f lowers BPD"),
    Claim("table1/f-is", "table1/vae-f", "higher", "table1/vae", "is", "Without the quality loss, f raises IS"),
    Claim("table1/f-fid", "table1/vae-f", "lower", "table1/vae", "fid", "Without the quality loss, f lowers FID"),
    Claim("table1/f-quality-bpd", "table1/cq-f", "lower", "table1/cq", "bpd",
          "With the quality loss, f lowers BPD: CQ-F beats CQ"),
    Claim("table1/f-quality-is", "table1/cq-f", "higher", "table1/cq", "is",
          "With the quality loss, f raises IS: CQ-F beats CQ"),
    Claim("table1/f-quality-fid", "table1/cq-f", "lower", "table1/cq", "fid",
          "With the quality loss, f lowers FID: CQ-F beats CQ"),
    Claim("table1/cq-f-gan-bpd", "table1/cq-f", "lower", "table1/gan", "bpd", "CQ-F beats GAN in BPD"),
    Claim("table1/cq-f-gan-is", "table1/cq-f", "higher", "table1/gan", "is", "CQ-F beats GAN in IS"),
    Claim("table1/cq-f-gan-fid", "table1/cq-f", "lower", "table1/gan", "fid", "CQ-F beats GAN in FID"),
    Claim("table1/vae-gan-bpd", "table1/vae", "lower", "table1/gan", "bpd",
          "A VAE covers the data better than a GAN: lower BPD"),
    Claim("table1/gan-vae-is", "table1/gan", "higher", "table1/vae", "is",
          "A GAN's samples are better than a VAE's: higher IS"),
    Claim("table1/gan-vae-fid", "table1/gan", "lower", "table1/vae", "fid",
          "A GAN's samples are better than a VAE's: lower FID"),
    Claim("table1/cq-f-gan-coverage", "table1/cq-f", "higher", "table1/gan", "coverage",
          "CQ-F covers the data better than a GAN, by coverage", note=FULL_SUPPORT, own=True),
    Claim("table1/cq-gan-coverage", "table1/cq", "higher", "table1/gan", "coverage",
          "CQ covers the data better than a GAN, by coverage", note=FULL_SUPPORT, own=True),
    *_along_lambda(),
    Claim("table2/residual-gan-is", "table2/gan-residual", "higher", "table2/gan", "is",
          "Residual nets raise a GAN's IS", note=MORE_PARAMETERS),
    Claim("table2/residual-gan-fid", "table2/gan-residual", "lower", "table2/gan", "fid",
          "Residual nets lower a GAN's FID", note=MORE_PARAMETERS),
    Claim("table2/residual-bpd", "table2/cqf-residual", "lower", "table2/cqf", "bpd", "Residual nets lower CQ-F's BPD",
          note=MORE_PARAMETERS),
    Claim("table2/residual-is", "table2/cqf-residual", "higher", "table2/cqf", "is", "Residual nets raise CQ-F's IS",
          note=MORE_PARAMETERS),
    Claim("table2/residual-fid", "table2/cqf-residual", "lower", "table2/cqf", "fid", "Residual nets lower CQ-F's FID",
          note=MORE_PARAMETERS),
    Claim("table2/cqf-gan-residual-is", "table2/cqf-residual", "higher", "table2/gan-residual", "is",
          "With residual nets CQ-F beats GAN in IS"),
    Claim("table2/gan-cqf-residual-fid", "table2/gan-residual", "lower", "table2/cqf-residual", "fid",
          "With residual nets GAN beats CQ-F in FID"),
    Claim("table2/iaf-bpd", "table2/cqf-iaf-residual", "lower", "table2/cqf-residual", "bpd",
          "IAF posteriors lower BPD"),
    Claim("table2/iaf-is", "table2/cqf-iaf-residual", "higher", "table2/cqf-residual", "is", "IAF posteriors raise IS"),
    Claim("table2/iaf-fid", "table2/cqf-iaf-residual", "lower", "table2/cqf-residual", "fid",
          "IAF posteriors lower FID"),
    Claim("table2/large-d-bpd", "table2/cqf-iaf-residual-large-d", "lower", "table2/cqf-iaf-residual", "bpd",
          "A larger discriminator lowers BPD"),
    Claim("table2/large-d-is", "table2/cqf-iaf-residual-large-d", "higher", "table2/cqf-iaf-residual", "is",
          "A larger discriminator raises IS"),
    Claim("table2/large-d-fid", "table2/cqf-iaf-residual-large-d", "lower", "table2/cqf-iaf-residual", "fid",
          "A larger discriminator lowers FID"),
    Claim("table3/scales-bpd", "table3/cqf-2-scales", "lower", "table3/cqf-large-d", "bpd",
          "Two scales buy likelihood: lower BPD", note=SCALES, replaced_on="stl10"),
    Claim("table3/scales-is", "table3/cqf-2-scales", "lower", "table3/cqf-large-d", "is",
          "Two scales cost quality: lower IS", note=SCALES, replaced_on="stl10"),
    Claim("table3/scales-fid", "table3/cqf-2-scales", "higher", "table3/cqf-large-d", "fid",
          "Two scales cost quality: higher FID", note=SCALES, replaced_on="stl10"),
    Claim("table3/scales-same-critic-bpd", "table3/cqf-2-scales", "lower", "table2/cqf-iaf-residual", "bpd",
          "With the same discriminator, two scales buy likelihood: lower BPD", note=SAME_CRITIC),
    Claim("table3/scales-same-critic-is", "table3/cqf-2-scales", "lower", "table2/cqf-iaf-residual", "is",
          "With the same discriminator, two scales cost quality: lower IS", note=SAME_CRITIC, replaced_on="stl10"),
    Claim("table3/scales-same-critic-fid", "table3/cqf-2-scales", "higher", "table2/cqf-iaf-residual", "fid",
          "With the same discriminator, two scales cost quality: higher FID", note=SAME_CRITIC, replaced_on="stl10"),
    Claim("table3/dcgan-is", "table3/cqf-large-d", "higher", "table3/dcgan", "is", "CQ-F beats DCGAN in IS",
          note=RIVAL),
    Claim("table3/sngan-is", "table3/cqf-large-d", "higher", "table3/sngan", "is", "CQ-F beats SNGAN in IS",
          note=RIVAL),
    Claim("table3/sngan-fid", "table3/cqf-large-d", "lower", "table3/sngan", "fid", "CQ-F beats SNGAN in FID",
          note=RIVAL),
    Claim("table3/batchgan-is", "table3/cqf-large-d", "higher", "table3/batchgan", "is", "CQ-F beats BatchGAN in IS",
          note=RIVAL, replaced_on="stl10"),
    Claim("table3/batchgan-fid", "table3/cqf-large-d", "lower", "table3/batchgan", "fid", "CQ-F beats BatchGAN in FID",
          note=RIVAL, replaced_on="stl10"),
    Claim("table3/wgan-gp-is", "table3/cqf-large-d", "higher", "table3/wgan-gp", "is", "CQ-F beats WGAN-GP in IS",
          note=RIVAL),
    Claim("table3/improved-gan-is", "table3/cqf-large-d", "equal", "table3/improved-gan", "is",
          "CQ-F matches Improved Training GAN's IS", note=RIVAL),
    Claim("table3/sngan-resnet-hinge-is", "table3/sngan-resnet-hinge", "higher", "table3/cqf-large-d", "is",
          "SNGAN-ResNet-Hinge beats CQ-F in IS", note=RIVAL),
    Claim("table3/sngan-resnet-hinge-fid", "table3/cqf-large-d", "lower", "table3/sngan-resnet-hinge", "fid",
          "CQ-F beats SNGAN-ResNet-Hinge in FID", note=RIVAL, replaced_on="stl10"),
    Claim("table3/prog-gan-is", "table3/prog-gan", "higher", "table3/cqf-large-d", "is", "Prog-GAN beats CQ-F in IS",
          note=RIVAL),
    Claim("table3/nvp-bpd", "table3/cqf-2-scales", "equal", "table3/nvp", "bpd",
          "CQ-F with two scales matches Real NVP's BPD", note=OTHER_COST),
    Claim("table3/nvp-is", "table3/cqf-2-scales", "higher", "table3/nvp", "is",
          "CQ-F with two scales beats Real NVP in IS", note=SHOWN, own=True),
    Claim("table3/nvp-fid", "table3/cqf-2-scales", "lower", "table3/nvp", "fid",
          "CQ-F with two scales beats Real NVP in FID", note=SHOWN, own=True),
    Claim("table3/pixelcnnpp-bpd", "table3/pixelcnnpp", "lower", "table3/pixelrnn", "bpd",
          "PixelCNN++ beats PixelRNN in BPD", note=OTHER_COST),
    Claim("table3/pixelrnn-bpd", "table3/pixelrnn", "lower", "table3/vae-iaf", "bpd", "PixelRNN beats VAE-IAF in BPD",
          note=OTHER_COST),
    Claim("table3/vae-iaf-bpd", "table3/vae-iaf", "lower", "table3/nvp", "bpd", "VAE-IAF beats NVP in BPD",
          note=SLOW_IAF),
    Claim("table3/stl10-scales-bpd", "table3/cqf-2-scales", "lower", "table3/cqf-large-d", "bpd",
          "On STL-10 too, two scales buy likelihood: lower BPD", data="stl10", note=SCALES, own_data_only=True),
    Claim("table3/stl10-scales-is", "table3/cqf-2-scales", "equal", "table3/cqf-large-d", "is",
          "On STL-10 two scales cost no quality: equal IS", data="stl10", note=SCALES, own_data_only=True),
    Claim("table3/stl10-scales-fid", "table3/cqf-2-scales", "equal", "table3/cqf-large-d", "fid",
          "On STL-10 two scales cost no quality: equal FID", data="stl10", note=SCALES, own_data_only=True),
    Claim("table3/stl10-sngan-hinge-is", "table3/sngan-hinge", "higher", "table3/cqf-large-d", "is",
          "On STL-10 SNGAN-Hinge beats CQ-F in IS", data="stl10", note=RIVAL, own_data_only=True),
    Claim("table3/stl10-sngan-hinge-fid", "table3/sngan-hinge", "lower", "table3/cqf-large-d", "fid",
          "On STL-10 SNGAN-Hinge beats CQ-F in FID", data="stl10", note=RIVAL, own_data_only=True),
    Claim("table3/stl10-batchgan-is", "table3/batchgan", "higher", "table3/cqf-large-d", "is",
          "On STL-10 BatchGAN beats CQ-F in IS", data="stl10", note=RIVAL, own_data_only=True),
    Claim("table3/stl10-batchgan-fid", "table3/batchgan", "lower", "table3/cqf-large-d", "fid",
          "On STL-10 BatchGAN beats CQ-F in FID", data="stl10", note=RIVAL, own_data_only=True),
    Claim("table3/stl10-sngan-resnet-hinge-fid", "table3/sngan-resnet-hinge", "lower", "table3/cqf-large-d", "fid",
          "On STL-10 SNGAN-ResNet-Hinge beats CQ-F in FID", data="stl10", note=RIVAL, own_data_only=True),
    Claim("decoders/pixelcnn-seconds", "extra/vae-pixelcnn", "higher", "table1/vae-f", "seconds",
          "A PixelCNN decoder samples more slowly than f", note=TOO_SLOW),
)  # fmt: skip
BY_ID = {claim.id: claim for claim in CLAIMS}


IS_MISLEADS = ("photodigits",)
"""Data sets on which the IS of real images rises when they are made noisy or blurred, or lose half their classes; no
claim in IS is tested there. This was decided by real images alone."""


def applies(claim: Claim, data: str, size: int = 16) -> bool:
    """Whether `claim` is tested on `data`. A claim with `own_data_only` is tested on its own data set alone, any other
    one on all but `replaced_on`, where another claim replaces it. Claims at the usual lambda of `data` are those of
    Table 1. IS is not tested where it misleads."""
    if claim.metric == "is" and data in IS_MISLEADS:
        return False
    _, changes = row_and_changes(claim.row_a)
    if claim.own_data_only:
        return data == claim.data
    return data != claim.replaced_on and changes.get(LAMBDA) != usual_lambda(data, size)
