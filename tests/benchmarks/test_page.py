"""docs/performance.md says what the files say; a miss is reported first, and as plainly as a success."""

from dataclasses import replace
from xml.etree import ElementTree

import pytest

from benchmarks import page, pictures, table
from benchmarks.comparison import Ratio
from benchmarks.cost import Growth
from benchmarks.time_to_quality import Learning

ROW = Ratio("cqf-step", 0.3, "a textbook loop", 0.36, 1.2, 1.5, False, 5, "CPU X, fp32", 1.1, 1.25, flops_per_s=5e10,
            peak_flops_per_s=1e11, convolutions_s=0.225, ours_bytes=1, other_bytes=2, commit="a" * 40)  # fmt: skip
MET = replace(ROW, name="memory-growth", about="memory", holds=True, ours_bytes=373_000_000, flops_per_s=None, n=1,
              other="after 200 steps", ours="after 1,000", device="CPU Y", commit="b" * 40 + "+")  # fmt: skip
GROWN = Growth("cost-over-batch", "images in a batch", (8, 16, 32), ((0.1, 0.2, 0.1), (0.2,) * 3, (0.4,) * 3),
               (10**8, 2 * 10**8, 4 * 10**8), "CPU X")  # fmt: skip
LEARNED = Learning("time-to-quality", "ours", 101, (500, 1000), (10.0, 20.0), {"BPD": (5.0, 4.0), "FD": (9.0, 9.0)},
                   {"BPD": 4.5, "FD": 9.5}, "CPU X", "c" * 40)  # fmt: skip
SHARED = [replace(Ratio.of_rounds("workers", [30.0], "1 process", [50.0], 5 / 3, "CPU X"), ours="2 processes"),
          replace(Ratio.of_rounds("workers", [30.0], "1 process of 2 threads", [45.0], 1.0, "CPU X"),
                  ours="2 processes")]  # fmt: skip
ALL = [ROW, MET, GROWN, *SHARED, LEARNED, replace(LEARNED, side="textbook")]


def test_what_is_missed_is_said_with_its_machine_and_commit():
    text = page.missed([ROW, MET])
    assert text.startswith("1 of 2 targets are missed:")
    line = ("| CPU X, fp32 (commit aaaaaaa) | `cqf-step` | a textbook loop | 300 ms | 360 ms | 1.2 (1.1 to 1.25) | 1.5 "
            "| 50% | 75% |")  # fmt: skip
    assert line in text.splitlines() and "memory-growth" not in text
    assert page.missed([MET]) == "All 1 targets are met."


def test_each_machine_has_its_table_of_what_is_met():
    text = page.met([ROW, MET, replace(MET, name="other", commit=None)])
    assert "cqf-step" not in text and text.startswith("CPU Y (commits bbbbbbb+, unknown):")
    line = "| `memory-growth` | after 200 steps; ours: after 1,000 | 373 MB | 0 MB | 1.2 (one round) | 1.5 |  | 75% |"
    assert line in text.splitlines()


def test_a_side_that_does_other_work_says_how_much():
    more, same = (page.missed([replace(ROW, work_ratio=ratio)]) for ratio in (1.6, 1.02))
    assert "a textbook loop (0.62 times our multiply-adds, in convolutions and products) |" in more
    assert "a textbook loop |" in same


def test_cost_quality_and_workers_are_told_or_not_measured_yet():
    for part in (page.cost, page.quality, page.efficiency, page.met):
        assert part([]) == "Not measured yet."
    assert "| images in a batch | 8 to 32 | 1.00 ± 0.00 | 1.00 ± 0.00 | 100 ms, 100 MB | 400 ms, 400 MB |" in page.cost(
        [GROWN]
    )
    text = page.quality([LEARNED, replace(LEARNED, side="textbook", bounds={"BPD": 3.0, "FD": 9.5})])
    assert "seed 101, commit ccccccc; bounds: BPD at most 4.5, FD at most 9.5." in text
    assert "| ours | 15 s | 1,000 | 20 s | 4 | 9 |" in text and "| textbook | not reached | 1,000 |" in text
    text = page.efficiency([ROW, *SHARED])
    assert "- 2 processes against 1 process: 30 s against 50 s, 1.67 times as fast, efficiency 83%" in text
    assert text.splitlines()[3].endswith("of 2 threads: 30 s against 45 s, 1.50 times as fast")


def test_entries_come_back_from_their_files(tmp_path, monkeypatch):
    monkeypatch.setattr(table, "ROWS", {entry.name: None for entry in ALL})
    table.write(tmp_path / "a.json", ALL[:3])
    table.write(tmp_path / "b.json", ALL[3:])
    (tmp_path / page.DEFAULT.name).write_text("{}")
    assert page.entries(tmp_path) == ALL


@pytest.mark.parametrize("name", pictures.PICTURES)
def test_pictures_are_files_of_their_own_with_their_words(name):
    words, draw = pictures.PICTURES[name]
    assert draw([]) == ""
    svg = draw(ALL)
    root = ElementTree.fromstring(svg)
    assert root.get("aria-label") == words and root[0].get("fill") == pictures.PAPER and svg == draw(ALL)
    shown = "".join(root.itertext())
    expected = {"cost": ["exponent 1.00", "images in a batch"], "time_to_quality": ["textbook", "BPD", "FD"],
                "workers": ["1 process of 2 threads", "45 s", "30 s"]}  # fmt: skip
    assert all(part in shown for part in expected[name])


def test_the_page_is_rendered_from_the_published_files():
    """`python -m benchmarks --markdown` renews it and its pictures."""
    text, found = page.PAGE.read_text(), page.entries()
    assert page.render(text, found) == text
    for name, (_, draw) in pictures.PICTURES.items():
        assert (page.PAGE.parent / "performance" / f"{name}.svg").exists() == bool(draw(found))


def test_times_have_a_fitting_unit():
    assert [page._seconds(value) for value in (5810.4, 9.96, 0.0123, 1.17e-4, 3e-7)] == [
        "5,810 s", "9.96 s", "12.3 ms", "117 µs", "0.3 µs"]  # fmt: skip
