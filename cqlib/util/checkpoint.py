"""Checkpoints: nested tensors and plain values in one safetensors file with a hash, written atomically. Reading one
never runs code, as unpickling would."""

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from cqlib.util.errors import out_of_memory
from cqlib.util.files import canonical_json, write_atomic


class CheckpointError(Exception):
    """The file is not a whole checkpoint; the message says why in one line."""


def to_bytes(state: dict[str, Any]) -> bytes:
    """The content of a checkpoint's file. TypeError and ValueError as for `save_checkpoint`."""
    tensors: dict[str, Tensor] = {}
    text = canonical_json(_split(state, "", tensors))
    return save(tensors, metadata={"tree": text, "sha256": _digest(tensors, text)})


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write `state` (nested dicts and lists of tensors, numbers, strings, None) to `path` atomically. Raises OSError if
    the disk is full, TypeError for a value of another type, ValueError for a number that is not finite and for keys
    that would put two tensors at one path; the old file is then left as it was."""
    write_atomic(path, to_bytes(state))


def load_checkpoint(path: Path) -> dict[str, Any]:
    """The state that `save_checkpoint` wrote, on the CPU. CheckpointError if the file is damaged or of another kind;
    OSError if it cannot be opened, which does not mean that it is damaged."""
    with path.open("rb"):
        pass
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}
        text, digest = metadata["tree"], metadata["sha256"]
        if digest != _digest(tensors, text):
            raise CheckpointError(f"{path} is damaged: its content does not match its hash")
        state = _join(json.loads(text), tensors)
        if not isinstance(state, dict):
            raise ValueError("not a state")
        return state
    except FileNotFoundError:
        raise
    except (SafetensorError, KeyError, ValueError, TypeError, RuntimeError, OSError) as error:
        if out_of_memory(error):
            raise MemoryError(str(error)) from error
        raise CheckpointError(f"{path} is not a checkpoint of cqlib, or is cut off ({error})") from error


def _split(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """`value` with each tensor moved to `tensors` and replaced by its name there."""
    if isinstance(value, Tensor):
        if name in tensors:  # of {"a/b": ...} and {"a": {"b": ...}}, or of 1 and "1"
            raise ValueError(f"a checkpoint cannot hold two tensors at '{name}'")
        tensors[name] = value.detach().cpu().contiguous().clone()  # safetensors refuses tensors that share memory
        return {"__tensor__": name}
    if isinstance(value, dict):
        if wrong := [key for key in value if not isinstance(key, str | int)]:
            raise TypeError(f"a checkpoint's keys are text or integers, not {type(wrong[0]).__name__}")
        return {"__dict__": [[key, _split(item, f"{name}/{key}", tensors)] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        return [_split(item, f"{name}/{i}", tensors) for i, item in enumerate(value)]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"a checkpoint cannot hold {type(value).__name__} at '{name}'")


def _join(value: Any, tensors: dict[str, Tensor]) -> Any:
    """The inverse of `_split`."""
    if isinstance(value, list):
        return [_join(item, tensors) for item in value]
    if not isinstance(value, dict):
        return value
    if "__tensor__" in value:
        return tensors[value["__tensor__"]]
    return {key: _join(item, tensors) for key, item in value["__dict__"]}


def _digest(tensors: dict[str, Tensor], text: str) -> str:
    """SHA-256 over names, types, shapes and values of the tensors, and over the text."""
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
