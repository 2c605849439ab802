"""What the notebooks of tables share, and the pictures of Table 2: records, weights, layers."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from fake_records import TABLE2, record, records
from notebook_cells import smoke_model, soup

from cqlib.metrics.metric import Metric, Protocol
from cqlib.suite.experiments import paper
from cqlib.suite.figures import architectures
from cqlib.suite.figures import common as show
from cqlib.suite.report.groups import groups
from cqlib.util.errors import UserError

ROWS = ("table1/gan", "table1/cq-f", *TABLE2)
TABLE2_ROWS = paper.row_ids("table2")


def test_pictures_are_of_the_run_set_with_most_rows_and_of_this_machine_first(published):
    with pytest.raises(UserError, match="no records yet"):
        show.most_complete(TABLE2_ROWS, show.sets_of([]))
    published(*records(2, ROWS))
    assert show.most_complete(TABLE2_ROWS, show.sets_of(records(1))).origin == "published"  # Table 1 alone
    here = show.most_complete(TABLE2_ROWS, show.sets_of(records(1, ROWS, profile="smoke")))
    assert here.label == "photos10 16×16, smoke"


def test_no_data_set_is_downloaded_for_a_picture(tmp_path, monkeypatch):
    fetched = []
    monkeypatch.setattr("cqlib.data.published.fetch", lambda entry, folder: fetched.append(entry))
    absent, here = (SimpleNamespace(data=data, size=size) for data, size in (("tiny-imagenet", 32), ("photos10", 16)))
    assert show.real_images(absent, 4, tmp_path) == {} and not fetched
    assert show.real_images(here, 4, tmp_path)["real images"].shape == (4, 3, 16, 16)


def test_models_are_those_whose_weights_are_there(tmp_path, monkeypatch):
    runs = groups(records(1, ROWS), [])[0]

    def model_of(record, runs_dir):
        if record.row != "table2/cqf-residual":
            raise UserError("not here")
        return record.row, record.seed

    monkeypatch.setattr(show, "model_of", model_of)
    assert show.models(ROWS, runs, tmp_path) == {"CQ-F + Residual": ("table2/cqf-residual", 0)}
    with pytest.raises(UserError, match="not here"):
        show.models(ROWS, runs, tmp_path, required=True)


def test_kl_by_layer_is_the_mean_over_seeds():
    def run(seed: int, **layers: float):
        metrics = {f"KL-{name}": Metric(value, None, 250, Protocol(bound="KL")) for name, value in layers.items()}
        return replace(record("table2/cqf-residual", seed), metrics=metrics)

    found = [run(0, **{"4x4-1": 0.1, "8x8-1": 0.02}), run(1, **{"4x4-1": 0.2, "8x8-1": 0.03})]
    label = soup(architectures.kl_by_layer(groups(found, [])[0])).svg["aria-label"]
    assert label.endswith("CQ-F + Residual 4x4-1 0.150, 8x8-1 0.025")


@pytest.fixture
def boards(monkeypatch):
    """What sample boards are drawn of."""
    drawn = []
    monkeypatch.setattr(architectures.plots, "sample_board", lambda rows, **_: drawn.append(rows))
    monkeypatch.setattr(architectures, "picture", lambda figure, alt: alt)
    return drawn


def test_redrawn_layers_keep_what_the_upper_layers_hold(boards, monkeypatch):
    system = smoke_model("table2/cqf-residual")
    seen = []
    monkeypatch.setattr(system.decoder, "forward", lambda noise: seen.append(noise) or (torch.zeros(4, 8, 16, 16), {}))
    architectures.redrawn({"CQ-F": smoke_model("table1/cq-f"), "CQ-F + Residual": system}, n=4)
    assert list(boards[0]) == ["CQ-F + Residual"]  # the only one with layers of latent variables
    assert list(boards[0]["CQ-F + Residual"]) == ["one draw", "8x8-1 and below redrawn", "all redrawn"]
    first, second, third = seen
    assert torch.equal(first[0], second[0]) and not torch.equal(first[1], second[1])
    assert not torch.equal(second[0], third[0]) and torch.equal(second[1], third[1])
