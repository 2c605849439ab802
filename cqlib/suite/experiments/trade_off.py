"""The trade-off: CQ and CQ-F trained on L_C + lambda L_Q, from lambda = 0, the coverage loss alone, to large values.

At lambda = 0 the two are VAE and VAE-F of Table 1, and at the data set's usual lambda they are CQ and CQ-F of Table 1:
those runs are shared. At other values of lambda they are changed rows, trained on the seeds of the tables. Standard
library only.
"""

from cqlib.data import usual_lambda
from cqlib.suite.experiments.variants import Changes, variant

LAMBDA = "system.quality_weight"
"""The path of lambda in a recipe."""
CQ, CQ_F, GAN = "table1/cq", "table1/cq-f", "table1/gan"
WITHOUT_L_Q = {CQ: "table1/vae", CQ_F: "table1/vae-f"}
"""CQ and CQ-F -> the row that has the same nets and no quality loss."""
SIZES = {"smoke": 16, "quick": 16, "study": 32, "paper": 32}
"""Profile -> the usual side length of its images. A data set without this size is taken at its nearest one; `paper`
takes published data sets at the paper's sizes."""
LAMBDAS = {"smoke": (400.0,), "quick": (25.0, 100.0, 400.0, 1600.0), "study": (100.0, 400.0, 1600.0),
           "paper": (100.0, 400.0, 1600.0)}  # fmt: skip
"""Profile -> the values of lambda in addition to 0 and the usual one."""
NOTEBOOK = "figure_trade_off"


def changed_rows(profile: str) -> list[tuple[str, Changes]]:
    """(row, {LAMBDA: value}) for CQ and CQ-F and each of `LAMBDAS`; none for an unknown profile. The usual lambda of
    the data set changes nothing: that run is the row's own."""
    return [(row, {LAMBDA: weight}) for weight in LAMBDAS.get(profile, ()) for row in WITHOUT_L_Q]


def front(row: str, profile: str, data: str, size: int | None = None) -> dict[float, str]:
    """lambda, in increasing order from 0 -> the name (`variants.variant`) of runs of `row`, CQ or CQ-F, on `data` with
    this lambda; at `size` pixels, or the profile's usual size."""
    others = {changes[LAMBDA]: variant(name, changes) for name, changes in changed_rows(profile) if name == row}
    usual = usual_lambda(data, size or SIZES.get(profile, 16))
    return dict(sorted({0.0: WITHOUT_L_Q[row], **others, usual: row}.items()))


VARIANTS = {variant(row, changes) for profile in LAMBDAS for row, changes in changed_rows(profile)} | {
    *WITHOUT_L_Q, *WITHOUT_L_Q.values(),
}  # fmt: skip
"""The names of all runs of the trade-off."""
