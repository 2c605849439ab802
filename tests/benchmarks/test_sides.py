"""Sides answer from processes of their own, with their seconds and their memory."""

import contextlib
import io
import runpy
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from benchmarks import sides
from benchmarks.sides import Work
from benchmarks.table import ROWS
from cqlib.util.errors import UserError

CPU = torch.device("cpu")


@pytest.mark.slow
def test_memory_of_a_side_is_what_it_takes_beyond_the_start():
    """In a fresh process, for this one has memory to give back and to use again."""
    code = """
import torch
from benchmarks import sides
from benchmarks.sides import Work
cpu, held = torch.device("cpu"), []
assert sides.highest(cpu) >= 0.9 * sides.resident(cpu) > 10**7
sides.answer(lambda device: Work(lambda: held.append(torch.ones(2**23))), cpu)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, input="\n\n")
    assert done.returncode == 0, done.stderr
    once, twice = (int(line.split()[1]) for line in done.stdout.splitlines())
    assert 4 * 2**23 <= once < 16 * 2**23 and twice >= once + 0.9 * 4 * 2**23


@pytest.mark.slow
def test_sides_take_their_turns_in_processes_of_their_own(monkeypatch):
    """Each answers with its own seconds and bytes, as often as it is asked, and ends with the row."""
    asked, process = [], sides.process

    @contextlib.contextmanager
    def heard(what, module, *arguments):
        with process(what, module, *arguments) as ask:
            yield lambda: asked.append((module, *arguments)) or ask()

    monkeypatch.setattr(sides, "process", heard)
    with sides.turns("data-feeding", [0, 1]) as (ours, other):
        (first, taken), (theirs, _), (again, more) = ours(), other(), ours()
    assert asked == [("benchmarks.side_process", "data-feeding", number) for number in "010"]
    assert min(first, theirs, again) > 0 and 0 < taken <= more


@pytest.mark.parametrize("number", [0, 1])
def test_a_process_prepares_the_side_of_its_number(monkeypatch, number):
    prepared, both = [], ("ours", "the other")
    monkeypatch.setitem(ROWS, "a row", SimpleNamespace(sides=lambda: both))
    monkeypatch.setattr(sys, "argv", ["side_process", "a row", str(number)])
    monkeypatch.setattr(sides, "answer", lambda side, device: prepared.append(side))
    runpy.run_module("benchmarks.side_process", run_name="__main__")
    assert prepared == [both[number]]


@pytest.mark.parametrize(("words", "last"), [("echo why >&2", "why"), ("", "no word of why")])
def test_a_process_that_ends_is_an_error_of_one_line(monkeypatch, tmp_path, words, last):
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\n{words}\nexit 1\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    with pytest.raises(UserError, match=f"^side 7 of data-feeding could not be measured: {last}$"):
        with sides.turns("data-feeding", [7]) as (broken,):
            broken()


def test_a_process_answers_every_line(monkeypatch, capsys):
    calls = []
    monkeypatch.setattr(sides, "wall_clock", lambda run, device: run())
    monkeypatch.setattr(sides, "resident", lambda device: 100)
    monkeypatch.setattr(sides, "highest", lambda device: 100 + len(calls))
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n\n"))
    sides.answer(lambda device: Work(lambda: calls.append(1) or 6.0, units=2.0), CPU)
    assert capsys.readouterr().out == "3.0 1\n3.0 2\n"


@pytest.mark.slow
def test_a_process_has_the_threads_that_it_is_given(tmp_path):
    (tmp_path / "count.py").write_text("import torch\nprint(torch.get_num_threads())\n")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("PYTHONPATH", str(tmp_path))
        for n in (1, 2):
            with sides.process("threads", "count", threads=n) as ask:
                assert ask() == f"{n}\n"
