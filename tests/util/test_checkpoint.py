"""Checkpoints: whole or refused, with the previous one to fall back on, and nothing in them that runs."""

import errno
import pickle

import pytest
import torch

from cqlib.util import checkpoint
from cqlib.util.checkpoint import CheckpointError, load_checkpoint, load_latest, save_checkpoint


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


def test_previous_is_kept_and_used_when_the_newest_is_damaged(tmp_path):
    path = tmp_path / "a"
    save_checkpoint(path, state(1))
    save_checkpoint(path, state(2))
    assert load_latest(path)[0]["step"] == 2
    path.write_bytes(path.read_bytes()[:-7])
    found, problems = load_latest(path)
    assert found["step"] == 1 and len(problems) == 1 and str(path) in problems[0]
    assert load_latest(tmp_path / "none") == (None, [])


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


def test_a_damaged_file_never_replaces_a_good_previous_one(tmp_path, monkeypatch):
    path = tmp_path / "a"
    save_checkpoint(path, state(1))
    save_checkpoint(path, state(2))
    path.write_bytes(b"damaged")
    save_checkpoint(path, state(3))
    assert load_latest(path)[0]["step"] == 3
    path.write_bytes(b"damaged again")
    assert load_latest(path)[0]["step"] == 1


def test_a_full_disk_leaves_both_states_as_they_were(tmp_path, monkeypatch):
    path = tmp_path / "a"
    save_checkpoint(path, state(1))
    save_checkpoint(path, state(2))

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "write_atomic", full)
    with pytest.raises(OSError):
        save_checkpoint(path, state(3))
    assert load_checkpoint(path)["step"] == 2
    path.unlink()
    assert load_latest(path)[0]["step"] == 1


def test_a_save_cut_off_before_its_last_rename_counts(tmp_path, monkeypatch):
    path = tmp_path / "a"
    save_checkpoint(path, state(1))
    save_checkpoint(path, state(2))
    move, moves = checkpoint.move, []

    def cut(source, target):
        moves.append(target)
        if len(moves) == 2:
            raise KeyboardInterrupt
        move(source, target)

    with monkeypatch.context() as patched:
        patched.setattr(checkpoint, "move", cut)
        with pytest.raises(KeyboardInterrupt):
            save_checkpoint(path, state(3))
    assert not path.exists() and load_latest(path)[0]["step"] == 3
    save_checkpoint(path, state(4))
    assert load_latest(path)[0]["step"] == 4
    path.unlink()
    assert load_latest(path)[0]["step"] == 2  # none but a whole one was ever replaced


def test_what_the_disk_gives_back_is_checked_before_the_old_state_moves(tmp_path, monkeypatch):
    path = tmp_path / "a"
    save_checkpoint(path, state(1))
    write = checkpoint.write_atomic
    monkeypatch.setattr(checkpoint, "write_atomic", lambda path, data: write(path, data[:-1] + b"?"))
    with pytest.raises(OSError, match="cannot be read back"):
        save_checkpoint(path, state(2))
    assert load_checkpoint(path)["step"] == 1 and list(tmp_path.iterdir()) == [path]


def test_a_file_that_was_found_whole_is_read_again_once_it_has_changed(tmp_path, monkeypatch):
    path = tmp_path / "a"
    save_checkpoint(path, state(1))
    reads, load = [], checkpoint.load_checkpoint
    monkeypatch.setattr(checkpoint, "load_checkpoint", lambda path: reads.append(path.name) or load(path))
    save_checkpoint(path, state(2))
    assert reads == ["a.new"]
    path.write_bytes(b"damaged")
    save_checkpoint(path, state(3))
    assert reads == ["a.new", "a.new", "a"] and load_latest(path)[0]["step"] == 3


def test_too_little_memory_is_not_taken_for_damage(tmp_path, monkeypatch):
    """Else training would begin anew for want of memory to read its state."""
    path = tmp_path / "a"
    save_checkpoint(path, state(1))

    def refuse(*_, **__):
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(checkpoint, "safe_open", refuse)
    for attempt in (lambda: load_latest(path), lambda: load_checkpoint(path), lambda: save_checkpoint(path, state(2))):
        with pytest.raises(MemoryError, match="Cannot allocate memory"):
            attempt()
    monkeypatch.undo()
    assert load_checkpoint(path)["step"] == 1 and list(tmp_path.iterdir()) == [path]


def test_a_file_that_cannot_be_opened_just_now_is_not_taken_for_damaged(tmp_path, monkeypatch):
    """A network drive that is away for a moment must not cost a training its state."""
    path = tmp_path / "state"
    for step in (1, 2):
        save_checkpoint(path, {"step": step})

    def away(*_, **__):
        raise OSError(errno.ESTALE, "Stale file handle")

    with monkeypatch.context() as patched, pytest.raises(OSError, match="Stale"):
        patched.setattr(type(path), "open", away)
        load_latest(path)
    assert load_latest(path) == ({"step": 2}, [])
