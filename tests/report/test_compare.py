"""Why two numbers differ: the true cause is named first, and the spread over seeds is a quantile of theirs."""

from __future__ import annotations

from dataclasses import replace

import fake_records
import pytest
from scipy.stats import norm, t

from cqlib.cli import commands as cli
from cqlib.experiments import ablations
from cqlib.experiments.record import read_record, write_record
from cqlib.report import compare
from cqlib.util.errors import UserError

BASE = fake_records.record("table1/cq-f", config={"recipe": {"system": {"quality_weight": 100.0},
                           "training": {"steps": 3000}}, "n_train": 300, "evaluation": {}},
                           device="CPU AMD EPYC, 1 thread, bf16 convolutions")  # fmt: skip
FD = "FD-lite0"


def metric(name: str, **values):
    return {"metrics": {**BASE.metrics, name: replace(BASE.metrics[name], **values)}}


def renamed(old: str, new: str):
    return {"metrics": {name.replace(old, new): metric for name, metric in BASE.metrics.items()}}


def recipe(part: str, **values):
    changed = {**BASE.config["recipe"][part], **values}
    return {"config": {**BASE.config, "recipe": {**BASE.config["recipe"], part: changed}}}


def data(**values):
    return {"data": replace(BASE.data, **values)}


CASES = {
    "model": {"row": "table1/cq"},
    "status": {"status": "diverged"},
    "data set": data(name="cifar10"),
    "size of its images": data(shape=(2000, 3, 32, 32)),
    "images (fingerprint)": data(fingerprint="0" * 16),
    "split": data(split="train"),
    f"n of {FD}": metric(FD, n=500, protocol=BASE.metrics[FD].protocol.replace("= 1000", "= 500")),
    "features": renamed("FD-lite0", "FID"),
    "protocol of FD-lite0": metric(FD, protocol=BASE.metrics[FD].protocol.replace("bicubic to 224", "bicubic to 96")),
    "profile": {"profile": "study"},
    "system.quality_weight": recipe("system", quality_weight=25.0),
    "training.steps": recipe("training", steps=9000),
    "n_train": {"config": {**BASE.config, "n_train": 500}},
    "steps taken": {"steps": 4000},
    "seed": {"seed": 1},
    "precision": {"device": "CPU AMD EPYC, 1 thread, fp32"},
    "device": {"device": "CPU Intel Xeon, 1 thread, bf16 convolutions"},
    "threads": {"device": "CPU AMD EPYC, 2 threads, bf16 convolutions"},
    "commit": {"git": replace(BASE.git, dirty=True)},
    "version of torch": {"versions": {**BASE.versions, "torch": "2.11.0"}},
}
"""In the order of weight: what differs, and a record in which it alone does."""


@pytest.mark.parametrize("what", CASES)
def test_what_alone_differs_is_named_alone(what):
    other = replace(BASE, **CASES[what])
    assert [found[0] for found in compare.differences(BASE, other)] == [what]


@pytest.mark.parametrize("together", [("seed", "data set", "commit"), ("threads", "profile", f"n of {FD}"),
                                      ("version of torch", "training.steps", "precision")])  # fmt: skip
def test_of_three_the_weightiest_comes_first(together):
    other = BASE
    for what in together:
        other = replace(other, **CASES[what])
    assert [found[0] for found in compare.differences(BASE, other)] == sorted(together, key=list(CASES).index)


def test_a_record_and_its_copy_differ_in_nothing():
    words = "\n".join(compare.lines(BASE, BASE))
    assert compare.differences(BASE, BASE) == [] and "differ in nothing that moves a number" in words


def seeds(*values: float):
    bpd = BASE.metrics["BPD"]
    config = [{**BASE.config, "seed": seed} for seed in range(len(values))]
    return [replace(BASE, seed=seed, config=config[seed], metrics={"BPD": replace(bpd, value=value)})
            for seed, value in enumerate(values)]  # fmt: skip


def test_the_spread_is_that_of_the_difference_of_two_seeds():
    """Of independent normal values with standard deviation s it is s sqrt(2) wide; s is estimated."""
    runs = seeds(4.0, 4.2, 4.4)  # s = 0.2
    (number,) = compare.shared_numbers(runs[0], runs[2], runs)
    assert number.spread == pytest.approx(t.ppf(0.975, 2) * 0.2 * 2**0.5) and "inside" in number.verdict
    many = seeds(*(norm.ppf((k + 0.5) / 400) for k in range(400)))
    assert compare.shared_numbers(many[0], many[1], many)[0].spread == pytest.approx(1.96 * 2**0.5, rel=0.01)
    far = seeds(9.0)[0]
    assert "outside" in compare.shared_numbers(runs[0], far, runs)[0].verdict
    assert "not known" in compare.shared_numbers(runs[0], far, runs[:1])[0].verdict
    others = [replace(run, config={**run.config, "other": 1}) for run in seeds(1.0, 7.0)]
    spreads = [compare.shared_numbers(*pair, [*runs, *others])[0].spread for pair in ((runs[0], others[0]), others)]
    assert spreads[0] == number.spread < spreads[1]  # of the first one's recipe
    assert compare.shared_numbers(far, others[0], others)[0].spread == spreads[1]  # else of the second's


@pytest.fixture
def published(tmp_path, monkeypatch):
    """Two published runs and one of an ablation, the first is `BASE`: their names."""
    folder = tmp_path / "published"
    monkeypatch.setattr(compare, "RECORDS", folder / "records")
    monkeypatch.setattr(ablations, "PUBLISHED", folder / "ablations")
    changed = replace(BASE, seed=100, changes={"system.quality_weight": 7.0})
    runs = (BASE, replace(BASE, seed=1), changed)
    for run, place in zip(runs, ("records", "records", "ablations"), strict=True):
        write_record(run, folder / place)
    return [run.folder for run in runs]


def test_a_run_is_found_by_name_folder_or_file(tmp_path, published):
    name, other, _ = published
    file = compare.RECORDS / f"{name}.json"
    for first in (name, str(file)):
        assert compare.pair(first, other, tmp_path)[0] == BASE
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "record.json").write_text(file.read_text())
    for second in ("mine", str(tmp_path / "mine")):
        assert compare.pair(other, second, tmp_path)[1] == BASE
    with pytest.raises(UserError, match=f"did you mean '{name}'"):
        compare.pair(name[:-3] + "-0", other, tmp_path)
    (tmp_path / "mine" / "record.json").write_text("{")
    with pytest.raises(UserError, match="record.json: Invalid JSON"):
        compare.pair(other, "mine", tmp_path)


def test_a_run_is_set_beside_the_published_one_of_its_name(tmp_path, published):
    """By that name, by its folder, or where both names mean the run here; never beside itself."""
    name, _, changed = published
    file = str(compare.RECORDS / f"{name}.json")
    mine = replace(BASE, metrics={"BPD": replace(BASE.metrics["BPD"], value=9.0)})
    write_record(mine, tmp_path / name, "record.json")
    for names in ([name], [str(tmp_path / name)], [name, name], [name, file]):
        assert compare.pair(*names, runs_dir=tmp_path) == (mine, BASE)
    for names in ([file], [name, name]):
        with pytest.raises(UserError, match="is published, and not in .*: add the record to compare it with"):
            compare.pair(*names, runs_dir=tmp_path / "nowhere")
    assert compare.pair(changed, name, tmp_path)[1] == mine


def test_the_command_prints_the_answer(capsys, published):
    first, second = published[:2]
    assert cli.main(["compare", first, second]) == 0
    records = (read_record(compare.RECORDS / f"{name}.json") for name in (first, second))
    assert capsys.readouterr().out.splitlines() == list(compare.lines(*records))
