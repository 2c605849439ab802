"""Records: JSON that is cut off, altered, foreign or huge, and whole records that hold what nobody expects."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fake_records
from bad_arrays import altered as altered_bytes
from bad_options import HOSTILE, pick
from hypothesis import strategies as st

from cqlib.experiments.experiment import experiment

MARKUP = (
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", '"><svg onload=alert(1)>', "'\"`",
    "</td></table></style>", "javascript:alert(1)", "{{ 7 * 7 }}", "{% raw %}", "[a](javascript:alert(1))",
    "# heading\n\n- item", "**bold** `code`", "| a |", "<!-- table1 -->", "--><script>", "]]>", "&lt;script&gt;",
    "&#60;b&#62;", "$\\frac{1}{$", "$x^$", "\\begin{x}", "_^", "$$", "\x00\x0b", "\x1b[31m", "‮evil‬",
    "\u200f\u202b", "\ufffe", "\uffff", "a" * 20_000, "x\ny\r\nz", "/elsewhere/secret/x.npz", "C:\\Users\\x\\y",
    "npz:<b>", 'folder:/a/b"onmouseover=x', "日本語", "🙂" * 50, "%s%n", "\ud800", "%3Cscript%3E", "constructor",
    "__proto__",
)  # fmt: skip
NUMBERS = (
    0, -1, 1, 2**31, 2**63, 2**64, 10**18, 10**400, -(10**400), 0.0, -0.0, 1e-320, 1e308, -1e308, 1.5, 1e16,
    float("nan"), float("inf"), -float("inf"), True, False, None, "", "1", [], {}, [[]], [{}], [1, "x"],
    {"a": {"b": []}}, "NaN",
)  # fmt: skip
NO_RECORDS = (
    b"", b" \n", b"null", b"[]", b"{}", b"1", b'"x"', b"[" * 100_000, b'{"a":' * 50_000, b"\x00" * 999, b"NaN",
    b"1" * 10_000, b'{"schema": 1}', b'{"schema": 1, "schema": 1}', b"\x1f\x8b\x08", b"PK\x03\x04", b"\xff\xfe",
)  # fmt: skip
NAMES = ("record.json", "<b>.json", "a\nb.json", "x" * 200 + ".json", "‮.json", "'\".json", "%00.json", "nul\udcff.json")

words = st.one_of(st.sampled_from(MARKUP), st.sampled_from(HOSTILE), st.text(st.characters(), max_size=30))
scalars = st.one_of(st.sampled_from(NUMBERS), words, st.integers(), st.floats())
trees = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3), max_leaves=6
)


def _places(value: Any, at: tuple = ()) -> list[tuple]:
    """The keys that lead to every value inside `value`, long lists by their first two."""
    found = [at] if at else []
    items = value.items() if isinstance(value, dict) else enumerate(value[:2]) if isinstance(value, list) else ()
    for key, inner in items:
        found += _places(inner, (*at, key))
    return found


def _texts(value: Any, draw: Callable[[], str]) -> Any:
    """`value` with every text in it, but for those that are checked, replaced by a drawn one."""
    if isinstance(value, dict):
        return {key: _texts(inner, draw) for key, inner in value.items()}
    if isinstance(value, list):
        return [_texts(inner, draw) for inner in value]
    return draw() if isinstance(value, str) else value


@st.composite
def altered(draw: st.DrawFn) -> dict[str, Any]:
    """A record in which up to four things are another value, gone, or new."""
    row = draw(st.sampled_from((*fake_records.SCORES, *fake_records.TABLE3)))
    values = fake_records.record(row, draw(st.integers(0, 3)), config=experiment(row).config).to_dict()
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.sampled_from(_places(values)))
        inner = values
        for key in place[:-1]:
            inner = inner[key]
        move = pick(draw, "replace", "replace", "replace", "replace", "delete", "add")
        if move == "replace":
            inner[place[-1]] = draw(scalars if draw(st.booleans()) else trees)
        elif move == "delete":
            del inner[place[-1]]
        elif isinstance(inner, dict):
            inner[draw(words)] = draw(trees)
    return values


@st.composite
def hostile(draw: st.DrawFn) -> dict[str, Any]:
    """A record that is right but for its words; and of a kind that is shown."""
    row = draw(st.sampled_from((*fake_records.SCORES, *fake_records.TABLE3)))
    values = fake_records.record(row, draw(st.integers(0, 3)), notes=["a note", "another"]).to_dict()
    kept = {key: values[key] for key in ("row", "status", "profile", "started", "finished") if draw(st.booleans())}
    kept |= {key: values[key] for key in ("started", "finished")} | {"status": pick(draw, "done", "diverged")}
    values = {**_texts(values, lambda: draw(words) or "x"), **kept}
    for name in ("metrics", "curve", "versions", "parameters"):
        if draw(st.booleans()):
            values[name] = {
                (draw(words) or "x") if draw(st.booleans()) else key: inner for key, inner in values[name].items()
            }
    return values


def _json(values: Any) -> bytes:
    return json.dumps(values).encode()


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """Bytes that were a record once, or never."""
    whole = bytearray(_json(fake_records.record(seed=draw(st.integers(0, 3))).to_dict()))
    how = pick(draw, "altered", "altered", "insert", "other", "encoding")
    if how == "altered":
        return altered_bytes(draw, bytes(whole))
    if how == "insert":
        at = draw(st.integers(0, len(whole)))
        return bytes(whole[:at] + draw(st.binary(max_size=40)) + whole[at:])
    if how == "encoding":
        return bytes(whole).decode().encode(pick(draw, "utf-16", "utf-32", "utf-8-sig", "cp037"))
    return draw(st.sampled_from(NO_RECORDS) | st.binary(max_size=200) | trees.map(_json))


content = st.one_of(altered().map(_json), altered().map(_json), hostile().map(_json), hostile().map(_json), damaged())
special = st.sampled_from(("folder", "fifo", "loop", "dangling"))
pictures = st.one_of(
    st.none(),
    st.sampled_from((b"", b"\x89PNG\r\n\x1a\n", b"<svg onload=alert(1)>", b"GIF89a", b"BM")),
    st.binary(max_size=60),
)
"""In the place of a run's sample grid."""


@st.composite
def folders(draw: st.DrawFn) -> list[tuple[str, bytes | str, bytes | None]]:
    """What lies in a runs folder: (name below it, content or what kind of thing it is, its sample grid or None)."""
    found = []
    for i in range(draw(st.integers(1, 6))):
        name = draw(st.sampled_from(NAMES)) if draw(st.integers(0, 4)) == 0 else f"run-{i}/record.json"
        found.append((name, draw(special) if draw(st.integers(0, 12)) == 0 else draw(content), draw(pictures)))
    return list({item[0]: item for item in found}.values())


def lay_out(found: list[tuple[str, bytes | str, bytes | None]], runs: Path) -> None:
    """The runs folder of `folders`; a record that can be read has its sample grid where the report looks for it."""
    from cqlib.experiments.record import read_record

    for name, content, picture in found:
        path = runs / name
        path.parent.mkdir(exist_ok=True)
        if isinstance(content, bytes):
            path.write_bytes(content)
        elif content == "folder":
            path.mkdir()
        elif content == "fifo":
            os.mkfifo(path)
        else:
            path.symlink_to(path.name if content == "loop" else "nowhere")
        if picture is not None and isinstance(content, bytes):
            try:
                run = read_record(path)
                place = runs / run.folder
                place.mkdir(exist_ok=True)
                (place / "samples_T1.png").write_bytes(picture)
            except (OSError, ValueError):
                continue
