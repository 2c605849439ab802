"""Every system that can be trained, found in the modules of `cqlib.models`.

A module that can be trained names its `ROWS` of the tables, its `CONFIG` and `SYSTEM` classes, and
`recipe(row, profile, size) -> Recipe`: config and training of one of its rows in a profile, for images of `size` x
`size` pixels.
"""

from collections.abc import Callable
from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType
from typing import Any

import torch

from cqlib import models
from cqlib.models.base import System
from cqlib.recipe import Recipe


def _modules() -> list[ModuleType]:
    modules = [import_module(f"{models.__name__}.{module.name}") for module in iter_modules(models.__path__)]
    return [module for module in modules if hasattr(module, "ROWS")]


RECIPES: dict[str, Callable[[str, str, int], Recipe]] = {
    row: module.recipe for module in _modules() for row in module.ROWS
}
"""Row -> (row, profile, image side in pixels) -> its recipe."""

SYSTEMS: dict[type, Any] = {module.CONFIG: module.SYSTEM for module in _modules()}
"""Config -> the system that it builds."""


def build(config: object) -> System:
    """The untrained system of a config; its weights depend on torch's random state."""
    return SYSTEMS[type(config)](config)


def build_seeded(config: object, seed: int = 0) -> System:
    """`build` with weights from this seed, in evaluation mode; torch's random state stays as it is."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # not the GPUs', which are not restored
        return build(config).eval()


def parameter_counts(config: object) -> dict[str, int]:
    """`System.parameter_counts` of a config, without making any weights."""
    with torch.device("meta"):
        return build(config).parameter_counts()
