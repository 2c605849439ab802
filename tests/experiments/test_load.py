"""The finder of trained models: local runs, published weights, and the sentence where there is neither."""

import pytest

from cqlib.experiments.experiment import experiment
from cqlib.experiments.load import fetch_published, find_model, find_models
from cqlib.util.errors import UserError


def test_a_published_model_is_found_with_its_images(tmp_path):
    found = find_model(experiment("table1/cq-f"), tmp_path)
    assert (found.name, found.origin, found.source) == ("CQ-F", "published", "photos10 16×16, quick, seed 0")
    assert found.data.test.images.shape[1:] == found.model.shape and not found.model.training
    assert not list(tmp_path.iterdir())


def test_a_local_run_comes_first(tmp_path):
    e = experiment("table1/cq-f", "quick", None, 0)
    assert fetch_published(e, tmp_path)
    assert find_model(experiment("table1/cq-f"), tmp_path).origin == "local"


def test_the_published_run_stands_in_for_one_that_is_not_there(tmp_path, monkeypatch):
    rows = ("table1/vae", "table1/cq-f")
    found = find_models(rows, profile="smoke", data=["photos10"], seeds=[3], runs_dir=tmp_path)
    assert list(found) == ["table1/cq-f"] and found["table1/cq-f"].experiment.profile == "quick"
    assert find_models(rows, profile="quick", runs_dir=tmp_path, required=["table1/vae"]) == {}
    monkeypatch.setattr("cqlib.experiments.load.PUBLISHED", tmp_path)
    assert find_models(rows, profile="smoke", runs_dir=tmp_path) == {}
    with pytest.raises(UserError, match="python -m cqlib train table1/cq-f --profile smoke --data photos10 --seed 3"):
        find_model(experiment("table1/cq-f", "smoke", seed=3), tmp_path)
