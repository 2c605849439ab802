"""The trade-off: L_C + lambda L_Q with lambda from 0, where coverage alone counts, to large values; without and with f.

At lambda = 0 CQ is the VAE of Table 1 and CQ-F its VAE-F, at the data set's usual lambda they are rows of it, too:
those runs are shared. At any other lambda they are named changes of the two, trained on the seeds of the tables.
Standard library only.
"""

from cqlib.experiments.variants import Changes, variant
from cqlib.recipe import NATURAL_LAMBDA

LAMBDA = "system.quality_weight"
"""The place of lambda in a recipe."""
CQ, CQ_F, GAN = "table1/cq", "table1/cq-f", "table1/gan"
WITHOUT_L_Q = {CQ: "table1/vae", CQ_F: "table1/vae-f"}
"""What each of the two is without a quality loss."""
LAMBDA_OF_DATA = {"photodigits": 400.0}
"""Data set -> lambda of CQ and CQ-F in its tables at 16x16, chosen on tuning seeds; any other has `NATURAL_LAMBDA`."""
SIZES = {"smoke": 16, "quick": 16, "study": 32, "paper": 32}
"""Profile -> the usual side length of its images. A data set that lacks it is taken at its nearest one; under `paper`,
published data sets are taken at the paper's."""
LAMBDAS = {"smoke": (100.0,), "quick": (25.0, 100.0, 400.0, 1600.0), "study": (100.0, 400.0, 1600.0),
           "paper": (100.0, 400.0, 1600.0)}  # fmt: skip
"""Profile -> the values of lambda beside 0 and the usual one, which may be among them."""
NOTEBOOK = "figure_trade_off"


def usual_lambda(data: str, size: int = 16) -> float:
    """lambda of CQ and CQ-F in the tables of a data set: of the same weight per dimension at every size."""
    return LAMBDA_OF_DATA.get(data, NATURAL_LAMBDA) * (size / 16) ** 2


def changed_rows(profile: str) -> list[tuple[str, Changes]]:
    """(row, its lambda) for each of CQ and CQ-F and each of `LAMBDAS`; none for an unknown profile. Where lambda is the
    usual one of the data set, this changes nothing, and the run is the row's own."""
    return [(row, {LAMBDA: weight}) for weight in LAMBDAS.get(profile, ()) for row in WITHOUT_L_Q]


def front(row: str, profile: str, data: str, size: int | None = None) -> dict[float, str]:
    """lambda, from 0 up -> the name that runs of `row` (CQ or CQ-F) on `data` with this lambda have
    (`variants.variant`); at `size` pixels, or the profile's usual one."""
    others = {changes[LAMBDA]: variant(name, changes) for name, changes in changed_rows(profile) if name == row}
    usual = usual_lambda(data, size or SIZES.get(profile, 16))
    return dict(sorted({0.0: WITHOUT_L_Q[row], **others, usual: row}.items()))


VARIANTS = {variant(row, changes) for profile in LAMBDAS for row, changes in changed_rows(profile)} | {
    *WITHOUT_L_Q, *WITHOUT_L_Q.values(),
}  # fmt: skip
"""The names of all points of the fronts."""
