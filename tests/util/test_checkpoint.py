"""Checkpoints: whole or refused, and nothing in them that runs."""

import pickle

import pytest
import torch

from cqlib.util import checkpoint
from cqlib.util.checkpoint import CheckpointError, load_checkpoint, save_checkpoint


def state(step=3):
    shared = torch.arange(4.0)
    return {
        "step": step,
        "nested": {"weights": torch.randn(2, 3), "same": [shared, shared], 7: None, "text": "ü", "rate": 1e-3},
        "rng": torch.get_rng_state(),
        "half": torch.ones(2, dtype=torch.bfloat16),
        "scalar": torch.tensor(5),
        "empty": [],
    }


def same(a, b):
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


def test_round_trip(tmp_path):
    saved = state()
    save_checkpoint(tmp_path / "a", saved)
    assert same(load_checkpoint(tmp_path / "a"), saved)


@pytest.mark.parametrize("position", [-1, -40])
def test_a_flipped_bit_is_noticed(tmp_path, position):
    path = tmp_path / "a"
    save_checkpoint(path, state())
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match="hash"):
        load_checkpoint(path)


@pytest.mark.parametrize("content", [b"", b"hello", pickle.dumps({"a": 1}), b"\xff" * 100])
def test_foreign_files_are_refused_with_one_line(tmp_path, content):
    path = tmp_path / "a"
    path.write_bytes(content)
    with pytest.raises(CheckpointError) as error:
        load_checkpoint(path)
    assert "\n" not in str(error.value) and str(path) in str(error.value)


def test_what_is_not_plain_is_not_saved(tmp_path):
    with pytest.raises(TypeError, match="cannot hold object"):
        save_checkpoint(tmp_path / "a", {"x": object()})
    one, other = torch.zeros(2), torch.ones(2)
    for state in ({"a/b": one, "a": {"b": other}}, {1: one, "1": other}):
        with pytest.raises(ValueError, match="two tensors at '/"):
            save_checkpoint(tmp_path / "a", state)
    assert not list(tmp_path.iterdir())


def test_too_little_memory_is_not_taken_for_damage(tmp_path, monkeypatch):
    """Else training would begin anew for want of memory to read its state."""
    path = tmp_path / "a"
    save_checkpoint(path, state(1))

    def refuse(*_, **__):
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(checkpoint, "safe_open", refuse)
    with pytest.raises(MemoryError, match="Cannot allocate memory"):
        load_checkpoint(path)


def test_a_full_disk_leaves_the_old_state(tmp_path, monkeypatch):
    path = tmp_path / "a"
    save_checkpoint(path, state(1))

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError):
        save_checkpoint(path, state(2))
    assert load_checkpoint(path)["step"] == 1 and list(tmp_path.iterdir()) == [path]
