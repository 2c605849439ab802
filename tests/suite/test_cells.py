"""What notebook cells show: numbers that read well, signed images, legends of panels."""

import pytest
import torch

from cqlib.suite import cells


@pytest.mark.parametrize(("value", "text"), [(-1234.567, "−1,234.57"), (-0.001, "0.00"), (0.5, "0.50")])
def test_numbers_have_a_real_minus_and_no_negative_zero(value, text):
    assert cells.number(value) == text


def test_a_mean_stands_with_its_standard_error():
    assert cells.mean_and_error(torch.tensor([-1.0, -2.0, -3.0, -4.0])) == "−2.500 ± 0.645"  # √(5 / 3) / 2
