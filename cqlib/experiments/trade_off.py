"""The trade-off: L_C + lambda L_Q with lambda from none, where coverage is all, to much of it, without f and with f.

At lambda = 0 CQ is the VAE of Table 1 and CQ-F its VAE-F, at the usual lambda they are rows of it, too: those runs are
shared. At any other lambda they are named changes of the two, trained on the seeds of the tables and chosen before any
of them ran. Standard library only.
"""

from cqlib.experiments.variants import Changes, variant

LAMBDA, USUAL = "system.quality_weight", 100.0
"""Its place in a recipe, and its value there, of all profiles."""
CQ, CQ_F, GAN = "table1/cq", "table1/cq-f", "table1/gan"
NOTHING = {CQ: "table1/vae", CQ_F: "table1/vae-f"}
"""What each of the two is without a quality loss."""
TIMES_USUAL = {"smoke": (4,), "quick": (1 / 4, 4, 16), "study": (1 / 4, 4), "paper": (1 / 4, 4)}
"""Profile -> by what the usual lambda is multiplied."""
NOTEBOOK = "figure_trade_off"


def changed_rows(profile: str) -> list[tuple[str, Changes]]:
    """The rows whose lambda is another than the usual one, with that change; none of an unknown profile."""
    return [(row, {LAMBDA: times * USUAL}) for times in TIMES_USUAL.get(profile, ()) for row in NOTHING]


def front(row: str, profile: str) -> dict[float, str]:
    """lambda, from 0 up -> CQ or CQ-F with it, by the name that its runs have (`variants.variant`)."""
    others = {changes[LAMBDA]: variant(name, changes) for name, changes in changed_rows(profile) if name == row}
    return dict(sorted({0.0: NOTHING[row], USUAL: row, **others}.items()))


VARIANTS = {name for profile in TIMES_USUAL for row in NOTHING for name in front(row, profile).values()}
"""All points of the fronts."""
