"""The trade-off: L_C + lambda L_Q with lambda from 0, where coverage alone counts, to large values; without and with f.

At lambda = 0 CQ is the VAE of Table 1 and CQ-F its VAE-F, at the usual lambda they are rows of it, too: those runs are
shared. At any other lambda they are named changes of the two, trained on the seeds of the tables and chosen before any
of them ran. Standard library only.
"""

from cqlib.experiments.variants import Changes, variant

LAMBDA, USUAL = "system.quality_weight", 100.0
"""The place of lambda in a recipe, and its value there in all profiles."""
WEIGHTS, OTHERS = {"photodigits": 400.0}, 25.0


def usual(data: str, size: int = 16) -> float:
    """lambda for images of `size` pixels: chosen at 16 x 16, and of the same weight per dimension at other sizes."""
    return WEIGHTS.get(data, OTHERS) * (size / 16) ** 2


CQ, CQ_F, GAN = "table1/cq", "table1/cq-f", "table1/gan"
NOTHING = {CQ: "table1/vae", CQ_F: "table1/vae-f"}
"""What each of the two is without a quality loss."""
TIMES_USUAL = {"smoke": (4,), "quick": (1 / 4, 4, 16), "study": (1 / 4, 4), "paper": (1 / 4, 4)}
"""Profile -> the factors by which the usual lambda is multiplied."""
NOTEBOOK = "figure_trade_off"


def changed_rows(profile: str) -> list[tuple[str, Changes]]:
    """(row, its change of lambda) for each of CQ and CQ-F and each factor of the profile; none for an unknown one."""
    return [(row, {LAMBDA: times * USUAL}) for times in TIMES_USUAL.get(profile, ()) for row in NOTHING]


def front(row: str, profile: str) -> dict[float, str]:
    """lambda, from 0 up -> the name that runs of `row` (CQ or CQ-F) with this lambda have (`variants.variant`)."""
    others = {changes[LAMBDA]: variant(name, changes) for name, changes in changed_rows(profile) if name == row}
    return dict(sorted({0.0: NOTHING[row], USUAL: row, **others}.items()))


VARIANTS = {name for profile in TIMES_USUAL for row in NOTHING for name in front(row, profile).values()}
"""The names of all points of the fronts."""
