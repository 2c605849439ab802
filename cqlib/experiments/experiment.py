"""One `Experiment` per row x profile x data set x seed: everything that determines a result, as plain data."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from cqlib import data as data_sets
from cqlib.data.sets import ENTRIES
from cqlib.experiments.changes import apply_changes
from cqlib.experiments.paper import canonical
from cqlib.experiments.record import Record, slug
from cqlib.experiments.rows import MAX_SEED, check_profile, check_row, default_data
from cqlib.experiments.trade_off import SIZES, usual_lambda
from cqlib.experiments.variants import Changes, as_options, variant
from cqlib.models.base import LikelihoodConfig
from cqlib.models.gan_baseline import GANBaselineConfig
from cqlib.models.registry import RECIPES
from cqlib.recipe import EVALUATION, Evaluation, Recipe
from cqlib.util.errors import UsageError, UserError, one_line
from cqlib.util.files import canonical_json, sha256

MILESTONES, MILESTONE_IMAGES = 7, 1000
"""Under `study` the rows of Table 1 are also measured at so many steps of their training, on so many images."""

TRAIN_IMAGES = {"smoke": 300}
"""Profile -> how many training images it uses, the first ones; other profiles use all."""


@dataclass(frozen=True)
class Experiment:
    """What is trained on what, and how it is measured. `row` is canonical: aliases share one run."""

    row: str
    profile: str
    data: str
    size: int
    seed: int
    recipe: Recipe
    """The row's recipe under the profile, with the changes."""
    evaluation: Evaluation
    changes: dict[str, Any] = field(default_factory=dict, hash=False)
    """Path in the recipe -> its value, as JSON has it, where it is not the row's own (`cqlib.experiments.changes`)."""

    @property
    def folder(self) -> str:
        """Name of the run's folder: "table1_cq-f--photos10--quick--0"."""
        return slug(self.row, self.data, self.profile, self.seed, self.changes)

    @property
    def variant(self) -> str:
        """The row with its changes: "table1/cq-f", "table1/cq-f system.quality_weight=25.0"."""
        return variant(self.row, self.changes)

    @property
    def title(self) -> str:
        """What users see of it: "table1/cq-f on photos10, seed 0"."""
        return f"{self.variant} on {self.data}, seed {self.seed}"

    @property
    def command(self) -> str:
        """The command that trains it."""
        where = f"--profile {self.profile} --data {shlex.quote(self.data)} --seed {self.seed}"
        return f"python -m cqlib train {self.row} {where}{as_options(self.changes)}"

    @property
    def config(self) -> dict[str, Any]:
        """The experiment as nested plain values, for the record, which has the changes beside them."""
        return {key: value for key, value in asdict(self).items() if key != "changes"}

    @property
    def config_hash(self) -> str:
        """16 hex digits, the same for equal experiments. Changes enter it through the recipe that they make."""
        return self._hash()

    @property
    def training_hash(self) -> str:
        """16 hex digits over what determines the weights, so that another evaluation needs no new training."""
        return self._hash("evaluation")

    def _hash(self, *without: str) -> str:
        config = {key: value for key, value in self.config.items() if key not in without}
        return sha256(canonical_json(config).encode())[:16]

    @property
    def cost(self) -> float:
        """Expected time relative to other rows of the profile, for planning: the longest run goes first."""
        system, training = self.recipe.system, self.recipe.training
        adversarial = isinstance(system, GANBaselineConfig) or getattr(system, "critic", None) is not None
        flow = getattr(system, "flow", None) is not None
        deep = 6.0 if isinstance(system, LikelihoodConfig) else 0.0  # as measured under `quick`
        generator = training.n_generator * (1.0 + 0.6 * flow * (1 + adversarial) + deep)
        return training.steps * (generator + 2.5 * adversarial * training.n_critic)


def experiment(
    row: str,
    profile: str = "quick",
    data: str | None = None,
    seed: int = 0,
    changes: Changes | None = None,
    trial: bool = True,
) -> Experiment:
    """The experiment for a row of the tables, with `changes` to its recipe; `trial`: whether to see
    that its nets can be built. UsageError where one of these is wrong."""
    check_row(row)
    check_profile(profile)
    if not isinstance(data, str | None):
        raise UsageError("data is the name of a data set; a model of cqlib.CQF(…) takes images themselves, with `fit`")
    data = data or default_data(row, profile)[0]
    size = image_size(data, profile)
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed <= MAX_SEED:
        raise UsageError(f"seed {seed!r} is not a whole number from 0 to {MAX_SEED}")
    changes = {} if changes is None else changes
    if not isinstance(changes, Mapping):
        raise UsageError(f"changes are a dictionary such as {{'training.steps': 3000}}, not {one_line(changes)}")
    row = canonical(row)
    recipe, evaluation = _for_data(RECIPES[row](row, profile, size), data, size), EVALUATION[profile]
    if isinstance(recipe.system, GANBaselineConfig):
        evaluation = replace(evaluation, baselines=True)
    if isinstance(recipe.system, LikelihoodConfig):
        evaluation = replace(evaluation, histogram=True)
    if profile == "study" and row.startswith("table1/"):
        recipe = replace(recipe, training=replace(recipe.training, snapshots=MILESTONES))
        evaluation = replace(evaluation, milestone_images=MILESTONE_IMAGES)
    recipe, applied = apply_changes(row, recipe, changes, trial)
    return Experiment(row, profile, data, size, seed, recipe, evaluation, applied)


def _for_data(recipe: Recipe, data: str, size: int) -> Recipe:
    """What the data set decides: whether images may be mirrored, and lambda, the weight of L_Q."""
    system, training, second = recipe.system, recipe.training, recipe.frozen_decoder
    if getattr(system, "critic", None) is not None and hasattr(system, "quality_weight"):
        system = replace(system, quality_weight=usual_lambda(data, size))
    if not data_sets.mirrored(data):
        training = replace(training, flips=False)
        second = second and replace(second, training=replace(second.training, flips=False))
    return replace(recipe, system=system, training=training, frozen_decoder=second)


def experiment_of(record: Record) -> Experiment:
    """The experiment that left a record, with today's recipe. UsageError for names that no longer exist."""
    return experiment(record.row, record.profile, record.data.name, record.seed, record.changes, trial=False)


def is_current(record: Record) -> bool:
    """Whether the record is of today's recipe of its row, measured as today."""
    try:
        return experiment_of(record).config_hash == record.config_hash
    except UserError:  # a row or data set that no longer exists
        return False


def image_size(data: str, profile: str) -> int:
    """The side length in pixels at which a profile takes a data set: `paper` takes published ones at the paper's size,
    or their own (Tiny ImageNet: 64)."""
    if profile == "paper" and data in ENTRIES:
        return ENTRIES[data].sizes[0]
    return min(data_sets.sizes(data), key=lambda size: abs(size - SIZES[profile]))
