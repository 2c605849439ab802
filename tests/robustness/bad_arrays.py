"""Data files: npz archives, idx files under another name, CIFAR-10's pickled and binary batches, STL-10's binaries."""

from __future__ import annotations

import gzip
import io
import pickle
import struct
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st

from cqlib.data.cifar10 import BATCHES

PER_BATCH = 8
"""Images per batch of CIFAR-10 here, in the place of 10,000."""
TYPES = (
    "u1",
    "u1",
    "u1",
    "i1",
    "<u2",
    ">u4",
    "i8",
    "<u8",
    "f2",
    "f4",
    "f8",
    "c8",
    "?",
    "U3",
    "S2",
    "O",
    "M8[s]",
    "V4",
    "i4,f4",
)
SIDES = (0, 1, 15, 16, 32, 64, 128)
KEYS = (
    "images",
    "labels",
    "train_images",
    "test_images",
    "train_labels",
    "test_labels",
    "classes",
    "arr_0",
    "../x",
    "/x",
    "a/b",
    "",
    "<b>",
)


def pixels(n: int, side: int = 16, channels: int = 3) -> np.ndarray:
    """uint8 (n, side, side, channels)."""
    return np.random.default_rng(n).integers(256, size=(n, side, side, channels), dtype=np.uint8)


@st.composite
def arrays(draw: st.DrawFn) -> np.ndarray:
    """Any array: images, labels, names, or of a shape and type of no use."""
    kind = draw(st.sampled_from(("images", "images", "labels", "names", "any")))
    n = draw(st.sampled_from((0, 1, 2, 5, 20, 40)))
    if kind == "images":
        found = pixels(n, draw(st.sampled_from(SIDES[1:5])), draw(st.sampled_from((3, 3, 3, 1, 4))))
        return draw(
            st.sampled_from(
                (
                    found,
                    found,
                    found.transpose(0, 3, 1, 2),
                    found[..., :1],
                    found[0] if n else found,
                    np.asfortranarray(found),
                )
            )
        )
    if kind == "labels":
        values = st.integers(-2, 12) | st.sampled_from((2**31 - 1, 2**31, 2**62, 70_000, 200))
        return np.array(draw(st.lists(values, min_size=n, max_size=n)), "i8").astype(
            draw(st.sampled_from(("i8", "i8", "f8", "u8", "O")))
        )
    if kind == "names":
        return np.array(draw(st.lists(st.text(st.characters(), max_size=5), max_size=5)), dtype="U5")
    shape = draw(st.lists(st.integers(0, 5), max_size=5))
    return np.zeros(shape, draw(st.sampled_from(TYPES)))


@st.composite
def _header(draw: st.DrawFn) -> bytes:
    """An .npy file whose header says what it likes."""
    shape = draw(
        st.sampled_from(
            (
                "(2, 16, 16, 3)",
                "(-1,)",
                "(10**12,)",
                "(1000000000000, 3)",
                "()",
                "(True,)",
                "'x'",
                "(2.5,)",
                "[1]",
                "((1,),)",
                "(99999999999999999999,)",
                "(0, 16, 16, 3)",
                "(1L,)",
                "(" * 300,
                "(,)",
                "None",
                "(1,)\n  x",
            )
        )
    )
    kind = draw(
        st.sampled_from(
            (
                "'|u1'",
                "'|O'",
                "'<U99999999'",
                "'x'",
                "[('a', '<f4')]",
                "'|V0'",
                "None",
                "3",
                "('<i4', (2,))",
                "'<M8[ns]'",
                "{}",
            )
        )
    )
    text = draw(
        st.sampled_from(
            (
                "{{'descr': {}, 'fortran_order': False, 'shape': {}, }}",
                "{{'descr': {}, 'shape': {}}}",
                "{}{}",
                "# {}\n{}",
            )
        )
    ).format(kind, shape)
    version = draw(st.sampled_from((b"\x01\x00", b"\x01\x00", b"\x02\x00", b"\x03\x00", b"\x04\x00", b"\xff\x01")))
    data = (text + "\n").encode()
    size = draw(st.sampled_from((len(data), len(data), 0, 5, 65535)))
    return (
        b"\x93NUMPY"
        + version
        + struct.pack("<H" if version[0] == 1 else "<I", size)
        + data
        + draw(st.binary(max_size=50))
    )


@st.composite
def npz(draw: st.DrawFn) -> bytes:
    """An archive of arrays, whole, altered, or of files that are none."""
    how = draw(st.sampled_from(("whole", "whole", "right", "right", "header", "cut", "flip", "zip", "npy", "empty")))
    buffer = io.BytesIO()
    if how == "npy":
        np.save(buffer, draw(arrays()), allow_pickle=True)
        return buffer.getvalue()
    if how == "empty":
        return draw(
            st.sampled_from((b"", b"PK\x05\x06" + bytes(18), b"PK\x03\x04", b"\x93NUMPY", b"\x80\x04.", b"x" * 999))
            | st.binary(max_size=99)
        )
    if how in ("zip", "header"):
        with zipfile.ZipFile(
            buffer,
            "w",
            draw(st.sampled_from((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA))),
        ) as archive:
            for name in draw(
                st.lists(
                    st.sampled_from(
                        ("images.npy", "labels.npy", "images", "../../escaped.npy", "/tmp/escaped.npy", "x/")
                    ),
                    min_size=1,
                    max_size=3,
                    unique=True,
                )
            ):
                archive.writestr(name, draw(_header() | st.binary(max_size=60) | st.just(bytes(10**6))))
        return buffer.getvalue()
    if how == "right":
        n = draw(st.integers(40, 60))
        content: dict[str, Any] = {"images": pixels(n), "labels": np.arange(n) % draw(st.integers(1, 9))}
        content |= draw(st.dictionaries(st.sampled_from(KEYS[1:]), arrays(), max_size=1))
    else:
        content = draw(st.dictionaries(st.sampled_from(KEYS), arrays(), max_size=4))
    (np.savez_compressed if draw(st.booleans()) else np.savez)(
        buffer, **{key: value for key, value in content.items() if key != "file"}
    )
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


@st.composite
def idx(draw: st.DrawFn) -> bytes:
    """MNIST's format, which nothing here reads: whole, altered or zipped."""
    sides = draw(st.lists(st.sampled_from((1, 10, 28, 2**31)), min_size=1, max_size=4))
    content = (
        bytes((0, 0, draw(st.sampled_from((8, 9, 11, 13, 99))), len(sides)))
        + b"".join(struct.pack(">I", side) for side in sides)
        + bytes(200)
    )
    content = altered(draw, content) if draw(st.booleans()) else content
    return gzip.compress(content) if draw(st.booleans()) else content


# ---- batches ----------------------------------------------------------------------------------------------


class Runs:
    """A pickle of it makes the file `path` where it is loaded."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return (open, (self.path, "w"))


@st.composite
def cifar(draw: st.DrawFn) -> tuple[bool, dict[str, bytes]]:
    """(binary?, the six batches), one of them perhaps not right."""
    binary, made = draw(st.booleans()), {}
    wrong = draw(st.sampled_from((None, *(name for name, _ in BATCHES))))
    for name, _ in BATCHES:
        labels = [i % 10 for i in range(PER_BATCH)]
        rows = pixels(PER_BATCH, 32).reshape(PER_BATCH, -1)
        batch: Any = {"data": rows, "labels": labels, "batch_label": "x", "filenames": ["a.png"] * PER_BATCH}
        if name == wrong and not binary:
            bad = st.one_of(
                arrays(),
                st.just(Runs("escaped")),
                st.lists(st.integers(-1, 10) | st.floats() | st.text(max_size=2) | st.just(2**70), max_size=9),
            )
            batch[draw(st.sampled_from(("data", "labels", "filenames")))] = draw(bad)
            batch = draw(st.sampled_from((batch, batch, batch, [batch], Runs("escaped"), None)))
        content = (
            b"".join(bytes((label,)) + bytes(row) for label, row in zip(labels, rows, strict=True))
            if binary
            else pickle.dumps(batch, draw(st.integers(0, 5)))
        )
        if name == wrong and (binary or draw(st.booleans())):
            content = altered(draw, content)
        made[f"{name}.bin" if binary else name] = content
    if draw(st.integers(0, 9)) == 0:
        made.pop(draw(st.sampled_from(sorted(made))))
    return binary, made


@st.composite
def stl10(draw: st.DrawFn) -> dict[str, bytes]:
    """The five files of STL-10 with a few images each, one of them perhaps not right."""
    counts = {"train": draw(st.integers(1, 5)), "test": draw(st.integers(4, 8)), "unlabeled": draw(st.integers(0, 3))}
    made = {f"{name}_X.bin": pixels(n, 96).tobytes() for name, n in counts.items()}
    made |= {f"{name}_y.bin": bytes(i % 10 + 1 for i in range(counts[name])) for name in ("train", "test")}
    name = draw(st.sampled_from(sorted(made)))
    how = draw(st.sampled_from(("right", "altered", "any", "gone", "label")))
    if how == "altered":
        made[name] = altered(draw, made[name])
    elif how == "any":
        made[name] = draw(st.binary(max_size=30))
    elif how == "gone":
        del made[name]
    elif how == "label":
        made["test_y.bin"] = bytes((draw(st.sampled_from((0, 11, 255))),)) + made["test_y.bin"][1:]
    return made


@st.composite
def archived(draw: st.DrawFn, files: dict[str, bytes], top: str) -> bytes:
    """`files` in a .tar.gz with members that want to get out of it, perhaps altered."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in files.items():
            if draw(st.integers(0, 5)) == 0:
                archive.addfile(draw(_member(name)))
            info = tarfile.TarInfo(
                draw(st.sampled_from((f"{top}/{name}", f"{top}/{name}", f"../../{name}", f"/{name}")))
            )
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return altered(draw, buffer.getvalue()) if draw(st.integers(0, 3)) == 0 else buffer.getvalue()


@st.composite
def _member(draw: st.DrawFn, name: str) -> tarfile.TarInfo:
    """A link, a device or a pipe of this name, or one that lies outside."""
    info = tarfile.TarInfo(draw(st.sampled_from((name, f"../../{name}", "/tmp/escaped", "../escaped"))))
    info.type = draw(
        st.sampled_from(
            (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.DIRTYPE)
        )
    )
    info.linkname = draw(st.sampled_from(("/etc/passwd", "../../escaped", name)))
    return info


def write(files: dict[str, bytes], folder: Path) -> None:
    """Lay `files` out in a new folder."""
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
