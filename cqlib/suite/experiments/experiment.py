"""One `Experiment` per row x profile x data set x seed: everything that determines a result, as plain data."""

from __future__ import annotations

import shlex
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import psutil

from cqlib import data as data_sets
from cqlib.data.sets import ENTRIES, entry_of
from cqlib.models.base import LikelihoodConfig
from cqlib.models.gan_baseline import GANBaselineConfig
from cqlib.models.improved_gan import ImprovedGANConfig
from cqlib.models.registry import RECIPES, parameter_counts
from cqlib.recipe import EVALUATION, Evaluation, Recipe
from cqlib.suite.experiments.changes import apply_changes
from cqlib.suite.experiments.paper import canonical
from cqlib.suite.experiments.record import Record, slug
from cqlib.suite.experiments.rows import MAX_SEED, check_profile, check_row, default_data
from cqlib.suite.experiments.trade_off import SIZES
from cqlib.suite.experiments.variants import Changes, as_hashed, as_options, in_words, variant
from cqlib.util.errors import UsageError, one_line
from cqlib.util.files import canonical_json, sha256
from cqlib.util.schema import plain
from cqlib.util.text import format_bytes

MILESTONES, MILESTONE_IMAGES = 7, 1000
"""Under `study` the rows of Table 1 are also measured at 7 steps of their training, on 1,000 images."""

BYTES_PER_PARAMETER = 20
"""In training: the weights, their average, the gradient and Adam's two moments, in fp32."""

TRAIN_IMAGES = {"smoke": 300}
"""Profile -> how many training images it uses; other profiles use all."""


@dataclass(frozen=True)
class Experiment:
    """A training and its evaluation. `row` is canonical, because aliases share one run."""

    row: str
    profile: str
    data: str
    size: int
    seed: int
    recipe: Recipe
    """The row's recipe under the profile, with the changes."""
    evaluation: Evaluation
    changes: dict[str, Any] = field(default_factory=dict, hash=False)
    """Path in the recipe -> its value in JSON, if that is not the row's own (`cqlib.suite.experiments.changes`)."""

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
        """Its name in messages: "table1/cq-f on photos10, seed 0"."""
        return f"{self.variant} on {self.data}, seed {self.seed}"

    @property
    def command(self) -> str:
        """The command that trains it."""
        where = f"--profile {self.profile} --data {shlex.quote(self.data)} --seed {self.seed}"
        return f"python -m cqlib train {self.row} {where}{as_options(self.changes)}"

    @property
    def config(self) -> dict[str, Any]:
        """The experiment as nested plain values, without the changes, which a record has beside them."""
        return {key: value for key, value in asdict(self).items() if key != "changes"}

    @property
    def config_hash(self) -> str:
        """16 hex digits, equal for equal experiments. Changes enter it through the recipe that they make."""
        return self._hash()

    @property
    def training_hash(self) -> str:
        """16 hex digits over what determines the weights: another evaluation needs no new training."""
        return self._hash("evaluation")

    def _hash(self, *without: str) -> str:
        config = {key: value for key, value in self.config.items() if key not in without}
        return sha256(canonical_json(as_hashed(config)).encode())[:16]

    @property
    def cost(self) -> float:
        """Expected training time relative to the other rows of the profile; the longest run is started first."""
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
) -> Experiment:
    """The experiment of a row of the tables, with `changes` to its recipe. UsageError for a wrong name or value."""
    check_row(row)
    check_profile(profile)
    if not isinstance(data, str | None):
        raise UsageError("data is the name of a data set; a model of cqlib.CQF(…) takes images themselves, with `fit`")
    data = data or default_data(row, profile)[0]
    size = image_size(data, profile)
    seed = plain(seed)
    if type(seed) is not int or not 0 <= seed <= MAX_SEED:
        raise UsageError(f"seed {seed!r} is not a whole number from 0 to {MAX_SEED}")
    row = canonical(row)
    recipe, evaluation = _for_data(RECIPES[row](row, profile, size), data, size), EVALUATION[profile]
    if isinstance(recipe.system, GANBaselineConfig):
        evaluation = replace(evaluation, baselines=True)
    if isinstance(recipe.system, LikelihoodConfig):
        evaluation = replace(evaluation, histogram=True)
    if profile == "study" and row.startswith("table1/"):
        recipe = replace(recipe, training=replace(recipe.training, snapshots=MILESTONES))
        evaluation = replace(evaluation, milestone_images=MILESTONE_IMAGES)
    recipe, applied = apply_changes(row, recipe, changes or {})
    return Experiment(row, profile, data, size, seed, recipe, evaluation, applied)


def net_sizes(e: Experiment) -> dict[str, int]:
    """The number of parameters of each net (`System.parameter_counts`); no weights are made. UsageError if nets with
    these changes cannot be built."""
    try:
        return parameter_counts(e.recipe.system)
    except Exception as error:  # a net may fail in any way on values that it was not made for
        why = one_line(error)[:120] or type(error).__name__
        raise UsageError(f"{e.row} cannot be built with {in_words(e.changes)}: {why}") from error


def check_nets(e: Experiment) -> None:
    """UsageError if nets with these changes cannot be built, or are too large to be trained on this machine."""
    counts = net_sizes(e)
    parameters = counts["total"] + counts.get("critic", 0)
    needed, memory = BYTES_PER_PARAMETER * parameters, psutil.virtual_memory().total
    if needed > memory:
        why = f"training {parameters:,} parameters takes {format_bytes(needed)}, and this machine has"
        raise UsageError(f"{e.variant}: {why} {format_bytes(memory)} of memory")


def _for_data(recipe: Recipe, data: str, size: int) -> Recipe:
    """The recipe with what depends on the data set: whether images are mirrored, lambda, the weight of L_Q, and the
    number of classes."""
    system, training, second = recipe.system, recipe.training, recipe.frozen_decoder
    if getattr(system, "critic", None) is not None and hasattr(system, "quality_weight"):
        system = replace(system, quality_weight=data_sets.usual_lambda(data, size))
    if isinstance(system, ImprovedGANConfig) and system.labels and (published := entry_of(data)):
        system = replace(system, classes=published.classes)
    if not data_sets.mirrored(data):
        training = replace(training, flips=False)
        second = second and replace(second, training=replace(second.training, flips=False))
    return replace(recipe, system=system, training=training, frozen_decoder=second)


def experiment_of(record: Record) -> Experiment:
    """The experiment of a record, by today's recipe. UsageError for names that no longer exist."""
    return experiment(record.row, record.profile, record.data.name, record.seed, record.changes)


def image_size(data: str, profile: str) -> int:
    """The side length in pixels of a data set in a profile. Published data sets have the paper's size under `paper`, or
    their own (Tiny ImageNet: 64)."""
    if profile == "paper" and data in ENTRIES:
        return ENTRIES[data].sizes[0]
    return min(data_sets.sizes(data), key=lambda size: abs(size - SIZES[profile]))
