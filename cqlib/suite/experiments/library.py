"""The models of Table 1 for images of your own - CQF, CQ, VAEF, VAE, GAN -, their measures and their files.

    model = cqlib.CQF(size=28, channels=1)
    model.fit(images, steps=4000)
    model.save("my-model")

They are the models of the rows, with nets and training as in profile `quick`. docs/library.md shows more.
"""

import warnings
from copy import deepcopy
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor
from tqdm.auto import tqdm

from cqlib.data import usual_lambda
from cqlib.data.dataset import tensors_sha256
from cqlib.models.base import System
from cqlib.models.cq import CoverageQuality, CoverageQualityConfig
from cqlib.models.gan import GAN as GenerativeAdversarialNet
from cqlib.models.registry import RECIPES, SYSTEMS
from cqlib.recipe import Recipe, TrainingConfig
from cqlib.suite.experiments.changes import with_value
from cqlib.suite.experiments.experiment import experiment_of
from cqlib.suite.experiments.fit_folder import CHECKPOINT, LOG, read_training, trained_weights, training_folder
from cqlib.suite.experiments.fit_watch import CALLBACK, Callback, Watch, read_history
from cqlib.suite.experiments.measures import held_out, training_images
from cqlib.suite.experiments.model_file import RECORD, WEIGHTS, load_weights, stored_training, write_model
from cqlib.suite.experiments.record import read_record
from cqlib.suite.experiments.variants import LATER_FIELDS
from cqlib.training.device import to_device
from cqlib.training.loop import train
from cqlib.util.checkpoint import CheckpointError, load_checkpoint
from cqlib.util.device import select_device
from cqlib.util.errors import Notice, StoppedEarly, UserError, unknown_name
from cqlib.util.schema import first_error, plain
from cqlib.util.stop import StopRequest

SIDES = range(8, 129, 4)
"""Sides in pixels of the images that the models take."""
OTHER_NAMES = {"lr": "learning_rate", "epochs": "steps", "bs": "batch_size", "lam": "quality_weight",
               "lmbda": "quality_weight", "lambda_": "quality_weight", "latent_dim": "latent",
               "bf16": "precision", "tf32": "precision", "amp": "precision"}  # fmt: skip
"""Settings by the names that they have elsewhere."""


class Table1Model(System):
    """What the five models share: one is made for a size of images, trained in one call, saved and loaded."""

    row: ClassVar[str]
    """The row of Table 1 whose model this is."""
    config: Any

    def __init__(self, size: int, channels: int = 3, **settings: Any) -> None:
        """An untrained model of images of `size` x `size` pixels, its weights from torch's random state.

        `size`: a multiple of 4 from 8 to 128. `channels`: 1 (grey) or 3. `settings`: other fields of the model's config
        (`CoverageQualityConfig` or `GANConfig`), such as `latent=128`, or `quality_weight`, which is lambda, by default
        `cqlib.data.usual_lambda` of natural images: 25 for (3, 16, 16), and as much for each value of other images.
        ValueError for another size or number of channels and for a value that a setting cannot have, TypeError for an
        unknown setting.
        """
        size, channels = plain(size), plain(channels)
        if type(size) is not int:
            raise ValueError(f"size is a whole number of pixels, not {size!r}")
        if size not in SIDES:
            near = min(SIDES, key=lambda side: abs(side - size))
            raise ValueError(f"size is a multiple of 4 from 8 to 128, not {size}: resize the images to {near}")
        if type(channels) is not int or channels not in (1, 3):
            raise ValueError(f"channels is 1 (grey) or 3 (colour), not {channels}")
        config = replace(self.recipe(size).system, image_channels=channels)
        if isinstance(config, CoverageQualityConfig):
            config = replace(config, quality_weight=usual_lambda(None, size, channels))
        super().__init__(changed(config, settings))
        self.history: list[dict[str, float]] = []

    @classmethod
    def recipe(cls, size: int) -> Recipe:
        """Nets and training for images of `size` x `size` pixels."""
        return RECIPES[cls.row](cls.row, "quick", size)

    def fit(
        self,
        images: Any,
        *,
        steps: int = 4000,
        seed: int = 0,
        device: torch.device | str | None = None,
        folder: Path | str | None = None,
        progress: bool = True,
        validation: Any = None,
        keep_best: bool = False,
        callback: Callback | None = None,
        **training: Any,
    ) -> Self:
        """Train on `images` of the model's `shape`, from its present weights on. Returns the model, now with averaged
        weights, in evaluation mode, on the device.

        `images`: as `uint8_images` takes them, or batches of such images, perhaps with labels, from a DataLoader or any
        iterable that can be begun again: then they need not fit into memory, and `batch_size` is still that of `fit`.

        `device`: "cpu", "cuda" or another; by default a CUDA GPU where there is one. `folder`: where state and losses
        are kept, so that the same call, of a model with the same weights or with those that `load` finds there, goes on
        where it was cut off; one that has ended there is not trained again, and one of more `steps` goes on while its
        learning rate is the same. On a CPU the result is that of an uncut call, bit for bit; a training on an iterable
        goes on at its step, with the iterable begun again. `progress`: whether to show a bar.

        `validation`: held-out images, whose bits per dimension by the averaged weights are measured up to 20 times;
        with `keep_best` the model has the weights with the fewest bits in the end. `callback(step, model, losses)` is
        called every `log_every` steps: `model` has the averaged weights and is in evaluation mode, `losses` are the
        means since the last call, in nats per image, and "bits" and "validation_bits" per dimension; random numbers
        that it draws do not change the training. `training`: fields of `TrainingConfig`, such as `batch_size=64`,
        `learning_rate=5e-4`, or `flips=True` where mirrored images are as good.

        Afterwards `model.history` lists the same losses, with "step", "seconds" and the number of "skipped" steps.
        Ctrl-C stops after the step at hand: a `Notice` says what is kept, and the model is returned with its averaged
        weights. So does KeyboardInterrupt from `callback`; whatever else that raises is raised when the weights are in
        place.

        ValueError for images that do not fit and for a value that a setting cannot have; TypeError for an unknown
        setting, and for `validation` of a model without a likelihood; UserError for a device that is not there, for a
        folder of another training, which is left as it is, for an iterable that fails or cannot be begun again, and
        for a training that diverges: in the last two cases the model has its last good weights. After any other error,
        or a second Ctrl-C, the model is as it was.
        """
        config = changed(self.recipe(self.config.size).training, {"steps": steps, "flips": False, **training})
        data, where, seed = training_images(images, self.shape, config.batch_size), select_device(device), plain(seed)
        of_validation = None if validation is None else held_out(self, validation, "validation images")[1]
        if type(seed) is not int or seed < 0:
            raise ValueError(f"seed is a whole number from 0 on, not {seed}")
        if keep_best and of_validation is None:
            raise ValueError("keep_best compares bits of held-out images: pass them as validation=images")
        of_model = {"class": type(self).__name__, "config": asdict(self.config)}
        of_images = tensors_sha256(data) if isinstance(data, Tensor) else "an iterable"
        of_training = {"training": asdict(config), "seed": seed, "images": of_images}
        bar = tqdm(total=config.steps, desc=type(self).__name__, disable=not progress)
        stop, stopped, diverged = StopRequest(), "", ""
        with (
            bar,
            training_folder(folder, of_model | of_training, self.state_dict()) as (place, key),
            stop.listening(second_interrupts=True),
        ):
            watch = Watch(bar, place, stop, validation=of_validation, keep_best=keep_best, callback=callback)
            try:  # a copy: what is cut off leaves this model as it was, so that the same call goes on
                result = train(deepcopy(self), data, config, seed=seed, folder=place, key=key, device=where, stop=stop,
                               watch=watch)  # fmt: skip
                diverged = "; ".join(result.notes) if result.status == "diverged" else ""
            except StoppedEarly as error:
                stopped = str(error)
            state = load_checkpoint(place / CHECKPOINT)
            weights = trained_weights(place, state)[0 if keep_best else -1]
            self.history = read_history(place / LOG, self.shape)
        to_device(self, config, where).load_state_dict(weights)
        self.eval()
        if diverged:
            raise UserError(f"{diverged}: a lower learning_rate may help")
        kept = f"the model has {'the best' if keep_best else 'its averaged'} weights up to step {state['step']:,}"
        kept += f", and the same call goes on in {folder}" if folder is not None else ""
        if isinstance(watch.error, Exception):
            watch.error.add_note(kept)
            raise watch.error
        if stopped and stop.requested not in ("SIGINT", CALLBACK):
            raise UserError(f"{stopped}; {kept}")
        if stopped:
            warnings.warn(Notice(f"stopped at step {state['step']:,} of {config.steps:,}: {kept}"), stacklevel=2)
        return self

    def save(self, folder: Path | str) -> Path:
        """Write the model to model.safetensors in `folder`, for `cqlib.load(folder)`; returns the file's path.
        ValueError where `folder` is that of a run or of `fit`, OSError where it cannot be written."""
        place = Path(folder).expanduser()
        if any((place / name).exists() for name in (CHECKPOINT, RECORD)):
            raise ValueError(f"{folder} is the folder of a training: save the model to another folder")
        return write_model(place / WEIGHTS, self)

    @classmethod
    def load(cls, folder: Path | str) -> Self:
        """The model of this class that `save`, `fit` or a run left in `folder`, on the CPU, in evaluation mode.
        UserError where there is none, or one of another class or with other nets."""
        state, file = read_model(folder)
        if state["model"] != cls.__name__:
            raise UserError(f"{file} is a {state['model']}, not a {cls.__name__}: call {state['model']}.load")
        return build_model(cls, state["config"], state["weights"], file)


def changed(config: Any, settings: dict[str, Any]) -> Any:
    """`config` with other values of some fields, typed as `--set` types them. TypeError, with the nearest valid name,
    for a field that it lacks; ValueError for a value that the field cannot have."""
    names = [field.name for field in fields(config)]
    for name, value in settings.items():
        if name not in names:
            raise TypeError(_unknown_setting(name, names))
        config, _ = with_value(config, name, value)
    return config


def _unknown_setting(name: str, names: list[str]) -> str:
    """What to write in the place of a setting that is not among `names`: also where it is known elsewhere by its name,
    or belongs to `fit` and not to the model, or the other way round."""
    meant = OTHER_NAMES.get(name, name)
    if meant in names:
        return f"unknown setting '{name}': did you mean '{meant}'?"
    for kind, place in ((TrainingConfig, "fit"), (CoverageQualityConfig, "the model, when it is made")):
        if meant in (field.name for field in fields(kind)):
            return f"unknown setting '{name}': '{meant}' is a setting of {place}"
    return str(unknown_name("setting", name, names))


class CQF(Table1Model, CoverageQuality):
    """CQ-F: encoder, decoder, an invertible f between features and image, and a critic; trained by L_C + lambda L_Q."""

    row = "table1/cq-f"


class CQ(Table1Model, CoverageQuality):
    """CQ: encoder, decoder and a critic; trained by L_C + lambda L_Q."""

    row = "table1/cq"


class VAEF(Table1Model, CoverageQuality):
    """VAE-F: encoder, decoder and an invertible f; trained by L_C, its likelihood."""

    row = "table1/vae-f"


class VAE(Table1Model, CoverageQuality):
    """VAE: encoder and decoder; trained by L_C, its likelihood."""

    row = "table1/vae"


class GAN(Table1Model, GenerativeAdversarialNet):
    """GAN: a generator, the decoder's mean, and a critic; trained by L_Q. It has no likelihood."""

    row = "table1/gan"


S = TypeVar("S", bound=System)
MODELS: dict[str, type[Table1Model]] = {model.__name__: model for model in (CQF, CQ, VAEF, VAE, GAN)}


CLASSES: dict[str, type[System]] = {system.__name__: system for system in SYSTEMS.values()} | MODELS
"""The class of each model that a file may hold, by its name there."""


def class_of(row: str, config: Any) -> type[System]:
    """The class of a row's models: one of `MODELS` for a row of Table 1, else the system of the config."""
    return {model.row: model for model in MODELS.values()}.get(row) or SYSTEMS[type(config)]


def untrained(kind: type[S], config: Any) -> S:
    """A model of a class with this config; its weights depend on torch's random state."""
    if not issubclass(kind, Table1Model):
        return kind(config)
    settings = dict(vars(config))
    return kind(settings.pop("size"), settings.pop("image_channels"), **settings)


def build_model(kind: type[S], config: Any, weights: dict[str, Tensor], file: Path) -> S:
    """The model of a class with the config and the weights that were read from `file`, on the CPU, in evaluation mode.
    UserError where they do not fit. torch's random state stays as it is."""
    own = next(config for base in kind.__mro__ for config, system in SYSTEMS.items() if system is base)
    if isinstance(config, dict) and config.get("flow"):  # one saved before f had this setting is as it was
        config["flow"] = LATER_FIELDS["flow"] | config["flow"]
    try:
        config = TypeAdapter(own).validate_python(config)
    except ValidationError as error:
        raise UserError(f"{file} is of another version of cqlib: {first_error(error)}") from error
    with torch.random.fork_rng(devices=[]):
        model = untrained(kind, config)
    load_weights(model, weights, file)
    return model.eval()


def read_model(folder: Path | str) -> tuple[dict[str, Any], Path]:
    """The model in the folder of a run, of `save` or of `fit`: the name of its class as "model", its "config" and
    "weights"; and the file that has them. UserError where there is none."""
    folder = Path(folder).expanduser()
    file = folder / WEIGHTS
    if not file.exists() and (folder / CHECKPOINT).exists():
        of_loop, training = read_training(folder)
        weights = trained_weights(folder, of_loop)[0]
        of_model = {"model": training["class"], "config": training["config"], "weights": weights}
        return of_model, folder / CHECKPOINT
    try:
        state = load_checkpoint(file)
    except (OSError, CheckpointError) as error:
        why = "cannot be read" if file.exists() else "does not exist"
        raise UserError(f"{file} {why}: a run, or model.save(folder), writes it") from error
    if {"model", "config", "weights"} <= state.keys():
        return state, file
    if not (folder / RECORD).exists():
        raise UserError(f"{file} was not written by model.save(folder)")
    e = experiment_of(read_record(folder / RECORD))
    if (stored := stored_training(file, e)) is None:
        raise UserError(f"{file} is not of today's recipe of {e.variant}: {e.command}")
    config = e.recipe.system
    return {"model": class_of(e.row, config).__name__, "config": config, "weights": stored["weights"]}, file


def load_folder(folder: Path | str) -> System:
    """The model in the folder of a run, of `save` or of `fit`, on the CPU, in evaluation mode. UserError where there is
    none, or one of your own class."""
    state, file = read_model(folder)
    if state["model"] not in CLASSES:
        raise UserError(f"{file} is of your class {state['model']}: call {state['model']}.load")
    return build_model(CLASSES[state["model"]], state["config"], state["weights"], file)
