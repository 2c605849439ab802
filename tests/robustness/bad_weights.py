"""Weights: checkpoints in safetensors that are cut off, altered, foreign, or made to fit in all but one thing; and
torch-fidelity's feature weights, which come as a pickle."""

from __future__ import annotations

import functools
import io
import json
import struct
from typing import Any

import torch
from bad_arrays import Runs, altered
from bad_options import pick
from bad_records import trees, words
from hypothesis import strategies as st
from safetensors.torch import save

from cqlib.util.checkpoint import _digest, _split, load_checkpoint
from cqlib.util.files import canonical_json
from cqlib.util.paths import ROOT

ROW = "table1/cq-f"
_FILE = ROOT / "reports/published/models/table1_cq-f--photos10--quick--0.safetensors"


@functools.cache
def _state() -> dict[str, Any]:
    """What belongs to ROW, profile quick, seed 0: the published weights."""
    return load_checkpoint(_FILE)


def _bytes(state: Any) -> bytes:
    """As `save_checkpoint` writes it, hash and all."""
    tensors: dict[str, torch.Tensor] = {}
    return _crafted(canonical_json(_split(state, "", tensors)), tensors)


def _crafted(text: str, tensors: dict[str, torch.Tensor]) -> bytes:
    """Any tree with the hash that belongs to it."""
    return save(tensors, metadata={"tree": text, "sha256": _digest(tensors, text)})


@st.composite
def checkpoints(draw: st.DrawFn) -> bytes:
    """What lies in the place of the weights of a run of ROW."""
    state = _state()
    how = pick(draw, "cut", "header", "state", "state", "weights", "weights", "tree", "none")
    if how == "none":
        heads = (b"", b"PK\x03\x04", b"\x80\x04.", struct.pack("<Q", 2**63) + b"{}", bytes(8))
        return draw(st.binary(max_size=100) | st.sampled_from(heads))
    if how == "cut":
        return altered(draw, _bytes(state))
    if how == "header":
        size = pick(draw, 0, 2, 10**8, 2**40, 2**64 - 1)
        entry = {
            "dtype": pick(draw, "F32", "U8", "F64", "X", "BF16"),
            "shape": pick(draw, [1], [2**40], [-1], [], [0, 2**60]),
            "data_offsets": pick(draw, [0, 4], [4, 0], [0, 2**50], [0], [-1, 3]),
        }
        head = json.dumps({"a": entry, "__metadata__": draw(trees | st.just({"tree": "{}", "sha256": "0"}))}).encode()
        return struct.pack("<Q", pick(draw, len(head), len(head), size)) + head + bytes(16)
    if how == "tree":
        inner = st.sampled_from((3, [[1]], [[{}, 1]], [])).map(lambda value: {"__dict__": value})
        tree = draw(trees | inner | st.sampled_from(({"__tensor__": "x"}, [], {})))
        text = draw(st.just(json.dumps(tree)) | st.sampled_from(("[" * 5000 + "]" * 5000, "", "{", "NaN", "1")))
        return _crafted(text, {"x": torch.zeros(2)})
    changed = dict(state)
    if how == "state":
        key = draw(st.sampled_from(sorted(state)))
        if draw(st.booleans()):
            del changed[key]
        else:
            changed[key] = pick(draw, None, 1, "x", [], {}, torch.zeros(3), {"a": 1}, -1.5, [1, [2]])
        if draw(st.integers(0, 3)) == 0:
            changed[draw(st.text(min_size=1, max_size=5))] = 1
        return _bytes(changed)
    weights = dict(state["weights"])
    for _ in range(draw(st.integers(1, 3))):
        name = draw(st.sampled_from(sorted(weights)))
        other = st.sampled_from(
            (
                torch.zeros(1), torch.zeros(0), torch.full_like(weights[name], torch.nan), weights[name].double(),
                weights[name].unsqueeze(0), weights[name].bool(),
            )
        )  # fmt: skip
        move = pick(draw, "gone", "other", "new")
        if move == "gone":
            del weights[name]
        else:
            weights[name if move == "other" else draw(words).replace("\ud800", "") or "x"] = draw(other)
    return _bytes({**changed, "weights": weights})


@st.composite
def pickled(draw: st.DrawFn) -> bytes:
    """What is given as --feature-weights."""
    buffer = io.BytesIO()
    content = pick(
        draw, {"a": torch.zeros(2)}, {}, [1], None, torch.zeros(3), Runs("escaped"), {"a": Runs("escaped")},
        {1: torch.zeros(1)}
    )  # fmt: skip
    torch.save(content, buffer, _use_new_zipfile_serialization=draw(st.booleans()))
    if draw(st.booleans()):
        return altered(draw, buffer.getvalue())
    return pick(draw, buffer.getvalue(), buffer.getvalue(), b"", b"\x80\x02.", b"PK\x03\x04")
