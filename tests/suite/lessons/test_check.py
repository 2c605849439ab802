"""`check`: each diagnosis on numbers whose relation is known, and which one is given where two would fit."""

import math

import pytest
import torch

from cqlib.suite.lessons.check import FIRST, check, diagnosis

LN2 = math.log(2)
KL = 0.5 * math.log(1 / 0.19)  # nats, of two values of correlation 0.9 taken for independent


def starts(predicted, computed, text, **options):
    return diagnosis(predicted, computed, **options).startswith(text)


def test_right_is_within_the_tolerance_and_not_beyond():
    assert starts(1.04 * KL, KL, "Right, within 5%") and starts(0.96 * KL, KL, "Right")
    assert starts(1.06 * KL, KL, "Not yet") and starts(0.94 * KL, KL, "Not yet")
    assert starts(-1.04, -1.0, "Right") and starts(-1.06, -1.0, "Not yet")
    assert starts(176, 176, "Right", tolerance=0) and starts(177, 176, "Not yet", tolerance=0)
    assert starts(0, 1e-9, "Right") and starts(0.1, 0.0, "Not yet") and starts(0, 1.0, "Not yet")


@pytest.mark.parametrize("computed", [KL, -3.0])
def test_one_mistake_is_named(computed):
    assert starts(computed * LN2, computed, "Off by a factor of ln 2 (predicted in nats, computed in bits?):")
    assert starts(computed / LN2, computed, "Off by a factor of ln 2 (predicted in bits, computed in nats?):")
    assert starts(-computed, computed, "Off by the sign:")
    assert starts(2 * computed, computed, "Off by a factor of 2 (too large):")
    assert starts(computed / 2, computed, "Off by a factor of 2 (too small):")
    assert starts(768 * computed, computed, "Not yet")
    per_image = "Off by the number of dimensions (predicted per image, computed per dimension?):"
    assert starts(768 * computed, computed, per_image, dimensions=768)
    per_dimension = "Off by the number of dimensions (predicted per dimension, computed per image?):"
    assert starts(computed / 768, computed, per_dimension, dimensions=768)


def test_of_two_explanations_the_one_with_fewer_mistakes_is_named():
    assert starts(2.0, 1.0, "Off by a factor of 2", dimensions=2)  # before the number of dimensions
    assert starts(2.0, 1.0, "Right", tolerance=1.0)  # before any mistake
    nats_of_image = diagnosis(-768 * LN2, 1.0, dimensions=768)
    assert all(word in nats_of_image for word in ("dimensions", "the sign", "ln 2"))


def test_words_tensors_and_what_is_no_prediction():
    assert starts(" Later", "later", "Right") and starts("earlier", "later", "Not yet")
    assert starts(torch.tensor(2.0), torch.tensor([2.0]), "Right")
    assert diagnosis(None, 1.0) == diagnosis(None, "later") == FIRST
    assert starts("much", 1.0, "`predicted` should be a number here") and starts([1, 2], 1.0, "`predicted` should")
    assert starts(math.nan, 1.0, "Not yet")


def test_of_several_quantities_each_has_its_line(capsys):
    computed = {"rises": "p", "loss": 2 * LN2}
    check({"rises": None, "loss": None}, computed)
    check(None, computed)
    assert capsys.readouterr().out.splitlines() == [FIRST] * 2
    check({"rises": None, "loss": LN2}, computed)
    first, second = capsys.readouterr().out.splitlines()
    assert first == f"rises: {FIRST}" and second.startswith("loss: Off by a factor of 2 (too small)")
