"""docs/performance.md says what the files say; a miss is reported as plainly as a success."""

import json

from benchmarks import page

ROW = {"name": "cqf-step", "ours_s": 0.3, "other": "a textbook loop", "other_s": 0.36, "ratio": 1.2, "target": 1.5,
       "holds": False, "n": 5, "device": "CPU X, fp32", "ratio_low": 1.1, "ratio_high": 1.25, "about": "time",
       "ours_bytes": 1, "other_bytes": 2, "flops_per_s": 5e10, "peak_flops_per_s": 1e11}  # fmt: skip
MET = {**ROW, "name": "growth", "about": "memory", "holds": True, "ours_bytes": 373_000_000, "flops_per_s": None}


def test_each_machine_has_its_table_and_misses_are_named(tmp_path):
    assert page.tables(tmp_path) == "Not measured yet."
    (tmp_path / "a.json").write_text(json.dumps([ROW, MET]))
    (tmp_path / "b.json").write_text(json.dumps([{**MET, "device": "GPU Y"}]))
    text = page.tables(tmp_path)
    assert text.index("CPU X, fp32:") < text.index("GPU Y:")
    assert "| `cqf-step` | a textbook loop | 300 ms | 360 ms | 1.2 (1.1 to 1.25) | 1.5 | **does not hold** |" in text
    assert "| `growth` | a textbook loop | 373 MB |" in text
    assert "1 of 2 targets are met; missed by `cqf-step`." in text and "our steps reach 50% (`cqf-step`)" in text
    assert "All 1 targets are met." in text


def test_a_side_that_does_other_work_says_how_much(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps([{**ROW, "work_ratio": 1.6}, {**ROW, "work_ratio": 1.02}]))
    more, same = [line for line in page.tables(tmp_path).splitlines() if "`cqf-step` |" in line]
    assert "a textbook loop (0.62 times our multiply-adds, in convolutions and products) |" in more
    assert "a textbook loop |" in same


def test_the_page_is_rendered_from_the_published_files():
    """`python -m benchmarks --markdown` renews it."""
    text = page.PAGE.read_text()
    assert page.render(text) == text


def test_times_have_a_fitting_unit():
    assert [page._seconds(value) for value in (5810.4, 9.96, 0.0123, 1.17e-4, 3e-7)] == [
        "5,810 s", "9.96 s", "12.3 ms", "117 µs", "0.3 µs"]  # fmt: skip
