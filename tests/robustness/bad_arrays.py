"""Data files: npz archives, CIFAR-10's pickled batches, STL-10's binaries."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from bad_options import pick
from hypothesis import strategies as st

TYPES = (
    "u1", "u1", "u1", "i1", "<u2", ">u4", "i8", "<u8", "f2", "f4", "f8", "c8", "?", "U3", "S2", "O", "M8[s]", "V4",
    "i4,f4",
)  # fmt: skip
SIDES = (0, 1, 15, 16, 32, 64, 128)
KEYS = (
    "images", "labels", "train_images", "test_images", "train_labels", "test_labels", "classes", "arr_0", "../x",
    "/x", "a/b", "", "<b>",
)  # fmt: skip


def pixels(n: int, side: int = 16, channels: int = 3) -> np.ndarray:
    """uint8 (n, side, side, channels)."""
    return np.random.default_rng(n).integers(256, size=(n, side, side, channels), dtype=np.uint8)


@st.composite
def arrays(draw: st.DrawFn) -> np.ndarray:
    """Any array: images, labels, names, or of a shape and type of no use."""
    kind = pick(draw, "images", "images", "labels", "names", "any")
    n = pick(draw, 0, 1, 2, 5, 20, 40)
    if kind == "images":
        found = pixels(n, draw(st.sampled_from(SIDES[1:5])), pick(draw, 3, 3, 3, 1, 4))
        return pick(
            draw, found, found, found.transpose(0, 3, 1, 2), found[..., :1], found[0] if n else found,
            np.asfortranarray(found)
        )  # fmt: skip
    if kind == "labels":
        values = st.integers(-2, 12) | st.sampled_from((2**31 - 1, 2**31, 2**62, 70_000, 200))
        labels = np.array(draw(st.lists(values, min_size=n, max_size=n)), "i8")
        return labels.astype(pick(draw, "i8", "i8", "f8", "u8", "O"))
    if kind == "names":
        return np.array(draw(st.lists(st.text(st.characters(), max_size=5), max_size=5)), dtype="U5")
    shape = draw(st.lists(st.integers(0, 5), max_size=5))
    return np.zeros(shape, draw(st.sampled_from(TYPES)))


@st.composite
def _header(draw: st.DrawFn) -> bytes:
    """An .npy file whose header says what it likes."""
    shape = pick(
        draw, "(2, 16, 16, 3)", "(-1,)", "(10**12,)", "(1000000000000, 3)", "()", "(True,)", "'x'", "(2.5,)", "[1]",
        "((1,),)", "(99999999999999999999,)", "(0, 16, 16, 3)", "(1L,)", "(" * 300, "(,)", "None", "(1,)\n  x"
    )  # fmt: skip
    kind = pick(
        draw, "'|u1'", "'|O'", "'<U99999999'", "'x'", "[('a', '<f4')]", "'|V0'", "None", "3", "('<i4', (2,))",
        "'<M8[ns]'", "{}"
    )  # fmt: skip
    text = pick(
        draw, "{{'descr': {}, 'fortran_order': False, 'shape': {}, }}", "{{'descr': {}, 'shape': {}}}", "{}{}",
        "# {}\n{}"
    ).format(kind, shape)  # fmt: skip
    version = pick(draw, b"\x01\x00", b"\x01\x00", b"\x02\x00", b"\x03\x00", b"\x04\x00", b"\xff\x01")
    data = (text + "\n").encode()
    size = pick(draw, len(data), len(data), 0, 5, 65535)
    head = b"\x93NUMPY" + version + struct.pack("<H" if version[0] == 1 else "<I", size)
    return head + data + draw(st.binary(max_size=50))


@st.composite
def npz(draw: st.DrawFn) -> bytes:
    """An archive of arrays, whole, altered, or of files that are none."""
    how = pick(draw, "whole", "whole", "right", "right", "header", "cut", "flip", "zip", "npy", "empty")
    buffer = io.BytesIO()
    if how == "npy":
        np.save(buffer, draw(arrays()), allow_pickle=True)
        return buffer.getvalue()
    if how == "empty":
        heads = (b"", b"PK\x05\x06" + bytes(18), b"PK\x03\x04", b"\x93NUMPY", b"\x80\x04.", b"x" * 999)
        return draw(st.sampled_from(heads) | st.binary(max_size=99))
    if how in ("zip", "header"):
        members = ("images.npy", "labels.npy", "images", "../../escaped.npy", "/tmp/escaped.npy", "x/")
        method = pick(draw, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
        with zipfile.ZipFile(buffer, "w", method) as archive:
            for name in draw(st.lists(st.sampled_from(members), min_size=1, max_size=3, unique=True)):
                archive.writestr(name, draw(_header() | st.binary(max_size=60) | st.just(bytes(10**6))))
        return buffer.getvalue()
    if how == "right":
        n = draw(st.integers(40, 60))
        content: dict[str, Any] = {"images": pixels(n), "labels": np.arange(n) % draw(st.integers(1, 9))}
        content |= draw(st.dictionaries(st.sampled_from(KEYS[1:]), arrays(), max_size=1))
    else:
        content = draw(st.dictionaries(st.sampled_from(KEYS), arrays(), max_size=4))
    pick(draw, np.savez, np.savez_compressed)(buffer, **content)
    return altered(draw, buffer.getvalue()) if how in ("cut", "flip") else buffer.getvalue()


def altered(draw: st.DrawFn, content: bytes) -> bytes:
    """Cut off, or with some bytes changed, in its first or last hundred more often than not."""
    data = bytearray(content)
    if draw(st.booleans()):
        return bytes(data[: draw(st.integers(0, len(data)))])
    for _ in range(draw(st.integers(1, 6))):
        if data:
            ends = st.integers(0, min(len(data), 100) - 1)
            at = draw(ends | ends.map(lambda i: len(data) - 1 - i) | st.integers(0, len(data) - 1))
            data[at] = draw(st.integers(0, 255))
    return bytes(data)


# ---- batches ----------------------------------------------------------------------------------------------


class Runs:
    """A pickle of it makes the file `path` where it is loaded."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return (open, (self.path, "w"))


@st.composite
def cifar(draw: st.DrawFn) -> dict[str, bytes]:
    """The six batches and their names, of which some want to run code, and some are altered or gone."""
    made = {}
    for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch", "batches.meta"):
        batch: Any = {"data": pixels(8, 32).reshape(8, -1), "labels": list(range(8)), "label_names": ["x"] * 10}
        batch = pick(draw, batch, batch, Runs("escaped"), [batch], batch | {"data": Runs("escaped")})
        made[name] = pickle.dumps(batch, draw(st.integers(0, 5)))
        made[name] = altered(draw, made[name]) if draw(st.booleans()) else made[name]
    if draw(st.integers(0, 9)) == 0:
        made.pop(draw(st.sampled_from(sorted(made))))
    return made


@st.composite
def stl10(draw: st.DrawFn) -> dict[str, bytes]:
    """The five files of STL-10 with a few images each, one of them perhaps not right."""
    counts = {"train": draw(st.integers(1, 5)), "test": draw(st.integers(4, 8)), "unlabeled": draw(st.integers(0, 3))}
    made = {f"{name}_X.bin": pixels(n, 96).tobytes() for name, n in counts.items()}
    made |= {f"{name}_y.bin": bytes(i % 10 + 1 for i in range(counts[name])) for name in ("train", "test")}
    name = draw(st.sampled_from(sorted(made)))
    how = pick(draw, "right", "altered", "any", "gone", "label")
    if how == "altered":
        made[name] = altered(draw, made[name])
    elif how == "any":
        made[name] = draw(st.binary(max_size=30))
    elif how == "gone":
        del made[name]
    elif how == "label":
        made["test_y.bin"] = bytes((pick(draw, 0, 11, 255),)) + made["test_y.bin"][1:]
    return made


def write(files: dict[str, bytes], folder: Path) -> None:
    """Lay `files` out in a new folder."""
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
