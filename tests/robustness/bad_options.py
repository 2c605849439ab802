"""Command lines: every command with options that are right, nearly right, hostile, or not there."""

from __future__ import annotations

import os
from typing import Any

from hypothesis import strategies as st

from cqlib.cli import commands as cli
from cqlib.cli import options, run_all
from cqlib.data import SOURCES
from cqlib.experiments.rows import PROFILES, ROWS


def pick(draw: st.DrawFn, *values: Any) -> Any:
    """One of the values; a value that is there twice is twice as likely."""
    return draw(st.sampled_from(values))


HOSTILE = (
    "", " ", "-", "--", "---", "=", "\x00", "a\x00b", "a\nb", "\r", "\t", "\x1b[2J\x1b]0;title\x07",
    "\udcff\udcfe", "\ud800", "‮gnp.elif", "\u2028", "\ufeff", "e\u0301" * 9, "🙂", "%s %(prog)s %d %%", "{}",
    "{0}", "$HOME", "`id`", "$(id)", ";id", "@file", "<script>alert(1)</script>", "'\"", "\\", "*", "?", "~",
    "~nobody-here/x", "../" * 40, "x" * 300, "x/" * 2100, "9" * 5000, "-1", "+1", "0", "00", "1", "1.0", "0x10",
    "1e309", "nan", "inf", "-inf", "٣", "²", "1_000", "1,2", ",", "7,", "NaN", "None", "2147483647", "2147483648",
    "10000", "10001", "true", "npz:", "folder:", "npz:PATH", "folder:x\x00y", "npz:" + "x" * 5000, "npz:\udcff",
    "folder:\n", "folder:~nobody-here", "toy2d:", "toy2d:grid", "toy2d:griid", ":", "::", "cifar10:x", "table1",
    "table1/", "/", "table1/cq-f/", "TABLE1/CQ-F", "smoke", "auto", "localhost:1", "[::1]:1", "x:65536",
    "ray://x:1", ":1",
)  # fmt: skip
PATHS = (
    "runs", "out", "new", "new/deep", "missing", "file", "file/below", "empty", "home", "/dev/null", "/dev/zero",
    "/dev/full", "fifo", "loop", "dangling", "x.png", "file/x.png", "folder.png", "new.png/x.png", "X.PNG", ".png",
    "png", "/proc/self/x.png",
)  # fmt: skip
"""What `furnish` lays out, and what is not there."""
NUMBERS = ("0", "1", "2", "3", "64", "0.5", "1.5", "2.5", "99", "1000", "5", "0,3", "7,")
PROFILES, ROWS, SETS = (*PROFILES, "quik"), (*ROWS, "table1/vea"), (*SOURCES, "photo10")
OF_COMMANDS = [flag for _, arguments, _ in cli.COMMANDS.values() for flag in arguments if flag.startswith("-")]
FLAGS = tuple(dict.fromkeys([*OF_COMMANDS, *options.RUN_ALL, "--help", "-h", "--hlep"]))
COMMANDS = [name for name in cli.COMMANDS if name not in ("publish", "readme")]
"""Those that neither write to this repository nor train by the hour."""
MAINS = {"cqlib": cli.main, "run_all": run_all.main, "options": options.main}

anything = st.one_of(st.sampled_from(HOSTILE), st.text(st.characters(), max_size=20)).filter(
    lambda text: not text.startswith(("/", "..")) or text in HOSTILE
)
values = {
    "--profile": st.sampled_from(PROFILES),
    "--data": st.lists(st.sampled_from(SETS), min_size=1, max_size=3).map(",".join) | st.sampled_from(SETS),
    "--seed": st.sampled_from(NUMBERS),
    "--seeds": st.sampled_from(NUMBERS),
    "--n": st.sampled_from(NUMBERS),
    "--jobs": st.sampled_from(NUMBERS),
    "--temperature": st.sampled_from(NUMBERS),
    "--time-budget": st.sampled_from(NUMBERS),
    "--only": st.lists(st.sampled_from((*ROWS, "all", "table2", "explore", "tabel1")), min_size=1, max_size=3).map(
        ",".join
    ),
    "--set": st.sampled_from(
        ("training.steps=3", "system.widths=0,0,0", "training.betas=x", "trainin.steps=3", "=", "a=b")
    ),
    "--device": st.sampled_from(("auto", "cpu", "cuda", "cuda:1", "mps")),
    "--cluster": st.sampled_from(("auto", "localhost:1", "127.0.0.1:9")),
}
paths = st.sampled_from(PATHS)


@st.composite
def options_of(draw: st.DrawFn) -> list[str]:
    """Some options, each mostly with a value of its kind."""
    words: list[str] = []
    for flag in draw(st.lists(st.sampled_from(FLAGS), max_size=4)):
        value = draw(st.one_of(values.get(flag, paths), values.get(flag, paths), paths, anything))
        joined = pick(draw, False, False, True)
        words += [f"{flag}={value}"] if joined else [flag, value] if draw(st.integers(0, 9)) else [flag]
    return words


@st.composite
def command_lines(draw: st.DrawFn) -> tuple[str, list[str]]:
    """(which of MAINS, its arguments). Mostly a known command and, where it wants one, a known row."""
    program = pick(draw, "cqlib", "cqlib", "cqlib", "run_all", "options")
    words = draw(options_of())
    if program == "cqlib":
        command = draw(st.one_of(st.sampled_from(COMMANDS), st.sampled_from(COMMANDS), anything))
        row = draw(st.one_of(st.sampled_from(ROWS), st.sampled_from(ROWS), anything))
        names = {"train": [row], "evaluate": [row], "sample": [row], "fetch": [draw(st.sampled_from(SETS) | anything)]}
        words = [command, *(names.get(command, []) if draw(st.integers(0, 9)) else []), *words]
    words += draw(st.lists(anything, max_size=1)) if draw(st.integers(0, 4)) == 0 else []
    return program, words


def furnish(root) -> None:
    """Lay out PATHS in `root`."""
    (root / "file").write_text("x")
    for folder in ("empty", "folder.png"):
        (root / folder).mkdir()
    os.mkfifo(root / "fifo")
    (root / "loop").symlink_to("loop")
    (root / "dangling").symlink_to("nowhere/at/all")
