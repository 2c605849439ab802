"""Durations and numbers in words, text from outside without paths, Markdown tables."""

import pytest

from cqlib.util.text import duration, markdown_table, signed, without_paths


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(40, "40 s"), (11_100, "3 h 05 min"), (89.6, "90 s"), (172_700, "47 h 58 min"), (1e8, "1,157.4 days")],
)
def test_durations_read_well(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("table1/vae at 3 it/s, n/a", None),
        ("https://arxiv.org/abs/1901.01091", None),
        ("notebooks/table1.html", None),
        ("/usr/lib/x.so failed", "x.so failed"),
        ("folder:~/photos/cats", "folder:cats"),
        ("C:\\Users\\me\\x.npz", "x.npz"),
    ],
)
def test_only_absolute_paths_are_cut(text, kept):
    assert without_paths(text) == (text if kept is None else kept)


def test_signed_numbers_have_a_true_minus_and_zero_has_none():
    assert [signed(x, 2) for x in (0.244, -0.4, -0.004, 0.0)] == ["+0.24", "−0.40", "+0.00", "+0.00"]
    assert signed(-1234.5, 1) == "−1,234.5"


def test_a_bar_in_a_cell_does_not_end_it():
    assert markdown_table(["a", "b"], [["KL(p || q)", "1"]]).splitlines()[2] == "| KL(p \\|\\| q) | 1 |"
