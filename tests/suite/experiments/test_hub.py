"""Models on a hub, whose client is a stub: what is asked of it, and what its errors become."""

import sys
from types import SimpleNamespace

import pytest
import torch

import cqlib
from cqlib.util.errors import UsageError, UserError


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A client that has one model, and notes what it is asked for; an error in `hub.error` is raised."""
    torch.manual_seed(1)
    model = cqlib.VAE(8, 1)
    model.save(tmp_path / "copy")

    def snapshot_download(repo_id, *, revision=None, allow_patterns=None):
        stub.asked.append((repo_id, revision))
        if stub.error:
            raise stub.error
        assert {"model.safetensors", "record.json"} == {*allow_patterns}
        return str(tmp_path / "copy")

    stub = SimpleNamespace(snapshot_download=snapshot_download, model=model, asked=[], error=None)
    monkeypatch.setitem(sys.modules, "huggingface_hub", stub)
    return stub


def test_a_model_comes_from_the_hub(hub):
    found = cqlib.load("hf://someone/vae")
    assert all(torch.equal(value, found.state_dict()[name]) for name, value in hub.model.state_dict().items())
    cqlib.load("hf://someone/vae@v1", device="cpu")
    assert hub.asked == [("someone/vae", None), ("someone/vae", "v1")]
    with pytest.raises(UsageError, match="is a folder: leave out profile"):
        cqlib.load("hf://someone/vae", profile="study")


@pytest.mark.parametrize("error", [FileNotFoundError("no\nconnection"), ValueError("no such name"), None])
def test_what_cannot_be_had_is_one_line(hub, monkeypatch, error):
    hub.error = error
    if error is None:
        monkeypatch.setitem(sys.modules, "huggingface_hub", None)  # not installed
    with pytest.raises(UserError, match="^hf://someone/none ") as told:
        cqlib.load("hf://someone/none")
    assert "\n" not in str(told.value)
    assert ("pip install huggingface_hub" if error is None else "cannot be had: no ") in str(told.value)
