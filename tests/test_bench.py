"""The arithmetic of `bench` on measurements that are made up; no time is asserted."""

import json

import pytest
import torch

from cqlib import bench
from cqlib.bench import MEASUREMENTS, Measurement, measure

CPU = torch.device("cpu")


def made_up(ours=(1.0, 3.0, 2.0), other=(10.0, 40.0, 20.0), target=10.0, calls=None):
    calls = [] if calls is None else calls

    def side(name, values):
        left = iter(values)

        def once():
            calls.append(name)
            return next(left)

        return once

    return Measurement("a", "b", target, len(ours), lambda device: (side("ours", ours), side("other", other)))


def test_a_result_is_the_ratio_of_medians_with_the_spread_of_the_repetitions():
    calls = []
    r = measure(made_up(calls=calls), CPU)
    assert calls == ["ours", "other"] * 3
    assert (r.ours_s, r.other_s, r.ratio, r.n) == (2.0, 20.0, 10.0, 3)
    assert (r.ratio_low, r.ratio_high) == (10.0, pytest.approx(40 / 3))
    assert r.holds and not measure(made_up(target=10.1), CPU).holds
    assert "CPU" in r.device


def test_the_command_prints_a_line_a_row_and_writes_json(tmp_path, capsys):
    path = tmp_path / "new" / "bench.json"
    assert bench.main(path, [made_up(), made_up(target=11.0)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4 and lines[0].startswith("CPU")
    assert " holds " in lines[2] and "does not hold" in lines[3]
    rows = json.loads(path.read_text())
    keys = {"name", "ours_s", "other", "other_s", "ratio", "target", "holds", "n", "device"}
    assert [row["holds"] for row in rows] == [True, False] and all(keys <= set(row) for row in rows)


def test_what_is_done_is_written_before_the_next_one(tmp_path):
    def broken(device):
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        bench.main(tmp_path / "x.json", [made_up(), Measurement("c", "d", 1.0, 1, broken)])
    assert [row["name"] for row in json.loads((tmp_path / "x.json").read_text())] == ["a"]


def test_measuring_leaves_the_random_state_alone():
    state = torch.get_rng_state()
    measure(Measurement("a", "b", 1.0, 1, lambda device: (torch.rand(1).item, torch.rand(1).item)), CPU)
    assert torch.equal(torch.get_rng_state(), state)


def test_registered_measurements():
    assert len({m.name for m in MEASUREMENTS}) == len(MEASUREMENTS)
    by_name = {m.name: m for m in MEASUREMENTS}
    assert by_name["pixelcnnpp-sampling"].target == 30 and by_name["pixelrnn-sampling"].target == 5


def test_pixelrnn_is_timed_side_by_side():
    ours, other = bench.pixelrnn_sampling(CPU, size=16, n=1, positions=1)
    assert min(ours(), other()) > 0


def test_the_naive_sampler_is_timed_on_some_pixels_and_extrapolated(monkeypatch):
    def one_second(work, device):
        work()
        return 1.0

    monkeypatch.setattr(bench, "seconds", one_second)
    ours, other = bench.pixelcnnpp_sampling(CPU, size=8, width=2, blocks=1, n=2, positions=4)
    assert ours() == 1.0 and other() == 8 * 8 / 4
    monkeypatch.undo()
    assert bench.seconds(lambda: None, CPU) >= 0
