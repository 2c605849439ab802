"""Changes to a recipe from outside: `--set system.quality_weight=25`, or {"system.quality_weight": 25.0}.

A path names a field of the recipe's configs; the field's type says which values it takes. What cannot be built or
trained is refused before anything is written, by one training step on random images.
"""

import ast
import functools
import math
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import torch
from pydantic import TypeAdapter, ValidationError

from cqlib.experiments.variants import Changes, in_words
from cqlib.models.base import LikelihoodSystem, System
from cqlib.models.frozen_decoder import FrozenDecoder
from cqlib.models.registry import build, parameter_counts
from cqlib.recipe import Recipe, TrainingConfig
from cqlib.training.loop import train
from cqlib.util.errors import UsageError, one_line, unknown_name

OF_THE_DATA = ("size", "image_channels")
"""Fields that follow from the images."""
MAX_PARAMETERS = 200_000_000
"""More than any recipe of the tables has."""
IMAGES = 4
"""Random images that a change is tried on."""


def apply_changes(row: str, recipe: Recipe, changes: Changes, trial: bool) -> tuple[Recipe, dict[str, Any]]:
    """The recipe with `changes`, and those of them that change something, sorted, with values as JSON has them.

    Values are of the field's type, or written as text ("25", "true", "32,64,128"). UsageError, one line that names
    `row`, for a path that does not exist, a value of another type, or, with `trial`, a recipe that cannot be trained.
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
        _try(row, in_words(applied), result)
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
    of_training = isinstance(config, TrainingConfig)
    typed = _typed(get_type_hints(type(config))[name], value, getattr(config, name), of_training)
    return replace(config, **{name: typed}), typed


def _typed(kind: Any, value: Any, own: Any, of_training: bool) -> Any:
    """`value`, or what it says as a text, as a value of type `kind`; `own` is the recipe's."""
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
                _check_range(number, own, of_training)
            return typed
    raise ValueError(f"{_values_of(kind)}, not {one_line(repr(value))[:80]}")


def _check_range(number: Any, own: Any, of_training: bool) -> None:
    """ValueError for numbers that are not finite, counts below 0, and counts that make a net too large for memory."""
    if isinstance(number, float) and not math.isfinite(number):
        raise ValueError(f"a finite number, not {number}")
    if isinstance(number, int) and not isinstance(number, bool):
        usual = max([value for value in (own if isinstance(own, tuple) else (own,)) if value is not None], default=0)
        limit = max(1000, 100 * usual) if of_training else max(64, 16 * usual)
        if not 0 <= number <= limit:
            raise ValueError(f"whole numbers from 0 to {limit}, not {one_line(number)[:80]}")


def _values_of(kind: Any) -> str:
    """The values of type `kind` in words: "a number", "mean or sample", "whole numbers such as 32,64"."""
    names = {int: "a whole number", float: "a number", bool: "true or false", type(None): "none"}
    if get_origin(kind) is Literal:
        return " or ".join(map(str, get_args(kind)))
    if get_origin(kind) is tuple:
        return "whole numbers such as 32,64" if int in get_args(kind) else "numbers such as 0.5,0.9"
    return names.get(kind) or " or ".join(filter(None, map(_values_of, get_args(kind))))


@functools.lru_cache(maxsize=64)
def _try(row: str, words: str, recipe: Recipe) -> None:
    """UsageError where the systems of a recipe cannot be built, trained, sampled and measured."""
    quiet = warnings.catch_warnings(action="ignore")
    with quiet, torch.random.fork_rng(devices=[]), tempfile.TemporaryDirectory() as folder:
        try:
            if (parameters := sum(parameter_counts(recipe.system).values())) > MAX_PARAMETERS:
                raise ValueError(f"{parameters:,} parameters are too many")
            torch.manual_seed(0)
            system = build(recipe.system)
            _step(system, recipe.training, Path(folder))
            if (stage := recipe.frozen_decoder) is not None:
                _step(FrozenDecoder(stage.config, system), stage.training, Path(folder))
        except Exception as error:  # whatever a net says of values that it was not made for
            why = one_line(error)[:120] or type(error).__name__
            raise UsageError(f"{row} cannot be trained with {words}: {why}") from error


def _step(system: System, training: TrainingConfig, folder: Path) -> None:
    """Take one training step, draw samples and, if the system has a likelihood, compute nats. ValueError if the step or
    the nats are not finite."""
    images = torch.randint(256, (IMAGES, *system.shape), dtype=torch.uint8)
    config = replace(training, steps=min(training.steps, 1), batch_size=min(training.batch_size, IMAGES), compile=False)
    labels = torch.zeros(IMAGES, dtype=torch.int64) if system.uses_labels else None
    result = train(system, images, config, seed=0, folder=folder, labels=labels, name=type(system).__name__)
    result.system.sample(IMAGES)
    nats = result.system.nats(images[:1]) if isinstance(result.system, LikelihoodSystem) else torch.zeros(1)
    if result.status != "done" or result.skipped or not nats.isfinite().all():
        raise ValueError("its first step is not finite")
