"""Types of the values in records, for pydantic. Values of a wrong type are refused; only NumPy scalars, and int where
float is expected, are converted."""

import operator
from dataclasses import fields, is_dataclass, replace
from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, Field, Strict, ValidationError

from cqlib.util.errors import one_line

STRICT = ConfigDict(extra="forbid")
"""For pydantic dataclasses: an unknown field is an error."""

_LARGEST = 2.0**128  # above every float32: the mean of smaller numbers is finite in float64


def plain(value: Any) -> Any:
    """Numbers of NumPy, torch and others as Python's own, also within tuples, lists and configs; the rest as it is."""
    if isinstance(value, tuple | list):
        return type(value)(map(plain, value))
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{field.name: plain(getattr(value, field.name)) for field in fields(value)})
    if hasattr(value, "tolist"):
        return value.tolist()
    is_whole = hasattr(type(value), "__index__") and not isinstance(value, bool)
    return operator.index(value) if is_whole else value


_python_scalar = BeforeValidator(plain)

Text = Annotated[str, Strict(), Field(min_length=1)]
Flag = Annotated[bool, Strict()]
Count = Annotated[int, Strict(), Field(ge=0, lt=2**63), _python_scalar]
Number = Annotated[float, Strict(), Field(gt=-_LARGEST, lt=_LARGEST, allow_inf_nan=False), _python_scalar]
NonNegative = Annotated[Number, Field(ge=0)]


def first_error(error: ValidationError) -> str:
    """The first failure of a validation in one line: "metrics.BPD.value: Input should be a valid number"."""
    place = ".".join(map(str, error.errors(include_url=False, include_context=False, include_input=False)[0]["loc"]))
    return f"{place or 'record'}: {first_message(error)}"


def first_message(error: ValidationError) -> str:
    """What is wrong by the first failure of a validation: "Input should be a valid number"."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    message = "Unknown key" if first["type"] == "unexpected_keyword_argument" else first["msg"]
    return one_line(message.removeprefix("Value error, "))
