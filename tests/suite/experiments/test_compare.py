"""Why two numbers differ: the true cause is named first, and the spread over seeds is a quantile of theirs."""

from __future__ import annotations

from dataclasses import replace

import fake_records
import pytest
from scipy.stats import norm, t

from cqlib.suite.experiments import compare
from cqlib.suite.experiments.record import write_record
from cqlib.util.errors import UserError

RECIPE = {"system": {"quality_weight": 100.0}, "training": {"steps": 3000}}
BASE = fake_records.record("table1/cq-f", config={"recipe": RECIPE, "n_train": 300, "evaluation": {}})
FD = "FD-lite0"


CASES = {
    "row": {"row": "table1/cq"},
    "status": {"status": "diverged"},
    "data.fingerprint": {"data": replace(BASE.data, fingerprint="0" * 16)},
    "measured.FD-lite0.n": {"metrics": {**BASE.metrics, FD: replace(BASE.metrics[FD], n=500)}},
    "profile": {"profile": "study"},
    "config.recipe.system.quality_weight": {"config": {**BASE.config, "recipe": RECIPE | {
        "system": {"quality_weight": 25.0}}}},
    "steps": {"steps": 4000},
    "seed": {"seed": 1},
    "precision": {"precision": "bf16"},
    "git.dirty": {"git": replace(BASE.git, dirty=True)},
    "versions.torch": {"versions": {**BASE.versions, "torch": "2.11.0"}},
}  # fmt: skip
"""In the order of importance: what differs, and a record in which it alone does."""


def test_a_record_from_before_there_were_three_precisions_is_as_one_of_today():
    before, now = (BASE.config | {"recipe": RECIPE | {"training": training}}
                   for training in ({"steps": 3000, "bf16": False}, {"steps": 3000, "precision": "fp32"}))  # fmt: skip
    assert not compare.differences(replace(BASE, config=before), replace(BASE, config=now))


@pytest.mark.parametrize("what", CASES)
def test_what_alone_differs_is_named_alone(what):
    assert [found[0] for found in compare.differences(BASE, replace(BASE, **CASES[what]))] == [what]


def test_the_most_important_comes_first():
    other = BASE
    for what in ("versions.torch", "seed", "profile", "row"):
        other = replace(other, **CASES[what])
    assert [found[0] for found in compare.differences(BASE, other)] == ["row", "profile", "seed", "versions.torch"]
    assert "nothing differs that can change a number" in "\n".join(compare.lines(BASE, BASE))


def seeds(*values: float):
    bpd = BASE.metrics["BPD"]
    return [replace(BASE, seed=seed, config={**BASE.config, "seed": seed}, metrics={"BPD": replace(bpd, value=value)})
            for seed, value in enumerate(values)]  # fmt: skip


def test_the_spread_is_that_of_the_difference_of_two_seeds():
    """Of independent normal values with standard deviation s it is s sqrt(2) wide; s is estimated."""
    runs = seeds(4.0, 4.2, 4.4)  # s = 0.2
    assert compare.seed_spread(BASE, "BPD", runs) == (pytest.approx(t.ppf(0.975, 2) * 0.2 * 2**0.5), 3)
    many = seeds(*(norm.ppf((k + 0.5) / 400) for k in range(400)))
    assert compare.seed_spread(BASE, "BPD", many)[0] == pytest.approx(1.96 * 2**0.5, rel=0.01)
    assert compare.seed_spread(BASE, "BPD", runs[:1]) is None
    others = [replace(run, config={**run.config, "other": 1}) for run in seeds(1.0, 7.0)]
    assert compare.seed_spread(BASE, "BPD", [*runs, *others])[1] == 3
    infinite = replace(runs[0].metrics["BPD"], value=None, status="infinite")
    assert compare.seed_spread(BASE, "BPD", [*runs[1:], replace(runs[0], metrics={"BPD": infinite})]) is None


def test_runs_are_found_by_name_folder_or_file_and_beside_the_published_one(tmp_path, monkeypatch):
    published, name = tmp_path / "published", BASE.folder
    monkeypatch.setattr(compare, "PUBLISHED_FOLDERS", (published,))
    file = write_record(BASE, published)
    mine = replace(BASE, metrics={"BPD": replace(BASE.metrics["BPD"], value=9.0)})
    with pytest.raises(UserError, match="has no published run of its name beside it"):
        compare.pair(name, runs_dir=tmp_path)
    write_record(mine, tmp_path / name, "record.json")
    for first in (name, str(tmp_path / name), str(tmp_path / name / "record.json")):
        assert compare.pair(first, runs_dir=tmp_path) == compare.pair(first, str(file), tmp_path) == (mine, BASE)
    with pytest.raises(UserError, match=f"did you mean '{name}'"):
        compare.pair(name[:-3] + "-0", runs_dir=tmp_path)
