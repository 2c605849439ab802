"""The arithmetic of comparisons on made-up work, and the command that measures rows; no time is tested."""

import itertools
import json
from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch

from benchmarks import comparison, machine, sides, table
from benchmarks.__main__ import EXAMPLES, PROGRAM, main, parser
from benchmarks.comparison import Comparison, Other, measure
from benchmarks.sides import Work
from cqlib.util.provenance import GitInfo

CPU = torch.device("cpu")


def here(m):
    """A turn is a run in this process, and takes as many seconds as the work itself returns, and megabytes as its
    number says; the first takes less than later ones."""
    works = [side(CPU) for side in m.sides()]
    taken = [itertools.count(1_000_000 * k) for k in range(1, len(works) + 1)]
    return [lambda w=work, more=more: (w.run() / w.units, next(more)) for work, more in zip(works, taken, strict=True)]


def measured(m):
    return measure(m, CPU, here(m))


def made_up(name="a", ours=(9.0, 1.0, 3.0, 2.0), other=(9.0, 10.0, 42.0, 18.0), target=10.0, calls=None, units=1.0):
    """A measurement of so many seconds; the first of each is the round that warms up."""
    calls = [] if calls is None else calls

    def side(called, values):
        left = iter(values)

        def once():
            calls.append(called)
            return next(left)

        return lambda device: Work(once, units)

    return Comparison(name, side("ours", ours), (Other("b", side("other", other), target),), len(ours) - 1)


def test_a_result_is_the_median_ratio_with_the_spread_of_the_rounds():
    calls = []
    (r,) = measured(made_up(calls=calls))
    assert calls == ["ours", "other", "other", "ours"] * 2
    assert (r.ours_s, r.other_s, r.ratio, r.n) == (2.0, 18.0, 10.0, 3)  # of 10, 14 and 9
    assert (r.ratio_low, r.ratio_high) == (9.0, 14.0)
    assert r.holds and not measured(made_up(target=10.1))[0].holds
    assert "CPU" in r.device and r.about == "time"


def test_times_are_for_a_unit_and_targets_for_a_kind_of_device():
    (r,) = measured(made_up(units=4.0))
    assert (r.ours_s, r.other_s, r.ratio) == (0.5, 4.5, 10.0)
    other = Other("b", lambda device: Work(lambda: 1.0), cpu=1.5, cuda=4.0)
    assert (other.target(CPU), other.target(torch.device("cuda"))) == (1.5, 4.0)


def test_each_other_side_has_its_result():
    one, two, three = (lambda device, s=s: Work(lambda: s) for s in (1.0, 2.0, 3.0))
    results = measured(Comparison("a", one, (Other("b", two), Other("c", three, 5.0))))
    assert [(r.other, r.ratio, r.holds) for r in results] == [("b", 2.0, True), ("c", 3.0, False)]


def test_work_done_is_set_against_the_peak(monkeypatch):
    monkeypatch.setattr(comparison, "peak_flops", lambda device, format: 1e9)
    a = torch.ones(10, 20)

    def run():
        _ = a @ a.T
        return 2.0

    ours = Work(run, units=2.0, images=64, format=torch.float32)
    other = Work(lambda: (run(), 1.0)[1], units=1.0)  # per unit twice as much
    (r,) = measured(Comparison("a", lambda device: ours, (Other("b", lambda device: other),), 1))
    assert r.work_ratio == 0.5 and "0.50 times the other's multiply-adds" in table.lines(r)[1]
    assert r.images_per_s == 64 and r.flops_per_s == 2 * 10 * 20 * 10 / 2 and r.peak_flops_per_s == 1e9


def test_the_time_within_convolutions_is_a_part_of_the_time(monkeypatch):
    """Forward and backward are counted, and nothing else."""
    ticks = iter(range(100))
    monkeypatch.setattr(machine.time, "perf_counter", lambda: next(ticks) ** 2)
    x, w = torch.randn(2, 3, 8, 8), torch.randn(4, 3, 3, 3, requires_grad=True)

    def run():
        (torch.nn.functional.conv2d(x, w).exp() @ torch.ones(6, 6)).sum().backward()
        return 40.0

    assert machine.convolution_seconds(run) == (1 - 0) + (9 - 4)
    ticks = iter(range(100))
    monkeypatch.setattr(comparison, "peak_flops", lambda device, format: 1e9)
    ours = Work(run, units=2.0, format=torch.float32)
    (r,) = measured(Comparison("a", lambda device: ours, (Other("b", lambda device: ours),), 1))
    assert r.convolutions_s == 3.0 and r.ours_s == 20.0


def test_operations_of_a_gradient_penalty_are_counted():
    x, w = torch.randn(2, 3, 8, 8, requires_grad=True), torch.randn(4, 3, 3, 3, requires_grad=True)
    once = 2 * 2 * 64 * 4 * 27

    def forward():
        return torch.nn.functional.conv2d(x, w, padding=1)

    def penalty():
        (g,) = torch.autograd.grad(forward().square().sum(), x, create_graph=True)
        g.square().sum().backward()

    assert machine.operations(forward) == once
    assert machine.operations(lambda: forward().sum().backward()) == 3 * once
    assert machine.operations(penalty) > 4 * once


def test_measuring_leaves_the_random_state_alone():
    state = torch.get_rng_state()
    side = lambda device: Work(lambda: torch.rand(1))  # noqa: E731
    measure(Comparison("a", side, (Other("b", side),), 1), CPU, [lambda: (1.0, 0)] * 2)
    assert torch.equal(torch.get_rng_state(), state)


# --- the table and the command -------------------------------------------------------------------------------


@pytest.fixture
def rows(monkeypatch):
    """Two rows that are made up, and no processes for their sides."""
    monkeypatch.setattr(table, "ROWS", {m.name: m for m in (made_up("first"), made_up("second", target=11.0))})
    monkeypatch.setattr(sides, "turns", lambda name, sides: nullcontext(here(table.ROWS[name])))


def test_the_command_prints_each_row_and_writes_json(tmp_path, capsys, rows, monkeypatch):
    path = tmp_path / "new" / "bench.json"
    monkeypatch.setattr(table.provenance, "git_info", lambda *_: GitInfo("ab" * 20, True))
    assert main(["--json", str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 6 and lines[0].startswith("CPU")
    assert " holds " in lines[2] and "does not hold" in lines[4] and "memory 1 MB, other 2 MB" in lines[3]
    found = json.loads(path.read_text())["ratios"]
    keys = {"name", "ours_s", "other", "other_s", "ratio", "target", "holds", "n", "device"}
    assert [row["holds"] for row in found] == [True, False] and all(keys <= set(row) for row in found)
    assert [row["other_bytes"] for row in found] == [2_000_000] * 2
    assert {row["commit"] for row in found} == {"ab" * 20 + "+"}


def test_rows_of_this_commit_are_not_measured_again_and_others_replaced(tmp_path, capsys, monkeypatch):
    """A row that was measured at another commit, or on changed code, is; one that is no more goes."""
    path, commit = tmp_path / "x.json", GitInfo("ab" * 20, False)
    monkeypatch.setattr(table.provenance, "git_info", lambda *_: commit)
    ratio = comparison.Ratio.of_rounds("first", [1.0], "b", [2.0], 1.0, "CPU")
    for name in ("first", "second", "third", "gone"):
        monkeypatch.setitem(table.ROWS, name, made_up(name))
        table.write(path, [replace(ratio, name=name, commit=commit.commit if name == "first" else "cd" * 20)])
    monkeypatch.setattr(table, "ROWS", {name: made_up(name) for name in ("first", "second", "third")})
    monkeypatch.setattr(sides, "turns", lambda name, sides: nullcontext(here(table.ROWS[name])))
    assert main(["first", "second", "--json", str(path)]) == 0
    assert "first                was measured at this commit" in capsys.readouterr().out
    found = {r.name: (r.ratio, r.commit[:2]) for r in table.read(path)}
    assert found == {"first": (2.0, "ab"), "second": (10.0, "ab"), "third": (2.0, "cd")}
    commit = GitInfo("ab" * 20, True)
    for target in (1.0, 2.0):
        monkeypatch.setattr(table, "ROWS", {"second": made_up("second", target=target)})
        assert main(["--json", str(path)]) == 0
        assert [r.target for r in table.read(path)] == [target]


def test_rows_are_selected_by_name_and_errors_are_one_line(capsys, rows):
    assert main(["second"]) == 0
    assert "first" not in capsys.readouterr().out
    for words, message in (["secnd"], "unknown row 'secnd': did you mean 'second'?"), (["--jsn"], "--json"):
        with pytest.raises(SystemExit) as caught:
            main(words)
        out, err = capsys.readouterr()
        assert caught.value.code == 2 and out == "" and message in err and len(err.splitlines()) == 1


def test_help_has_examples_that_are_commands(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    shown = capsys.readouterr().out
    for line in EXAMPLES:
        given = parser().parse_args(line.removeprefix(PROGRAM).split())
        assert f"  {line}\n" in shown and set(given.rows) <= set(table.ROWS)


def test_the_device_is_that_of_the_option(monkeypatch, rows):
    monkeypatch.setenv("CQLIB_DEVICE", "")
    seen = []
    monkeypatch.setattr(table, "select", lambda names, kind: seen.append(kind) or [])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert main(["--device", "cpu"]) == 0 and seen == ["cpu"]


def test_what_is_done_is_written_before_the_next_one(tmp_path, monkeypatch, rows):
    def broken(device):
        raise RuntimeError("no")

    monkeypatch.setitem(table.ROWS, "third", Comparison("third", broken, ()))
    monkeypatch.setattr(sides, "turns", lambda name, numbers: nullcontext(here(table.ROWS[name])))
    with pytest.raises(RuntimeError):
        table.measure_rows([], tmp_path / "x.json")
    assert [row.name for row in table.read(tmp_path / "x.json")] == ["first", "second"]


def test_a_library_that_is_missing_is_named_and_the_rest_measured(capsys, rows, monkeypatch):
    side = lambda device: Work(lambda: 1.0)  # noqa: E731
    row = Comparison("a", side, (Other("b", side), Other("c", side, needs="no_such_package")), 1)
    monkeypatch.setattr(sides, "turns", lambda _, of: nullcontext([lambda k=k: (1.0 + k, 10 * (k + 1)) for k in of]))
    assert [r.other for r in row.results(CPU)] == ["b"]


def test_sides_are_numbered_as_registered_where_one_is_missing(monkeypatch):
    """The package of the first other is not installed: the second keeps its number."""
    side = lambda device: Work(lambda: 1.0)  # noqa: E731
    row = Comparison("a", side, (Other("b", side, needs="no_such_package"), Other("c", side)), 1)
    monkeypatch.setattr(sides, "turns", lambda _, of: nullcontext([lambda k=k: (1.0 + k, 10 * (k + 1)) for k in of]))
    (r,) = row.results(CPU)
    assert (r.other, r.ours_s, r.other_s, r.ours_bytes, r.other_bytes) == ("c", 1.0, 3.0, 10, 30)


def test_registered_rows_and_their_targets():
    targets = {(name, o.words): (o.cpu, o.cuda) for name, m in table.ROWS.items() if isinstance(m, Comparison)
               for o in m.others}  # fmt: skip
    of = lambda name: [t for (row, _), t in targets.items() if row == name]  # noqa: E731
    assert of("cqf-step") == [(1.5, 4.0), (1.5, 1.0)]
    assert of("flow-inverse")[-1][0] == 1.5 and of("features-lite0")[0][0] == 2.0
    assert {t[0] for t in of("data-feeding")} == {10.0}
    assert of("pixelcnnpp-sampling") == [(30, 30)] and of("pixelrnn-sampling") == [(5, 5)]
    assert of("kernel-distance") == [(3.0, 1.0)] and of("pixelcnnpp-step") == of("vae-iaf-step") == [(1.0, 1.0)]
    assert {"gan-step", "sngan-step", "nvp-step", "memory-growth", "cost-over-side"} <= set(table.ROWS)
    on = {kind: {row.name for row in table.select([], kind)} for kind in ("cpu", "cuda")}
    assert on["cuda"] - on["cpu"] == {"cqf-paper-memory"}
    assert on["cpu"] - on["cuda"] == {"workers", "time-to-quality", "frechet-distance", "kernel-distance"}
