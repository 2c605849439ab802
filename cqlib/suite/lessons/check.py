"""A prediction beside what a lesson computes, and what may explain the difference."""

import math
from collections.abc import Mapping
from itertools import product
from typing import Any

FIRST = "Make a prediction first: write it into the cell of `predicted`, and run that cell and this one again."
SIGNS = {"": 1.0, "the sign": -1.0}
FACTORS = {
    "": 1.0,
    "a factor of ln 2 (predicted in nats, computed in bits?)": math.log(2),
    "a factor of ln 2 (predicted in bits, computed in nats?)": 1 / math.log(2),
    "a factor of 2 (too large)": 2.0,
    "a factor of 2 (too small)": 0.5,
}


def check(predicted: Any, computed: Any, *, tolerance: float = 0.05, dimensions: int | None = None) -> None:
    """Print the `diagnosis`; of a mapping, that of each of its names."""
    if not isinstance(computed, Mapping):
        print(diagnosis(predicted, computed, tolerance, dimensions))
    elif isinstance(predicted, Mapping) and any(value is not None for value in predicted.values()):
        for name, value in computed.items():
            print(f"{name}: {diagnosis(predicted.get(name), value, tolerance, dimensions)}")
    else:
        print(FIRST)


def diagnosis(predicted: Any, computed: Any, tolerance: float = 0.05, dimensions: int | None = None) -> str:
    """One sentence about two numbers (or tensors of one number), or about two words: right, off by something that is
    known, or not yet. Right is what differs by at most the share `tolerance` of `computed`. With `dimensions`, the
    number of values of an image, a number per image is told from one per dimension. Where two explanations fit, it is
    the one with fewer mistakes."""
    if predicted is None:
        return FIRST
    if isinstance(computed, str):
        same = str(predicted).strip().lower() == computed.lower()
        return f"{'Right' if same else 'Not yet'}: predicted {predicted}, computed {computed}."
    try:
        predicted, computed = float(predicted) + 0.0, float(computed) + 0.0  # 0.0, not -0.0
    except (TypeError, ValueError):
        return f"`predicted` should be a number here, and it is {predicted!r}."
    sizes = {"": 1.0}
    if dimensions:
        sizes["the number of dimensions (predicted per image, computed per dimension?)"] = float(dimensions)
        sizes["the number of dimensions (predicted per dimension, computed per image?)"] = 1 / dimensions
    both = f"predicted {predicted:.5g}, computed {computed:.5g}"
    for mistakes in product(sizes.items(), SIGNS.items(), FACTORS.items()):
        expected = computed * math.prod(factor for _, factor in mistakes)
        if abs(predicted - expected) <= max(tolerance * abs(expected), 1e-6):
            names = " and by ".join(name for name, _ in mistakes if name)
            right = f"Right, within {tolerance:.0%}" if tolerance else "Right"
            return f"{f'Off by {names}' if names else right}: {both}."
    return f"Not yet: {both}."
