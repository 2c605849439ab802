"""The models of Table 1 for images of your own - CQF, CQ, VAEF, VAE, GAN -, their measures and their files.

    model = cqlib.CQF(size=28, channels=1)
    model.fit(images, steps=4000)
    model.save("my-model")

They are the models of the rows, with nets and training as in profile `quick`. docs/library.md shows more.
"""

import tempfile
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor
from tqdm.auto import tqdm

from cqlib.data import NATURAL_LAMBDA
from cqlib.data.dataset import tensors_sha256
from cqlib.metrics import bpd, fidelity
from cqlib.metrics.features import extract, features_for
from cqlib.metrics.protocols import Preset
from cqlib.models.base import LikelihoodSystem, System
from cqlib.models.cq import CoverageQuality, CoverageQualityConfig
from cqlib.models.gan import GAN as GenerativeAdversarialNet
from cqlib.models.registry import RECIPES
from cqlib.pixels import to_uint8
from cqlib.recipe import EVALUATION, Recipe
from cqlib.suite.experiments.changes import with_value
from cqlib.suite.experiments.variants import LATER_FIELDS
from cqlib.training.loop import train
from cqlib.util.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from cqlib.util.device import select_device
from cqlib.util.errors import UserError, unknown_name
from cqlib.util.files import canonical_json
from cqlib.util.schema import first_error

SIDES = range(8, 129, 4)
"""Sides in pixels of the images that the models take."""
RECORD, WEIGHTS = "record.json", "model.safetensors"
"""Files in the folder of a run; a saved model has the second alone."""


class OwnModel(System):
    """What the five models share: one is made for a size of images, trained in one call, saved and loaded."""

    row: ClassVar[str]
    """The row of Table 1 whose model this is."""
    config: Any

    def __init__(self, size: int, channels: int = 3, **settings: Any) -> None:
        """An untrained model of images of `size` x `size` pixels, its weights from torch's random state.

        `size`: a multiple of 4 from 8 to 128. `channels`: 1 (grey) or 3. `settings`: other fields of the model's config
        (`CoverageQualityConfig` or `GANConfig`), such as `latent=128`, or `quality_weight`, which is lambda, by default
        25 for (3, 16, 16) and as much for each value of other images; photodigits have 100 in its place.
        ValueError for another size or number of channels and for a value that a setting cannot have, TypeError for an
        unknown setting.
        """
        if size not in SIDES:
            near = min(SIDES, key=lambda side: abs(side - size))
            raise ValueError(f"size is a multiple of 4 from 8 to 128, not {size}: resize the images to {near}")
        if channels not in (1, 3):
            raise ValueError(f"channels is 1 (grey) or 3 (colour), not {channels}")
        config = replace(self.recipe(size).system, image_channels=channels)
        if isinstance(config, CoverageQualityConfig):
            config = replace(config, quality_weight=NATURAL_LAMBDA * channels * size**2 / (3 * 16**2))
        super().__init__(changed(config, settings))

    @classmethod
    def recipe(cls, size: int) -> Recipe:
        """Nets and training for images of `size` x `size` pixels."""
        return RECIPES[cls.row](cls.row, "quick", size)

    @classmethod
    def of_config(cls, config: Any) -> Self:
        """An untrained model with this config; torch's random state stays as it is."""
        settings = {field.name: getattr(config, field.name) for field in fields(config)}
        with torch.random.fork_rng(devices=[]):
            return cls(settings.pop("size"), settings.pop("image_channels"), **settings)

    def fit(
        self,
        images: Any,
        *,
        steps: int = 4000,
        seed: int = 0,
        device: torch.device | str | None = None,
        folder: Path | str | None = None,
        progress: bool = True,
        **training: Any,
    ) -> Self:
        """Train on `images` (see `uint8_images`) of the model's `shape`, from its present weights on. Returns the
        model, now with averaged weights, in evaluation mode, on the device.

        `device`: "cpu", "cuda" or another; by default a CUDA GPU where there is one. `folder`: where state and losses
        are kept, so that the same call goes on where it was cut off; one that has ended there is not trained again.
        `progress`: whether to show a bar. `training`: fields of `TrainingConfig`, such as `batch_size=64`,
        `learning_rate=5e-4`, or `flips=True` where mirrored images are as good. ValueError for images that do not fit
        and for a value that a setting cannot have; TypeError for an unknown setting; UserError for a device that is not
        there and for a training that diverges, after which the model has its last good weights.
        """
        data = uint8_images(images, self.shape)
        config = changed(self.recipe(self.config.size).training, {"steps": steps, "flips": False, **training})
        if not isinstance(seed, int) or seed < 0:
            raise ValueError(f"seed is a whole number from 0 on, not {seed}")
        key = f"{canonical_json([asdict(self.config), asdict(config), seed])} {tensors_sha256(data)}"
        bar = tqdm(total=steps, desc=type(self).__name__, disable=not progress)

        def show(step: int, _steps: int, _seconds_left: float) -> None:
            bar.update(step - bar.n)

        with bar, tempfile.TemporaryDirectory() as temporary:
            result = train(
                self,
                data,
                config,
                seed=seed,
                folder=Path(folder or temporary).expanduser(),
                key=key,
                device=select_device(device),
                progress=show,
            )
        self.load_state_dict(result.system.state_dict())
        self.eval()
        if result.status == "diverged":
            raise UserError(f"{'; '.join(result.notes)}: a lower learning_rate may help")
        return self

    def save(self, folder: Path | str) -> Path:
        """Write the model to model.safetensors in `folder`, for `cqlib.load(folder)`; returns the file's path.
        ValueError where `folder` is that of a run, OSError where it cannot be written."""
        file = Path(folder).expanduser() / WEIGHTS
        if file.with_name(RECORD).exists():
            raise ValueError(f"{folder} is a run with its record: save the model to another folder")
        weights = dict(self.state_dict())
        save_checkpoint(file, {"model": type(self).__name__, "config": asdict(self.config), "weights": weights})
        return file

    @classmethod
    def load(cls, folder: Path | str) -> Self:
        """A model of this class that `save` wrote to `folder`, on the CPU, in evaluation mode. UserError where there is
        none, or one of another class or with other nets."""
        state, file = saved_model(folder)
        if state["model"] != cls.__name__:
            raise UserError(f"{file} is a {state['model']}, not a {cls.__name__}: call {state['model']}.load")
        config = state["config"]
        if config.get("flow"):  # one saved before f had this setting is as it was
            config["flow"] = LATER_FIELDS["flow"] | config["flow"]
        try:
            model = cls.of_config(TypeAdapter(type(cls.recipe(16).system)).validate_python(config))
            model.load_state_dict(state["weights"])
        except ValidationError as error:
            raise UserError(f"{file} is of another version of cqlib: {first_error(error)}") from error
        except RuntimeError as error:
            nets = f"{file} has nets of your own"
            raise UserError(f"{nets}: make them in a subclass of {cls.__name__}, and call its load") from error
        return model.eval()


def changed(config: Any, settings: dict[str, Any]) -> Any:
    """`config` with other values of some fields, typed as `--set` types them. TypeError, with the nearest valid name,
    for a field that it lacks; ValueError for a value that the field cannot have."""
    names = [field.name for field in fields(config)]
    for name, value in settings.items():
        if name not in names:
            raise TypeError(str(unknown_name("setting", name, names)))
        config, _ = with_value(config, name, value)
    return config


class CQF(OwnModel, CoverageQuality):
    """CQ-F: encoder, decoder, an invertible f between features and image, and a critic; trained by L_C + lambda L_Q."""

    row = "table1/cq-f"


class CQ(OwnModel, CoverageQuality):
    """CQ: encoder, decoder and a critic; trained by L_C + lambda L_Q."""

    row = "table1/cq"


class VAEF(OwnModel, CoverageQuality):
    """VAE-F: encoder, decoder and an invertible f; trained by L_C, its likelihood."""

    row = "table1/vae-f"


class VAE(OwnModel, CoverageQuality):
    """VAE: encoder and decoder; trained by L_C, its likelihood."""

    row = "table1/vae"


class GAN(OwnModel, GenerativeAdversarialNet):
    """GAN: a generator, the decoder's mean, and a critic; trained by L_Q. It has no likelihood."""

    row = "table1/gan"


MODELS: dict[str, type[OwnModel]] = {model.__name__: model for model in (CQF, CQ, VAEF, VAE, GAN)}


def saved_model(folder: Path | str) -> tuple[dict[str, Any], Path]:
    """What `OwnModel.save` wrote to a folder ("model", "config" and "weights"), and the file. UserError where it wrote
    none there."""
    file = Path(folder).expanduser() / WEIGHTS
    try:
        state = load_checkpoint(file)
    except (OSError, CheckpointError) as error:
        why = "cannot be read" if file.exists() else "does not exist"
        raise UserError(f"{file} {why}: model.save(folder) writes it") from error
    if not {"model", "config", "weights"} <= state.keys():
        raise UserError(f"{file} was not written by model.save(folder)")
    return state, file


def load_saved(folder: Path | str) -> OwnModel:
    """The model that `OwnModel.save` wrote to `folder`. UserError where there is none, or one of your own class."""
    state, file = saved_model(folder)
    if state["model"] not in MODELS:
        raise UserError(f"{file} is of your class {state['model']}: call {state['model']}.load")
    return MODELS[state["model"]].load(folder)


def as_own_model(system: System, row: str) -> System:
    """The system of a row of Table 1 as one of `MODELS`, which can be trained further and saved; others as they are."""
    for model in MODELS.values():
        if model.row == row:
            own = model.of_config(system.config)
            own.load_state_dict(system.state_dict())
            return own.train(system.training)
    return system


def scores(
    samples: Any,
    images: Any,
    *,
    side: int | None = None,
    feature_weights: Path | str | None = None,
    device: torch.device | str | None = None,
) -> dict[str, float]:
    """IS and coverage (higher is better), Fréchet and kernel distance (lower is better) of `samples` to held-out
    `images`: {"FD-lite0": 612.3, …}. Both are as `uint8_images` takes them, at least 6 of one shape.

    Features are EfficientNet-lite0's, of images resized to `side` pixels (default: 96 up to 16 pixels, else 224), or,
    with torch-fidelity's file of Inception weights as `feature_weights`, Inception's ("FID"). Scores compare only at
    the same numbers of images and the same side. ValueError for images that do not fit.
    """
    fake, real = uint8_images(samples), uint8_images(images)
    if fake.shape[1:] != real.shape[1:]:
        raise ValueError(f"samples {_shape(fake)} and images {_shape(real)} differ in shape: resize the images")
    side = side or EVALUATION["quick" if real.shape[-1] <= 16 else "study"].side
    features = features_for(feature_weights, None, profile="quick", side=side)
    layers, where = (features.pooled, features.logits), select_device(device)
    of_fake = extract(fake.expand(-1, 3, -1, -1), features, *layers, device=where)
    of_real = extract(real.expand(-1, 3, -1, -1), features, features.pooled, device=where)[features.pooled]
    preset = Preset("", "test", len(real), len(fake), len(fake))
    metrics = fidelity.score(of_fake, of_real, preset, features=features)
    return {name: metric.number for name, metric in metrics.items()}


def bits_per_dimension(model: System, images: Any, *, importance_samples: int = 1) -> float:
    """Bits per dimension of held-out `images` (see `uint8_images`); lower is better. An upper bound, tighter with more
    `importance_samples`. ValueError for images that do not fit, TypeError for a model without a likelihood."""
    if not isinstance(model, LikelihoodSystem):
        raise TypeError(f"a {type(model).__name__} has no likelihood, and so no bits per dimension")
    data = uint8_images(images, model.shape)
    nats = bpd.held_out_nll(model, data, importance_samples=importance_samples)
    return float(bpd.bits_per_dimension(nats.mean(), data[0].numel()))


def uint8_images(images: Any, shape: tuple[int, ...] | None = None) -> Tensor:
    """Images of your own as one uint8 tensor (N, C, H, W); `shape` is the (C, H, W) that they must have, if any.

    `images`: a tensor or array (N, C, H, W), (N, H, W, C) or, grey, (N, H, W), or a torch Dataset of such images or of
    PIL images, perhaps with labels. Pixels are uint8, or floats in [-1, 1] such as `model.sample` gives. TypeError for
    other objects, ValueError for other shapes, types and ranges, each in a line that says what to pass.
    """
    if isinstance(images, Tensor | np.ndarray):
        stack = _tensor(images)
    elif hasattr(images, "__len__") and hasattr(images, "__getitem__") and not isinstance(images, str | dict):
        items = [images[i] for i in range(len(images))]
        tensors = [_tensor(item[0] if isinstance(item, tuple | list) else item) for item in items]
        if len({tensor.shape for tensor in tensors}) > 1:
            raise ValueError("the images differ in shape: resize or crop them to one")
        stack = torch.stack(tensors) if tensors else torch.empty(0)
    else:
        kind = type(images).__name__
        raise TypeError(f"images are a tensor, an array or a Dataset with a length, not {kind}; of a DataLoader pass "
                        f'its dataset, of files cqlib.data.load("folder:PATH").train.images')  # fmt: skip
    if stack.dim() == 3:
        stack = stack[:, None]
    channels = (1, 3) if shape is None else shape[:1]
    if stack.dim() == 4 and stack.shape[1] not in channels and stack.shape[3] in channels:
        stack = stack.permute(0, 3, 1, 2)
    fits = stack.dim() == 4 and stack.shape[1] in channels and shape in (None, tuple(stack.shape[1:]))
    if not fits or not len(stack):
        wanted = "C, H, W) with 1 or 3 channels" if shape is None else f"{', '.join(map(str, shape))})"
        remedy = "" if shape is None else ": resize them, or make a model of their size and channels"
        raise ValueError(f"images are (N, {wanted}, not {_shape(stack)}{remedy}")
    if stack.is_floating_point():
        low, high = (float(end) for end in stack.aminmax())
        if not (-1 <= low < 0 and high <= 1):
            found = f"floats from {low:.3g} to {high:.3g}"
            remedy = "pass them" if high > 1 else "of floats in [0, 1] pass (255 * images).round()"
            raise ValueError(f"images are uint8, or floats in [-1, 1], not {found}: {remedy} as uint8")
        stack = to_uint8(stack)
    if stack.dtype != torch.uint8:
        kind = str(stack.dtype).removeprefix("torch.")
        raise ValueError(f"images are uint8, or floats in [-1, 1], not {kind}: pass values 0 to 255 as uint8")
    return stack.contiguous()


def _tensor(image: Any) -> Tensor:
    """A tensor as it is; an array or a PIL image as a tensor of its own."""
    if isinstance(image, Tensor):
        return image
    array = np.array(image)
    if array.dtype.kind not in "buif":
        raise ValueError(f"images are arrays of numbers, not of {array.dtype}")
    return torch.from_numpy(array)


def _shape(images: Tensor) -> str:
    return f"({', '.join(map(str, images.shape))})"
