"""Changes to a recipe from outside: `--set system.quality_weight=25`, or {"system.quality_weight": 25.0}. A path names
a field of the recipe's configs, and the type of the field says which values it takes."""

import ast
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import fields, is_dataclass, replace
from itertools import accumulate
from typing import Any, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError

from cqlib.recipe import Recipe
from cqlib.suite.experiments.variants import Changes
from cqlib.util.errors import UsageError, one_line, unknown_name
from cqlib.util.schema import first_message, plain

OF_THE_DATA = ("size", "image_channels")
"""Fields that follow from the images."""


def apply_changes(row: str, recipe: Recipe, changes: Changes) -> tuple[Recipe, dict[str, Any]]:
    """The recipe with `changes`; and those changes that differ from the recipe, sorted, with values as in JSON.

    Values have the type of the field, or are text ("25", "true", "32,64,128"). UsageError, one line that names `row`,
    for a path that does not exist or a value of another type.
    """
    result, applied = recipe, {}
    settings = dict(leaves(recipe))
    for path, value in sorted(changes.items(), key=str):
        if path not in settings:
            raise unknown_name(f"setting of {row}", one_line(path), settings)
        try:
            result, typed = with_value(result, path, value)
        except ValueError as error:
            raise UsageError(f"{row}: {error}") from error
        if typed != settings[path]:
            applied[path] = list(typed) if isinstance(typed, tuple) else typed
    stage = result.frozen_decoder
    if stage is not None and "training.precision" in applied and "frozen_decoder.training.precision" not in changes:
        encoder = replace(stage.training, precision=result.training.precision)  # no row is trained in two precisions
        result = replace(result, frozen_decoder=replace(stage, training=encoder))
    return result, applied


def leaves(config: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(path, value) of every field of nested configs that a user can set, in the order of the fields."""
    for field in fields(config):
        value = getattr(config, field.name)
        if is_dataclass(value):
            yield from leaves(value, f"{prefix}{field.name}.")
        elif field.name not in OF_THE_DATA:
            yield prefix + field.name, value


def with_value(config: Any, path: str, value: Any) -> tuple[Any, Any]:
    """`config` with the value at `path`, which it has; and that value in the type of its field. ValueError, one line,
    for a value that the field cannot have."""
    *parents, name = path.split(".")
    configs = [*accumulate(parents, getattr, initial=config)]
    try:
        typed = changed = _typed_value(get_type_hints(type(configs[-1]), include_extras=True)[name], value)
        for inside, field in zip(reversed(configs), [name, *reversed(parents)], strict=True):
            changed = replace(inside, **{field: changed})
    except ValueError as error:
        raise ValueError(f"'{path}' cannot be {one_line(repr(value))[:80]}: {error}") from error
    return changed, typed


def _typed_value(kind: Any, value: Any) -> Any:
    """`value`, or the value that it spells as text, in the type `kind`. ValueError, with the reason, if it has another
    type, is not finite, or is a whole number below 0."""
    candidates = [value := plain(value)]
    if isinstance(value, str):
        with suppress(ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            literals = {"true": "True", "false": "False", "null": "None", "none": "None"}
            literal = ast.literal_eval(literals.get(value.lower(), value))
            candidates = [literal, (literal,), value]  # the second is one number where a tuple is expected
    strict = ConfigDict(strict=True, allow_inf_nan=False)
    adapter = TypeAdapter(kind, config=None if is_dataclass(kind) else strict)  # pydantic takes none for a dataclass
    problem = ""
    for candidate in candidates:
        try:
            typed = adapter.validate_python(tuple(candidate) if isinstance(candidate, list) else candidate)
        except ValidationError as error:
            problem = problem or first_message(error)
            continue
        if any(isinstance(number, int) and number < 0 for number in (typed if isinstance(typed, tuple) else (typed,))):
            raise ValueError("whole numbers from 0 on are valid")
        return typed
    raise ValueError(problem)
