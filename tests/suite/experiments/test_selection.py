"""What a notebook's parameters choose: finished runs, trained models, and the published ones in their place."""

from dataclasses import replace

import pytest
from fake_records import record
from published_models import publish_untrained

from cqlib.suite.experiments.experiment import experiment
from cqlib.suite.experiments.load import find_model
from cqlib.suite.experiments.record import write_record
from cqlib.suite.experiments.rows import default_data
from cqlib.suite.experiments.selection import Selection
from cqlib.util.errors import UsageError, UserError


def test_only_what_has_finished_is_read_and_nothing_is_trained(tmp_path):
    e = experiment("table2/cqf-residual", "smoke", "photos10", 0)
    done = record("table2/cqf-residual", profile="smoke", config_hash=e.config_hash)
    write_record(done, tmp_path / experiment(done.row, "smoke").folder, "record.json")
    changed = record("table2/cqf-iaf-residual", profile="smoke", config_hash="of another recipe")
    write_record(changed, tmp_path / experiment(changed.row, "smoke").folder, "record.json")
    other = experiment("table2/cqf-residual", "smoke", "cifar10", 0)
    on_other = record("table2/cqf-residual", profile="smoke", data="cifar10", config_hash=other.config_hash)
    write_record(on_other, tmp_path / experiment(done.row, "smoke", "cifar10").folder, "record.json")
    rows = ["table2/cqf", "table2/cqf-residual", "table2/cqf-iaf-residual"]
    chosen = Selection(rows, "smoke", seeds=[0, 1], data=["photos10"], runs_dir=tmp_path)
    before = sorted(tmp_path.rglob("*"))
    found = chosen.finished()
    assert [(r.row, r.seed) for r in found] == [("table2/cqf-residual", 0)]
    assert {r.data.name for r in replace(chosen, data=[]).finished()} == {"photos10", "cifar10"}
    assert not replace(chosen, seeds=[1]).finished()
    assert not replace(chosen, profile="quick").finished() and replace(chosen, profile="quick").finished(["smoke"])
    assert not replace(chosen, changes={"training.steps": 7}).finished()  # of the plain rows
    assert sorted(tmp_path.rglob("*")) == before


def test_the_published_run_stands_in_for_one_that_is_not_there(tmp_path, monkeypatch):
    rows = ("table3/sngan", "table1/cq-f")
    publish_untrained(tmp_path, monkeypatch, "table1/cq-f", data=default_data("table1/cq-f", "quick")[0])
    chosen = Selection(rows, "smoke", ["photos10"], [3], runs_dir=tmp_path)
    found = chosen.find()
    assert list(found) == ["table1/cq-f"] and found["table1/cq-f"].experiment.profile == "quick"
    assert Selection(rows, runs_dir=tmp_path).find(required=["table3/sngan"]) == {}
    monkeypatch.setattr("cqlib.suite.experiments.load.PUBLISHED", tmp_path)
    assert chosen.find() == {}
    with pytest.raises(UserError, match="python -m cqlib train table1/cq-f --profile smoke --data photos10 --seed 3"):
        find_model(chosen.first("table1/cq-f"), tmp_path)


def test_changes_choose_other_runs_and_a_wrong_one_is_refused_at_once(tmp_path, monkeypatch):
    rows, data = ("table1/cq-f", "table1/vae"), default_data("table1/vae", "quick")[0]
    publish_untrained(tmp_path, monkeypatch, *rows, data=data)
    with pytest.raises(UsageError, match="did you mean 'training.steps'"):
        Selection(profile="smoke", changes={"training.step": 7}, runs_dir=tmp_path)
    chosen = Selection(("table1/cq-f", "table1/vae"), "smoke", changes={"system.flow.width": 6}, runs_dir=tmp_path)
    assert chosen.first("table1/cq-f").changes == {"system.flow.width": 6}
    with pytest.raises(UsageError, match="table1/vae"):
        chosen.run()
    assert [path.name for path in tmp_path.iterdir()] == ["published"]
    found = chosen.find()  # VAE has no f; nothing is trained: the published models of the plain rows
    assert {row: one.experiment.changes for row, one in found.items()} == {"table1/cq-f": {}, "table1/vae": {}}
    other = replace(chosen, rows=("table1/vae", "table1/cq-f"))  # any row may be the one that takes the change
    assert other.find().keys() == other.find(rows=["table1/vae"]).keys() | {"table1/cq-f"}
    assert other.finished() == []
    with pytest.raises(UsageError, match="unknown setting of table1/vae 'system.flow.widht'"):
        replace(other, changes={"system.flow.widht": 6})
    with pytest.raises(UsageError, match="did you mean 'table1/vae'"):
        replace(other, rows=("table1/cq-f", "table1/vea"))
