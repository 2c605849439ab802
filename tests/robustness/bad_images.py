"""Pictures: every mode, depth and format in sizes small and absurd, animated, turned, cut off, altered, or none."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
from bad_options import pick
from hypothesis import strategies as st
from PIL import Image

MODES = ("RGB", "RGBA", "RGBX", "L", "LA", "P", "PA", "1", "CMYK", "YCbCr", "LAB", "HSV", "I", "F", "I;16")
FORMATS = {"PNG": "png", "JPEG": "jpg", "WEBP": "webp", "BMP": "bmp", "TIFF": "tiff", "PPM": "ppm", "GIF": "png",
           "JPEG2000": "jpg", "ICO": "png", "TGA": "png", "PCX": "bmp", "DDS": "png", "SGI": "ppm", "EPS": "jpg",
           "PDF": "png"}  # fmt: skip
"""Pillow's name -> the suffix under which the file lies; Pillow goes by content."""
SIDES = (1, 2, 15, 16, 17, 20, 32, 48, 64, 65, 100, 300)
HUGE = (0, 1, 2**15, 30_000, 65_500, 2**20, 2**24, 2**31 - 1, 2**32 - 1)


def _save(mode: str, kind: str, size: tuple[int, int], seed: int, frames: int, turned: int) -> bytes:
    """The file; a plain one in colour where Pillow cannot write the other."""
    rng, buffer = np.random.default_rng(seed), io.BytesIO()
    try:
        colours = Image.fromarray(rng.integers(256, size=(size[1], size[0], 3), dtype=np.uint8))
        if mode in ("I;16", "I", "F"):
            image = Image.fromarray(rng.integers(2**16, size=size[::-1], dtype=np.uint16)).convert(mode)
        else:
            image = colours.convert("RGBA").convert(mode) if mode == "PA" else colours.convert(mode)
        options = {"save_all": True, "append_images": [image] * (frames - 1)} if frames > 1 else {}
        if turned:
            exif = Image.Exif()
            exif[0x0112] = turned
            options["exif"] = exif
        image.save(buffer, kind, **options)
    except (OSError, ValueError, KeyError, TypeError, SystemError, struct.error):
        buffer = io.BytesIO()
        colours.save(buffer, "PNG" if kind == "ICO" else kind)
    return buffer.getvalue()


@st.composite
def whole(draw: st.DrawFn) -> tuple[bytes, str]:
    """(content, suffix) of a picture that Pillow has written."""
    kind = draw(st.sampled_from(tuple(FORMATS)))
    size = draw(
        st.tuples(st.sampled_from(SIDES), st.sampled_from(SIDES))
        | st.sampled_from(SIDES).map(lambda side: (side, side))
    )
    frames, turned = pick(draw, 1, 1, 1, 3), pick(draw, 0, 0, 0, 1, 3, 6, 8, 9, 65535)
    return _save(draw(st.sampled_from(MODES)), kind, size, draw(st.integers(0, 99)), frames, turned), FORMATS[kind]


@st.composite
def damaged(draw: st.DrawFn) -> tuple[bytes, str]:
    """One that was cut off or altered, in its head more often than not."""
    content, suffix = draw(whole())
    data = bytearray(content)
    for _ in range(draw(st.integers(1, 5))):
        if not data:
            break
        at = draw(st.integers(0, min(len(data), 120) - 1) | st.integers(0, len(data) - 1))
        how = pick(draw, "cut", "flip", "flip", "flip", "insert", "drop", "number")
        if how == "cut":
            del data[draw(st.integers(0, len(data))) :]
        elif how == "flip":
            data[at] = draw(st.sampled_from((0, 1, 0x7F, 0x80, 0xFF)) | st.integers(0, 255))
        elif how == "insert":
            data[at:at] = draw(st.binary(min_size=1, max_size=30))
        elif how == "drop":
            del data[at : at + draw(st.integers(1, 30))]
        else:
            data[at : at + 4] = struct.pack(draw(st.sampled_from("<>")) + "I", draw(st.sampled_from(HUGE)))
    return bytes(data), suffix


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


@st.composite
def huge(draw: st.DrawFn) -> tuple[bytes, str]:
    """A file of a few bytes that says it is huge, or flat, with right checksums."""
    width, height = draw(st.sampled_from(HUGE)), draw(st.sampled_from((*HUGE, 16, 1)))
    kind = pick(draw, "png", "ppm", "bmp", "gif", "text", "jpg", "tiff")
    if kind in ("png", "text"):
        head = struct.pack(">IIBBBBB", width, height, pick(draw, 1, 8, 16), pick(draw, 0, 2, 3, 4, 6), 0, 0, 0)
        words = _chunk(b"zTXt", b"k\0\0" + zlib.compress(b"x" * 10**7)) if kind == "text" else b""
        body = zlib.compress(bytes(pick(draw, 0, 1000, 10**6)))
        chunks = _chunk(b"IHDR", head) + words + _chunk(b"IDAT", body) + _chunk(b"IEND", b"")
        return b"\x89PNG\r\n\x1a\n" + chunks, "png"
    if kind == "ppm":
        numbers = (draw(st.integers(1, 7)), width, height, pick(draw, 0, 1, 255, 65535, 70000))
        return b"P%d\n%d %d\n%d\n" % numbers, "ppm"
    data = bytearray(_save("RGB", {"bmp": "BMP", "gif": "GIF", "jpg": "JPEG", "tiff": "TIFF"}[kind], (16, 16), 0, 1, 0))
    if kind == "bmp":
        data[18:26] = struct.pack("<II", width, height)
    elif kind == "gif":
        data[6:10] = struct.pack("<HH", width & 0xFFFF, height & 0xFFFF)
    elif kind == "jpg":
        at = data.index(b"\xff\xc0") + 5
        data[at : at + 4] = struct.pack(">HH", height & 0xFFFF, width & 0xFFFF)
    else:
        at = struct.unpack_from("<I", data, 4)[0]
        for tag, value in ((256, width), (257, height)):
            entries = range(at + 2, at + 362, 12)
            place = next(entry for entry in entries if struct.unpack_from("<H", data, entry)[0] == tag)
            struct.pack_into("<HII", data, place + 2, 4, 1, value)
    return bytes(data), "png" if kind == "gif" else kind


foreign = st.tuples(
    st.one_of(
        st.sampled_from(
            (
                b"", b"\n", b"\x00" * 1000, b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"<html>", b"%PDF-1.4",
                b"PK\x03\x04", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"BM", b"II*\0", b"MM\0*",
                b"RIFF\0\0\0\0WEBPVP8 ", b"P6", b"P7\n",
            )
        ),
        st.binary(max_size=300),
    ),
    st.sampled_from(("png", "jpg", "jpeg", "webp", "bmp", "tif", "tiff", "ppm")),
)  # fmt: skip
pictures = st.one_of(whole(), whole(), damaged(), damaged(), huge(), foreign)
names = st.one_of(
    st.just("bad"),
    st.sampled_from(
        ("a\nb", "‮gpj", "<b>x", "'\"", " ", "é" * 60, "\udcff", "x" * 200, "-rf", "%s", "{}", "a'b;c", "~")
    ),
)


def good(folder: Path) -> None:
    """Ten small pictures with a test split, beside which there is room for a bad one: `folder`/train/0/."""
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        (folder / split / "0").mkdir(parents=True)
        for i in range(5):
            Image.fromarray(rng.integers(256, size=(16, 16, 3), dtype=np.uint8)).save(folder / split / "0" / f"{i}.png")
