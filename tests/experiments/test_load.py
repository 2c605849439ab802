"""The finder of trained models: local runs, published weights, and the sentence where there is neither."""

from cqlib.experiments.experiment import experiment
from cqlib.experiments.load import fetch_published, find_model


def test_a_published_model_is_found_with_its_images(tmp_path):
    found = find_model(experiment("table1/cq-f"), tmp_path)
    assert (found.name, found.origin, found.source) == ("CQ-F", "published", "photos10 16×16, quick, seed 0")
    assert found.data.test.images.shape[1:] == found.model.shape and not found.model.training
    assert not list(tmp_path.iterdir())


def test_a_local_run_comes_first(tmp_path):
    e = experiment("table1/cq-f", "quick", None, 0)
    assert fetch_published(e, tmp_path)
    assert find_model(experiment("table1/cq-f"), tmp_path).origin == "local"
