"""The arithmetic of the benchmarks on made-up work, and every side of their rows at a tiny size; no time is tested."""

import io
import json
import math
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch

from benchmarks import (
    flow,
    images,
    machine,
    measuring,
    memory,
    plain,
    sampling,
    sides,
    sngan_example,
    steps,
    table,
    two_workers,
)  # fmt: skip
from benchmarks.__main__ import main
from benchmarks.measuring import Measurement, Other, Work, measure
from cqlib.models.registry import RECIPES, build
from cqlib.nets.coupling import CouplingNet, RealNVP
from cqlib.nets.real_nvp import CouplingResNet
from cqlib.util.errors import UserError
from cqlib.util.provenance import GitInfo

CPU = torch.device("cpu")


def here(m):
    """A turn is a run in this process, and takes as many seconds as the work itself returns."""
    works = [side(CPU) for side in m.sides()]
    return [lambda w=work: w.run() / w.units for work in works]


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

    return Measurement(name, side("ours", ours), (Other("b", side("other", other), target),), len(ours) - 1)


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
    results = measured(Measurement("a", one, (Other("b", two), Other("c", three, 5.0))))
    assert [(r.other, r.ratio, r.holds) for r in results] == [("b", 2.0, True), ("c", 3.0, False)]


def test_work_done_is_set_against_the_peak(monkeypatch):
    monkeypatch.setattr(measuring, "peak_flops", lambda device, format: 1e9)
    a = torch.ones(10, 20)

    def run():
        _ = a @ a.T
        return 2.0

    ours = Work(run, units=2.0, images=64, format=torch.float32)
    other = Work(lambda: (run(), 1.0)[1], units=1.0)  # per unit twice as much
    (r,) = measured(Measurement("a", lambda device: ours, (Other("b", lambda device: other),), 1))
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
    monkeypatch.setattr(measuring, "peak_flops", lambda device, format: 1e9)
    ours = Work(run, units=2.0, format=torch.float32)
    (r,) = measured(Measurement("a", lambda device: ours, (Other("b", lambda device: ours),), 1))
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
    measured(Measurement("a", side, (Other("b", side),), 1))
    assert torch.equal(torch.get_rng_state(), state)


# --- the table and the command -------------------------------------------------------------------------------


@pytest.fixture
def rows(monkeypatch):
    """Two rows that are made up, and no processes for their sides."""
    monkeypatch.setattr(table, "ROWS", {m.name: m for m in (made_up("first"), made_up("second", target=11.0))})
    monkeypatch.setattr(sides, "turns", lambda name, sides: nullcontext(here(table.ROWS[name])))
    monkeypatch.setattr(sides, "peak", lambda name, k: 1_000_000 * (k + 1))


def test_the_command_prints_each_row_and_writes_json(tmp_path, capsys, rows, monkeypatch):
    path = tmp_path / "new" / "bench.json"
    monkeypatch.setattr(table.provenance, "git", lambda: GitInfo("ab" * 20, True))
    assert main(["--json", str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 6 and lines[0].startswith("CPU")
    assert " holds " in lines[2] and "does not hold" in lines[4] and "memory 1 MB, other 2 MB" in lines[3]
    found = json.loads(path.read_text())
    keys = {"name", "ours_s", "other", "other_s", "ratio", "target", "holds", "n", "device"}
    assert [row["holds"] for row in found] == [True, False] and all(keys <= set(row) for row in found)
    assert [row["other_bytes"] for row in found] == [2_000_000] * 2
    assert {row["commit"] for row in found} == {"ab" * 20 + "+"}


def test_rows_are_selected_by_name_and_errors_are_one_line(capsys, rows):
    assert main(["second"]) == 0
    assert "first" not in capsys.readouterr().out
    for words, message in (["secnd"], "unknown row 'secnd': did you mean 'second'?"), (["--jsn"], "--json"):
        with pytest.raises(SystemExit) as caught:
            main(words)
        out, err = capsys.readouterr()
        assert caught.value.code == 2 and out == "" and message in err and len(err.splitlines()) == 1


def test_what_is_done_is_written_before_the_next_one(tmp_path, monkeypatch, rows):
    def broken(device):
        raise RuntimeError("no")

    monkeypatch.setitem(table.ROWS, "third", Measurement("third", broken, ()))
    with pytest.raises(RuntimeError):
        table.measure_rows([], tmp_path / "x.json")
    assert [row["name"] for row in json.loads((tmp_path / "x.json").read_text())] == ["first", "second"]


def test_a_library_that_is_missing_is_named_and_the_rest_measured(capsys, rows, monkeypatch):
    side = lambda device: Work(lambda: 1.0)  # noqa: E731
    row = Measurement("a", side, (Other("b", side), Other("c", side, needs="no_such_package")), 1)
    monkeypatch.setattr(sides, "turns", lambda name, sides: nullcontext([lambda k=k: 1.0 + k for k in sides]))
    assert [r.other for r in table.results(row, CPU)] == ["b"]
    assert "no_such_package is not installed: pip install" in capsys.readouterr().out


def test_registered_rows_and_their_targets():
    targets = {(name, o.words): (o.cpu, o.cuda) for name, m in table.ROWS.items() if isinstance(m, Measurement)
               for o in m.others}  # fmt: skip
    of = lambda name: [t for (row, _), t in targets.items() if row == name]  # noqa: E731
    assert of("cqf-step") == [(1.5, 4.0), (1.5, 1.0)]
    assert of("flow-inverse")[-1][0] == 1.5 and of("features-lite0")[0][0] == 2.0
    assert {t[0] for t in of("data-feeding")} == {10.0}
    assert of("pixelcnnpp-sampling") == [(30, 30)] and of("pixelrnn-sampling") == [(5, 5)]
    assert {"gan-step", "sngan-step", "nvp-step", "memory-growth"} <= set(table.ROWS)
    on = {kind: {row.name for row in table.select([], kind)} for kind in ("cpu", "cuda")}
    assert on["cuda"] - on["cpu"] == {"cqf-paper-memory"}
    assert on["cpu"] - on["cuda"] == {"cluster-two-workers"}


def test_two_workers_are_set_against_one(monkeypatch):
    """The ratio is that of one's time to that of two, round by round; 0.6 of the time just holds."""
    asked, taken = [], iter([6.0, 10.0, 9.0, 10.0, 5.0, 10.0])
    monkeypatch.setattr(two_workers, "seconds_on", lambda count: asked.append(count) or next(taken))
    (r,) = two_workers.TwoWorkers().results(CPU, rounds=3)
    assert asked == [2, 1] * 3 and (r.ours_s, r.other_s, r.n) == (6.0, 10.0, 3)
    assert r.ratio == 10 / 6 and (r.ratio_low, r.ratio_high) == (10 / 9, 2.0) and r.holds
    monkeypatch.setattr(two_workers, "seconds_on", lambda count: 6.1 if count == 2 else 10.0)
    assert not two_workers.TwoWorkers().results(CPU)[0].holds


# --- sides, each at a tiny size ------------------------------------------------------------------------------


def smoke(row):
    return lambda device: RECIPES[row](row, "smoke", 16)


@pytest.mark.parametrize("side", [
    steps.ours(smoke("table1/cq-f"), 1),
    steps.plain(smoke("table1/cq-f"), 1),
    steps.plain(smoke("table1/cq-f"), 1, steps.torchflows_f),
    steps.plain(smoke("table3/nvp"), 1, steps.torchflows_nvp),
    steps.plain(smoke("table3/sngan-hinge"), 1),
    steps.ours(smoke("table3/sngan-hinge"), 1, steps.examples_nets),
    steps.example(smoke("table3/sngan-hinge"), 1),
    flow.inverse(smoke("table1/cq-f"), passes=1),
    flow.inverse(smoke("table1/cq-f"), library=True, as_trained=False, passes=1),
    images.feed(1),
    images.plain_feed(1),
    images.torchvision_feed(0, 1),
    images.our_features(1),
    images.plain_features(1),
    sampling.pixelcnnpp(True, size=8, width=2, blocks=1, n=1),
    sampling.pixelcnnpp(False, size=8, width=2, blocks=1, n=1),
    sampling.pixelrnn(True, profile="smoke", size=8, n=1),
    sampling.pixelrnn(False, profile="smoke", size=8, n=1),
])  # fmt: skip
def test_every_side_runs(side):
    work = measuring.prepared(side, CPU)
    work.run()
    assert work.units > 0 and work.images > 0


def test_full_passes_are_extrapolated_to_all_values():
    pixels = measuring.prepared(sampling.pixelcnnpp(False, size=8, width=2, blocks=1, n=2, positions=4), CPU)
    assert pixels.units == 4 / 64
    values = measuring.prepared(sampling.pixelrnn(False, profile="smoke", size=8, n=2, positions=4), CPU)
    assert values.units == 4 / (3 * 64)


def test_the_other_feeds_give_the_images_of_the_set_flipped_or_as_floats():
    data = steps.random_images(4, 8)
    wide = torch.cat([data, data.flip(3)])
    for pil in (False, True):
        batch = next(plain.flipped_bytes(data, 8, pil=pil))
        matches = (batch[:, None] == wide[None]).all(dim=(2, 3, 4))
        assert batch.dtype == torch.uint8 and matches.any(1).all() and not matches[:, :8].any(1).all()
    floats = next(plain.floats(data, 8))
    torch.testing.assert_close(floats.sort(0).values, (data / 127.5 - 1).sort(0).values, rtol=0, atol=1e-6)


def test_both_extractions_give_the_same_features():
    ours, other = (measuring.prepared(side, CPU).run() for side in (images.our_features(2), images.plain_features(2)))
    torch.testing.assert_close(ours["1280"], other, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("scales", [1, 3])
def test_torchflows_assembly_is_invertible_with_the_log_determinant_of_its_jacobian(scales):
    library = pytest.importorskip("benchmarks.torchflows_nvp")
    torch.manual_seed(0)
    f = library.TorchflowsRealNVP((2, 8, 8), lambda c, w: CouplingNet(c, c, w, 1), 4, couplings=2, scales=scales)
    f.double()
    x = torch.randn(8, 2, 8, 8, dtype=torch.double)
    with torch.no_grad():
        for p in f.parameters():
            p.add_(0.1 * torch.randn(p.shape))
    y, log_det = f(x)
    torch.testing.assert_close(f.inverse(y), x, rtol=1e-6, atol=1e-6)
    jacobian = torch.autograd.functional.jacobian(lambda v: f(v.view(1, 2, 8, 8))[0].flatten(), x[0].flatten())
    assert log_det[0].item() == pytest.approx(torch.linalg.slogdet(jacobian).logabsdet.item(), rel=1e-6, abs=1e-6)
    assert math.fabs(log_det[0].item()) > 1e-2


def test_torchflows_assembly_has_the_nets_of_ours():
    """As many couplings at every scale: the halves that nets read have half the channels of our packed ones."""
    system = build(smoke("table1/cq-f")(CPU).system)
    ours = system.flow
    steps.torchflows_f(system)
    count = lambda f: sum(isinstance(m, CouplingNet) for m in f.modules())  # noqa: E731
    assert isinstance(ours, RealNVP) and count(ours) == count(system.flow) == 3
    widths = lambda f: {m.stem.weight.shape[0] for m in f.modules() if isinstance(m, CouplingNet)}  # noqa: E731
    assert widths(ours) == widths(system.flow)
    nvp = build(smoke("table3/nvp")(CPU).system)
    resnets = lambda: sum(isinstance(m, CouplingResNet) for m in nvp.modules())  # noqa: E731
    assert resnets() == 10
    steps.torchflows_nvp(nvp)
    assert resnets() == 10


def test_the_example_trains_both_nets(monkeypatch):
    nets = []
    for name in ("generator_net", "critic_net"):
        real = getattr(sngan_example, name)
        monkeypatch.setattr(sngan_example, name, lambda *a, real=real: nets.append(real(*a)) or nets[-1])
    batches = iter(lambda: torch.rand(4, 3, 16, 16) * 2 - 1, None)
    step = sngan_example.sngan_stepper(batches, 16, (4, 8, 16), 5, 4, CPU)
    before = [torch.cat([p.detach().flatten() for p in net.parameters()]) for net in nets]
    assert all(map(math.isfinite, step()))
    for net, start in zip(nets, before, strict=True):
        assert not torch.equal(torch.cat([p.detach().flatten() for p in net.parameters()]), start)
    assert nets[0](torch.randn(2, 5, 1, 1)).shape == (2, 3, 16, 16)


def test_our_step_on_the_examples_nets_does_the_same_work():
    recipe = smoke("table3/sngan-hinge")
    both = (steps.ours(recipe, 1, steps.examples_nets), steps.example(recipe, 1), steps.ours(recipe, 1))
    ours, example, own = (machine.operations(measuring.prepared(side, CPU).run) for side in both)
    assert ours == pytest.approx(example, rel=0.05) and own > 1.2 * example


# --- memory --------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_memory_of_a_side_is_what_it_takes_beyond_the_start():
    """In a fresh process, for this one has memory to give back and to use again."""
    code = """
import torch
from benchmarks import sides
from benchmarks.measuring import Work
cpu, held = torch.device("cpu"), []
assert sides.highest(cpu) >= 0.9 * sides.resident(cpu) > 10**7
print(sides.bytes_of(lambda device: Work(lambda: held.append(torch.ones(2**23))), cpu))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert 4 * 2**23 <= int(done.stdout) < 16 * 2**23


@pytest.mark.slow
def test_sides_take_their_turns_in_processes_of_their_own():
    """Each answers with its own seconds, as often as it is asked, and ends with the row."""
    with sides.turns("data-feeding", [0, 1]) as (ours, other):
        assert 0 < ours() < other() and 0 < ours()


@pytest.mark.parametrize(("words", "last"), [("echo why >&2", "why"), ("", "no word of why")])
def test_a_process_that_ends_is_an_error_of_one_line(monkeypatch, tmp_path, words, last):
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\n{words}\nexit 1\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    with pytest.raises(UserError, match=f"^side 7 of data-feeding could not be measured: {last}$"):
        with sides.turns("data-feeding", [7]) as (broken,):
            broken()
    with pytest.raises(UserError, match=f"^the memory of side 2 of cqf-step could not be measured: {last}$"):
        sides.peak("cqf-step", 2)


def test_a_process_answers_every_line(monkeypatch, capsys):
    calls = []
    made = [lambda device, k=k: Work(lambda: calls.append(k) or 6.0, units=2.0) for k in range(2)]
    monkeypatch.setattr(table, "ROWS", {"a": Measurement("a", made[0], (Other("b", made[1]),))})
    monkeypatch.setattr(sides, "wall_clock", lambda run, device: run())
    monkeypatch.setattr(sides, "bytes_of", lambda side, device: 100 + side(device).run())
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n\n"))
    sides.main("time", "a", "1")
    assert capsys.readouterr().out == "3.0\n3.0\n" and calls == [1, 1]
    sides.main("memory", "a", "1")
    assert capsys.readouterr().out == "106.0\n"


def test_sides_are_numbered_as_registered_where_one_is_missing(monkeypatch):
    """The package of the first other is not installed: the second keeps its number."""
    side = lambda device: Work(lambda: 1.0)  # noqa: E731
    row = Measurement("a", side, (Other("b", side, needs="no_such_package"), Other("c", side)), 1)
    monkeypatch.setattr(sides, "turns", lambda name, sides: nullcontext([lambda k=k: 1.0 + k for k in sides]))
    monkeypatch.setattr(sides, "peak", lambda name, k: 10 * (k + 1))
    (r,) = table.results(row, CPU)
    assert (r.other, r.ours_s, r.other_s, r.ours_bytes, r.other_bytes) == ("c", 1.0, 3.0, 10, 30)


@pytest.mark.slow
def test_growth_compares_the_memory_of_the_first_and_the_last_steps(monkeypatch):
    found = iter([100, 150, 104])
    monkeypatch.setattr(sides, "resident", lambda device: next(found))
    grown = memory.growth(CPU, first=2, last=6)
    assert (grown["before"], grown["after"]) == (100, 104) and grown["early_s"] > 0 and grown["late_s"] > 0


@pytest.mark.parametrize(("after", "holds"), [(100, True), (102, True), (104, False)])
def test_memory_must_not_grow(monkeypatch, after, holds):
    grown = {"early_s": 1.0, "late_s": 2.0, "before": 100, "after": after}
    monkeypatch.setattr(memory, "_growth", lambda: grown)
    (r,) = memory.Growth().results(CPU)
    assert (r.about, r.other_bytes, r.ours_bytes, r.holds) == ("memory", 100, after, holds)
    assert (r.ratio, r.ours_s, r.other_s) == (100 / after, 2.0, 1.0)


def test_paper_memory_is_set_against_16_gb(monkeypatch):
    """In the precision of the recipe."""
    tiny = smoke("table1/cq-f")(CPU)
    for autocast, format in (("off", torch.float32), ("auto", torch.bfloat16)):
        asked = replace(tiny, training=replace(tiny.training, autocast=autocast))
        recipes = {"table1/cq-f": lambda *given, r=asked: {("table1/cq-f", "paper", 32): r}[given]}
        monkeypatch.setattr(memory, "RECIPES", recipes)
        monkeypatch.setattr(steps, "fast_bf16", lambda device: True)
        assert memory.PaperMemory().sides()[0](CPU).format == format
    for used, holds in ((8 * 10**9, True), (17 * 10**9, False)):
        peaks = {("cqf-paper-memory", 0): used}
        monkeypatch.setattr(sides, "peak", lambda *asked, peaks=peaks: peaks[asked])
        (r,) = memory.PaperMemory().results(CPU)
        assert (r.ours_bytes, r.other_bytes, r.holds) == (used, 16 * 10**9, holds)
