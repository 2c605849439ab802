"""Checks of values read from JSON: each returns the value in plain form or raises ValueError."""

from __future__ import annotations

import datetime
import json
import math
import numbers
from typing import Any

from cqlib.util.files import canonical_json

LARGEST = 2.0**128
"""What no float32 reaches: the mean of numbers below it is finite in float64."""


def short(value: Any) -> str:
    """`value` for a message; a huge one by its beginning."""
    text = repr(value) if not isinstance(value, int) or abs(value) < 2**200 else "a huge number"
    return text if len(text) <= 80 else f"{text[:80]}…"


def put(instance: Any, name: str, value: Any) -> None:
    """Set a field of a frozen dataclass while it is made: its normalisation, nothing else."""
    object.__setattr__(instance, name, value)


def keys(values: Any, where: str, required: tuple[str, ...], optional: tuple[str, ...] = ()) -> dict[str, Any]:
    """`values` is an object with all of `required`, perhaps some of `optional`, and nothing else."""
    if not isinstance(values, dict):
        raise ValueError(f"{where} must be a JSON object")
    missing = [key for key in required if key not in values]
    if missing:
        raise ValueError(f"{where} lacks the key {missing[0]!r}")
    surplus = [key for key in values if key not in required + optional]
    if surplus:
        raise ValueError(f"{where} has an unknown key {surplus[0]!r}")
    return values


def table(value: Any, name: str) -> dict[str, Any]:
    """An object whose keys are texts that are not empty."""
    if not isinstance(value, dict) or not all(isinstance(key, str) and key for key in value):
        raise ValueError(f"'{name}' must be an object with texts as keys")
    return value


def text(value: Any, name: str) -> str:
    """A text that is not empty."""
    if not isinstance(value, str) or not value:
        raise ValueError(f"'{name}' must be a text, not {short(value)}")
    return value


def whole(value: Any, name: str) -> int:
    """A whole number of at least 0 that 64 bits hold; a bool is none."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or not 0 <= value < 2**63:
        raise ValueError(f"'{name}' must be a whole number of at least 0, not {short(value)}")
    return int(value)


def real(value: Any, name: str, low: float = -math.inf) -> float:
    """A finite number of at least `low`, no larger than float32 knows any; a bool is none."""
    bound = "" if low == -math.inf else f" of at least {low:g}"
    try:
        number = float(value) if isinstance(value, numbers.Real) and not isinstance(value, bool) else math.nan
    except OverflowError:
        number = math.inf
    if not abs(number) < LARGEST or number < low:
        raise ValueError(f"'{name}' must be a finite number{bound}, not {short(value)}")
    return number


def utc(value: Any, name: str) -> str:
    """A time as ISO 8601 in UTC."""
    try:
        offset = datetime.datetime.fromisoformat(text(value, name)).utcoffset()
    except ValueError:
        offset = None
    if offset != datetime.timedelta(0):
        raise ValueError(f"'{name}' must be a time in UTC such as 2025-01-31T12:00:00+00:00, not {short(value)}")
    return value


def plain(value: Any, name: str) -> Any:
    """`value` as JSON gives it back: tuples become lists; anything that is not JSON is refused."""
    try:
        back = json.loads(canonical_json(value), object_pairs_hook=unique)
    except (TypeError, ValueError, RecursionError):
        raise ValueError(f"'{name}' must be plain JSON with finite numbers") from None
    return back


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """For `object_pairs_hook` of json: an object in which no key stands twice."""
    values = dict(pairs)
    if len(values) < len(pairs):
        raise ValueError("a key stands twice in one object")
    return values


def no_constant(name: str) -> None:
    """For `parse_constant` of json: NaN and Infinity are no numbers of strict JSON."""
    raise ValueError(f"{name} is not a number that a record may hold")
