"""The folder of `fit`: the state of one training, with which the same call goes on, and which no other call touches.

training.checkpoint   the state; its key is the training that it is of, as JSON
training.jsonl        losses, in nats per image
best.safetensors      the averaged weights with the fewest bits on held-out images, where they are kept
"""

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from torch import Tensor

from cqlib.data.dataset import tensors_sha256
from cqlib.suite.experiments.model_file import RECORD, WEIGHTS
from cqlib.suite.experiments.run_folder import LOCK
from cqlib.suite.experiments.variants import as_hashed
from cqlib.util.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from cqlib.util.errors import UserError
from cqlib.util.files import canonical_json, sha256
from cqlib.util.locks import file_lock

CHECKPOINT, LOG = "training.checkpoint", "training.jsonl"
"""The state of a training and its losses, as `cqlib.training.loop` names them."""
BEST = "best.safetensors"

State = dict[str, Any]


@contextmanager
def training_folder(
    folder: Path | str | None, training: State, weights: dict[str, Tensor]
) -> Iterator[tuple[Path, str]]:
    """The folder for a training from these `weights` on, held against other processes, and the key for its state;
    without a `folder` a temporary one. `training` has its "class", "config", "images", "seed" and "training".
    UserError, one line, where the folder has another training, or anything else with a model."""
    if folder is None:
        with tempfile.TemporaryDirectory() as temporary:
            yield Path(temporary), ""
        return
    place = Path(folder).expanduser()
    place.mkdir(parents=True, exist_ok=True)
    with file_lock(place / LOCK, str(folder)):
        yield place, _key(place, training, weights)


def _key(folder: Path, training: State, weights: dict[str, Tensor]) -> str:
    """The key of a training in this folder, whose state, if there is one, has that key afterwards."""
    if any((folder / name).exists() for name in (RECORD, WEIGHTS)):
        raise UserError(f"{folder} holds a model or a run, and no training of fit: name another folder")
    training = json.loads(canonical_json(training | {"initial weights": _digest(weights)}))
    if not (folder / CHECKPOINT).exists():
        (folder / BEST).unlink(missing_ok=True)
        return canonical_json(training)
    state, stored = read_training(folder)
    found = (_digest(model) for model in trained_weights(folder, state))
    if training["initial weights"] in found:  # the model as the folder has it goes on, too
        training["initial weights"] = stored["initial weights"]
    if names := _differences(stored, training):
        remedy = f"name another folder, or go on with {stored['class']}.load('{folder}')"
        raise UserError(f"{folder} is of a training with other {', '.join(names)}: {remedy}")
    _check_steps(folder, state["step"], stored["training"], training["training"])
    key = canonical_json(training)
    if key != state["key"]:
        save_checkpoint(folder / CHECKPOINT, state | {"key": key})
    return key


def read_training(folder: Path) -> tuple[State, State]:
    """The state that `fit` left in a folder, and the training that it is of. UserError where there is none."""
    file = folder / CHECKPOINT
    try:
        state = load_checkpoint(file)
    except CheckpointError as error:
        raise UserError(f"{error}: delete it, or name another folder") from error
    with suppress(KeyError, TypeError, ValueError):
        training = json.loads(state["key"])
        if isinstance(training, dict):
            return state, training
    raise UserError(f"{file} is of no training of fit, or of an older version's: name another folder")


def trained_weights(folder: Path, state: State) -> list[dict[str, Tensor]]:
    """The weights of the models that a training has left in a folder, by name: the best ones, where they are kept, and
    last the averaged ones of its `state`."""
    prefix, best = "module.", folder / BEST
    averaged = {name.removeprefix(prefix): w for name, w in state["average"].items() if name.startswith(prefix)}
    return [load_checkpoint(best)["weights"], averaged] if best.exists() else [averaged]


def _digest(weights: dict[str, Tensor]) -> str:
    """A hash of named tensors."""
    return sha256(f"{[*weights]} {tensors_sha256(*weights.values())}".encode())


def _differences(stored: State, training: State) -> list[str]:
    """The names of what differs between two trainings, without their steps."""
    if stored["class"] != training["class"]:
        return ["class"]
    a, b = (state["config"] | state | as_hashed(state["training"], "training") for state in (stored, training))
    names = [name for name in a | b if a.get(name) != b.get(name) and name not in ("config", "training", "steps")]
    other_nets = any(name in training["config"] for name in names)
    # other nets start from other weights: that need not be said
    return [name for name in names if not (other_nets and name == "initial weights")]


def _check_steps(folder: Path, step: int, stored: State, training: State) -> None:
    """UserError where a state at this `step` is not one of a training with other `steps`: learning rates fall by
    different steps."""
    before, steps = stored["steps"], training["steps"]
    parting = int(training["decay_from"] * min(before, steps))
    if steps != before and step > parting:
        raise UserError(
            f"{folder} is at step {step:,} of {before:,}; a training of {steps:,} steps goes another way from step "
            f"{parting:,}, where a learning rate falls, on: ask for {before:,} steps, or name another folder"
        )
