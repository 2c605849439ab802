"""Changes to a recipe from outside: `--set system.quality_weight=25`, or {"system.quality_weight": 25.0}.

A path names a field of the recipe's configs; the field's type says which values it takes. Nets that cannot be built
are refused before anything is written.
"""

import ast
import math
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import fields, is_dataclass, replace
from typing import Any, Literal, get_args, get_origin, get_type_hints

from pydantic import TypeAdapter, ValidationError

from cqlib.experiments.variants import Changes, in_words
from cqlib.models.registry import parameter_counts
from cqlib.recipe import Recipe, TrainingConfig
from cqlib.util.errors import UsageError, one_line, unknown_name

OF_THE_DATA = ("size", "image_channels")
"""Fields that follow from the images."""
MAX_COUNT, MAX_SIZE = 100_000_000, 4096
"""The largest whole numbers that settings of a training, and of a system, take."""
MAX_PARAMETERS = 200_000_000
"""More than any recipe of the tables has."""


def apply_changes(row: str, recipe: Recipe, changes: Changes, trial: bool) -> tuple[Recipe, dict[str, Any]]:
    """The recipe with `changes`, and those of them that change something, sorted, with values as JSON has them.

    Values are of the field's type, or written as text ("25", "true", "32,64,128"). UsageError, one line that names
    `row`, for a path that does not exist, a value of another type, or, with `trial`, nets that cannot be built.
    """
    result, applied = recipe, {}
    settings = dict(leaves(recipe))
    for path, value in sorted(changes.items(), key=str):
        if path not in settings:
            raise unknown_name(f"setting of {row}", one_line(path), settings)
        try:
            result, typed = _with(result, path, value)
        except ValueError as error:
            raise UsageError(f"{row}: '{path}' takes {error}") from error
        if typed != settings[path]:
            applied[path] = list(typed) if isinstance(typed, tuple) else typed
    stage = result.frozen_decoder
    if stage is not None and "training.bf16" in applied and "frozen_decoder.training.bf16" not in changes:
        encoder = replace(stage.training, bf16=result.training.bf16)  # no row is trained in two precisions
        result = replace(result, frozen_decoder=replace(stage, training=encoder))
    if applied and trial:
        _check_nets(row, in_words(applied), result)
    return result, applied


def leaves(config: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(path, value) of every field of nested configs that a user can set, in their order."""
    for field in fields(config):
        value = getattr(config, field.name)
        if is_dataclass(value):
            yield from leaves(value, f"{prefix}{field.name}.")
        elif field.name not in OF_THE_DATA:
            yield prefix + field.name, value


def _with(config: Any, path: str, value: Any) -> tuple[Any, Any]:
    """`config` with the value at `path`; and that value, typed. ValueError: "a number, not 'x'"."""
    name, _, rest = path.partition(".")
    if rest:
        inner, typed = _with(getattr(config, name), rest, value)
        return replace(config, **{name: inner}), typed
    limit = MAX_COUNT if isinstance(config, TrainingConfig) else MAX_SIZE
    typed = _typed(get_type_hints(type(config))[name], value, limit)
    return replace(config, **{name: typed}), typed


def _typed(kind: Any, value: Any, limit: int) -> Any:
    """`value`, or what it says as a text, as a value of type `kind`; whole numbers are `limit` at most."""
    candidates = [value]
    if isinstance(value, str):
        with suppress(ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            literals = {"true": "True", "false": "False", "null": "None", "none": "None"}
            candidates.append(ast.literal_eval(literals.get(value.lower(), value)))
            candidates.append((candidates[-1],))  # one number where a tuple is expected
    for candidate in candidates:
        with suppress(ValidationError, RecursionError):
            candidate = tuple(candidate) if isinstance(candidate, list) else candidate
            typed = TypeAdapter(kind).validate_python(candidate, strict=True)
            for number in typed if isinstance(typed, tuple) else (typed,):
                _check_range(number, limit)
            return typed
    raise ValueError(f"{_values_of(kind)}, not {one_line(repr(value))[:80]}")


def _check_range(number: Any, limit: int) -> None:
    """ValueError for numbers that are not finite, and for whole numbers below 0 or above `limit`."""
    if isinstance(number, float) and not math.isfinite(number):
        raise ValueError(f"a finite number, not {number}")
    if isinstance(number, int) and not 0 <= number <= limit:
        raise ValueError(f"whole numbers from 0 to {limit:,}, not {one_line(number)[:80]}")


def _values_of(kind: Any) -> str:
    """The values of type `kind` in words: "a number", "mean or sample", "whole numbers such as 32,64"."""
    names = {int: "a whole number", float: "a number", bool: "true or false", type(None): "none"}
    if get_origin(kind) is Literal:
        return " or ".join(map(str, get_args(kind)))
    if get_origin(kind) is tuple:
        return "whole numbers such as 32,64" if int in get_args(kind) else "numbers such as 0.5,0.9"
    return names.get(kind) or " or ".join(filter(None, map(_values_of, get_args(kind))))


def _check_nets(row: str, words: str, recipe: Recipe) -> None:
    """UsageError where the nets of a recipe cannot be built, or would be too large for memory; no weights are made."""
    try:
        parameters = sum(parameter_counts(recipe.system).values())
    except Exception as error:  # whatever a net says of values that it was not made for
        why = one_line(error)[:120] or type(error).__name__
        raise UsageError(f"{row} cannot be built with {words}: {why}") from error
    if parameters > MAX_PARAMETERS:
        raise UsageError(f"{row} cannot be built with {words}: {parameters:,} parameters are too many")
