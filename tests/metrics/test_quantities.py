"""What is measured: each score has a function, a name of its own on both kinds of features, and a way to be printed."""

import pytest

from cqlib.metrics import fidelity
from cqlib.metrics.quantities import FEATURES, QUANTITIES, SCORES, decimal, real_name


def test_every_score_is_computed_and_named_once():
    assert list(fidelity.COMPUTED_BY) == [quantity.id for quantity in SCORES]
    names = [name for quantity in SCORES for name in (quantity.name, quantity.lite0)]
    assert len(set(names)) == len(names) and all(names)
    lite0 = ("IS-lite0", "FD-lite0", "KD-lite0", "Coverage-lite0")
    assert FEATURES == {"inception": ("IS", "FID", "KID", "Coverage"), "lite0": lite0}
    assert QUANTITIES["fid"].names == ("FID", "FD-lite0") and QUANTITIES["bpd"].names == ("BPD",)
    assert {id: quantity.arrow for id, quantity in QUANTITIES.items() if quantity.better == "higher"} == dict.fromkeys(
        ("is", "coverage"), "↑"
    )


@pytest.mark.parametrize(
    "name, of_real",
    [("FD-lite0", "FD-lite0-floor"), ("KID [sngan]", "KID-floor"), ("IS", "IS-real"),
     ("Coverage-lite0", "Coverage-lite0-real"), ("BPD", ""), ("BPD-IW", "")],
)  # fmt: skip
def test_names_of_scores_of_real_images(name, of_real):
    assert real_name(name) == of_real


@pytest.mark.parametrize("value, text", [(-0.00001, "0.0000"), (-1.5, "−1.50"), (1994.0, "1,994"), (0.0, "0.0000"),
                                         (float("inf"), "∞")])  # fmt: skip
def test_a_number_has_the_sign_of_what_is_printed(value, text):
    assert decimal("KD-lite0", value) == text
