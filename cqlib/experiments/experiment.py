"""One `Experiment` per row x profile x data set x seed: everything that determines a result, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass, replace
from typing import Any

from cqlib import data as registry
from cqlib.data.catalogue import ENTRIES
from cqlib.experiments import rows
from cqlib.experiments.paper import SAME_MODEL, TABLE1
from cqlib.experiments.record import slug
from cqlib.experiments.rows import ROWS, check_data, check_profile, check_row, default_data
from cqlib.models.gan_baseline import GANBaselineConfig
from cqlib.models.likelihood import LikelihoodConfig
from cqlib.models.registry import RECIPES
from cqlib.recipe import EVALUATION, PROFILES, Evaluation, Recipe, hashable_config
from cqlib.util.errors import UsageError, unknown
from cqlib.util.files import canonical_json, sha256

AVAILABLE = tuple(row for row in ROWS if SAME_MODEL.get(row, row) in RECIPES)
"""The rows that this version can train, aliases included."""

IMAGE_SIZE = {"smoke": 16, "quick": 16, "study": 32, "paper": 32}
"""Side length in pixels; a data set that has not this one comes at its nearest, under `paper` at the paper's."""


MILESTONES, MILESTONE_IMAGES = 7, 1000
"""Under `study` the rows of Table 1 are measured so often on the way, on so many images."""

TRAIN_IMAGES = {"smoke": 300}
"""Profiles that use the first images of the training split only."""


@dataclass(frozen=True)
class Experiment:
    """What is trained on what, and how it is measured. `row` is canonical: aliases share one run."""

    row: str
    profile: str
    data: str
    size: int
    seed: int
    recipe: Recipe
    evaluation: Evaluation

    @property
    def folder(self) -> str:
        """Name of the run's folder: "table1_cq-f--photos10--quick--0"."""
        return slug(self.row, self.data, self.profile, self.seed)

    def with_changes(self, changes: Mapping[str, Any]) -> Experiment:
        """This experiment with other values in its recipe, at dotted paths: {"system.quality_weight": 25.0}.

        ValueError for a path that does not exist, or a value that is there already.
        """
        recipe = self.recipe
        for path, value in changes.items():
            recipe = _changed(recipe, path, value)
        return replace(self, recipe=recipe)

    @property
    def config(self) -> dict[str, Any]:
        """The experiment as nested plain values, for the record."""
        return asdict(self)

    @property
    def config_hash(self) -> str:
        """16 hex digits: equal experiments, equal hashes."""
        return sha256(canonical_json(hashable_config(self)).encode())[:16]

    @property
    def training_hash(self) -> str:
        """16 hex digits over what determines the weights: measuring differently does not train again."""
        config = {key: value for key, value in hashable_config(self).items() if key != "evaluation"}
        return sha256(canonical_json(config).encode())[:16]

    @property
    def cost(self) -> float:
        """Expected time relative to other rows of the profile, for planning: the longest run goes first."""
        system, training = self.recipe.system, self.recipe.training
        adversarial = isinstance(system, GANBaselineConfig) or getattr(system, "critic", None) is not None
        flow = getattr(system, "flow", None) is not None
        rival = 6.0 if isinstance(system, LikelihoodConfig) else 0.0  # deep nets, as measured under `quick`
        generator = training.n_generator * (1.0 + 0.6 * flow * (1 + adversarial) + rival)
        return training.steps * (generator + 2.5 * adversarial * training.n_critic)


def _changed(config: Any, path: str, value: Any) -> Any:
    name, _, rest = path.partition(".")
    if not is_dataclass(config) or isinstance(config, type) or name not in {field.name for field in fields(config)}:
        raise ValueError(f"there is no '{path}' in {type(config).__name__}")
    if not rest and getattr(config, name) == value:
        raise ValueError(f"'{path}' is {value!r} already")
    return replace(config, **{name: _changed(getattr(config, name), rest, value) if rest else value})


def experiment(row: str, profile: str = "quick", data: str | None = None, seed: int = 0) -> Experiment:
    """The experiment for a row of the tables; UsageError for a name or a seed that is none."""
    check_row(row)
    check_profile(profile)
    data = data or default_data(row, profile)[0]
    check_data(data)
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**31:
        raise UsageError(f"seed {seed!r} is not a whole number from 0 to {2**31 - 1}")
    canonical = SAME_MODEL.get(row, row)
    if canonical not in RECIPES:
        raise unknown("trainable row", row, AVAILABLE)
    if data.startswith("toy2d"):
        raise UsageError(f"data set '{data}' holds points of the plane, and row '{row}' is a model of images")
    size = image_size(data, profile)
    recipe, evaluation = RECIPES[canonical](canonical, profile, size), EVALUATION[profile]
    if isinstance(recipe.system, GANBaselineConfig):
        evaluation = replace(evaluation, baselines=True)
    if isinstance(recipe.system, LikelihoodConfig):
        evaluation = replace(evaluation, histogram=True)
    if profile == "study" and canonical in {row.id for row in TABLE1.rows}:
        recipe = replace(recipe, training=replace(recipe.training, snapshots=MILESTONES))
        evaluation = replace(evaluation, milestone_images=MILESTONE_IMAGES)
    return Experiment(canonical, profile, data, size, seed, recipe, evaluation)


def image_size(data: str, profile: str) -> int:
    """The side length in pixels at which a profile takes a data set: `paper` takes published ones at the paper's size,
    or their own (Tiny ImageNet: 64)."""
    if profile == "paper" and data in ENTRIES:
        return ENTRIES[data].sizes[0]
    return min(registry.sizes(data), key=lambda size: abs(size - IMAGE_SIZE[profile]))


assert set(PROFILES) == set(rows.PROFILES) == set(EVALUATION)
