"""What the notebooks of tables share, and the pictures of Table 2: records, grids, layers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from fake_records import TABLE2, draw_samples, record, records
from notebook_cells import smoke_model, soup, words

from cqlib.experiments import paper
from cqlib.figures import architectures
from cqlib.figures import common as show
from cqlib.metrics.metric import Metric, Protocol
from cqlib.report.run_sets import run_sets
from cqlib.util.errors import UserError

ROWS = ("table1/gan", "table1/cq-f", *TABLE2)
TABLE2_ROWS = paper.row_ids("table2")


@pytest.fixture(scope="module")
def residual():
    """Untrained smoke systems, by label: one with layers of latent variables, one without."""
    rows = {"CQF": "table1/cq-f", "CQF + Residual": "table2/cqf-residual"}
    return {label: smoke_model(row) for label, row in rows.items()}


def test_pictures_are_of_the_run_set_with_most_rows_and_of_this_machine_first(published):
    with pytest.raises(UserError, match="no records yet"):
        show.fullest(TABLE2_ROWS, [])
    published(*records(2, ROWS))
    assert show.fullest(TABLE2_ROWS, []).origin == "published"
    assert show.fullest(TABLE2_ROWS, records(1)).origin == "published"  # Table 1 alone
    assert show.fullest(TABLE2_ROWS, records(1, ROWS, profile="smoke")).label == "photos10 16×16, smoke"


@pytest.mark.slow
def test_quality_has_a_picture_per_run_set_with_rows_of_its_own():
    assert "CQF + IAF + Residual" in words(show.quality("table2", [])) and not soup(show.quality("table2", [])).svg
    alone = words(show.quality("table2", run_sets(records(1, ("table2/cqf-residual",)), [])))
    assert "CQF + IAF + Residual" in alone and "CQF + Residual" not in alone  # which has been trained
    published = run_sets([], records(3, ROWS))
    with_table1 = [*published, *run_sets(records(1), [])]
    captions = [f.get_text() for f in soup(show.quality("table2", with_table1)).find_all("figcaption")]
    assert len(captions) == 1 and "This project" in captions[0] and "standard deviations" in captions[0]
    both = [*published, *run_sets(records(1, ROWS), [])]
    captions = [f.get_text() for f in soup(show.quality("table2", both)).find_all("figcaption")]
    assert ["bars" in caption for caption in captions] == [False, True]  # one seed, then three
    assert "This machine" in captions[0]


def test_grids_are_those_that_the_runs_left(tmp_path, published, small_real_images):
    runs = run_sets(records(1, ROWS), [])[0]
    draw_samples(list(runs.records), tmp_path)
    figures = soup(show.grids("table2", runs, tmp_path)).find_all("figure")
    labels = ["Real test images", "GAN", "GAN + Residual", "CQF", "CQF + Residual", "CQF + IAF + Residual",
              "CQF (large Discr.)", "CQF, 2 scales"]  # fmt: skip
    assert [figure.b.get_text() for figure in figures] == labels
    assert all(len(figure.find_all("img")) == 1 for figure in figures)


def test_curves_are_labelled_as_in_their_table():
    runs = run_sets(records(2, ROWS), [])[0]
    svg = soup(show.curves("table2", runs, "L_C (bits/dim)")).svg
    assert "CQF + Residual" in svg.get_text() and "CQ-F" not in svg.get_text()
    assert "CQ-F" in soup(show.curves("table1", runs, "L_C (bits/dim)")).svg.get_text()
    for table, told in (("table1", "one line per seed"), ("table2", "means over seeds")):
        caption = soup(show.curves(table, runs, "L_C (bits/dim)")).figcaption.get_text()
        assert caption == f"L_C (bits/dim), {told}."


def test_models_are_those_whose_weights_are_there(tmp_path, monkeypatch):
    runs = run_sets(records(1, ROWS), [])[0]

    def model_of(record, runs_dir):
        if record.row != "table2/cqf-residual":
            raise UserError("not here")
        return record.row, record.seed

    monkeypatch.setattr(show, "model_of", model_of)
    assert show.models(ROWS, runs, tmp_path) == {"CQF + Residual": ("table2/cqf-residual", 0)}
    with pytest.raises(UserError, match="not here"):
        show.models(ROWS, runs, tmp_path, required=True)


def test_kl_by_layer_is_the_mean_over_seeds():
    def run(seed: int, **layers: float):
        metrics = {f"KL-{name}": Metric(value, None, 250, Protocol(bound="KL")) for name, value in layers.items()}
        return replace(record("table2/cqf-residual", seed), metrics=metrics)

    found, plain = [run(0, **{"4x4-1": 0.1, "8x8-1": 0.02}), run(1, **{"4x4-1": 0.2, "8x8-1": 0.03})], records(1)
    label = soup(architectures.kl_by_layer(run_sets([*found, *plain], [])[0])).svg["aria-label"]
    assert label.endswith("CQF + Residual 4x4-1 0.150, 8x8-1 0.025")
    assert "--only table2" in words(architectures.kl_by_layer(run_sets(plain, [])[0]))


@pytest.fixture
def boards(monkeypatch):
    """What sample boards are drawn of."""
    drawn = []
    monkeypatch.setattr(architectures.plots, "sample_board", lambda rows, **_: drawn.append(rows))
    monkeypatch.setattr(architectures, "picture", lambda figure, alt: alt)
    return drawn


def test_redrawn_layers_keep_what_the_upper_layers_hold(residual, boards, monkeypatch):
    system = residual["CQF + Residual"]
    seen = []
    monkeypatch.setattr(system.decoder, "forward", lambda noise: seen.append(noise) or (torch.zeros(4, 8, 16, 16), {}))
    alt = architectures.redrawn(residual, n=4)
    assert "CQF + Residual" in alt and list(boards[0]) == ["CQF + Residual"]
    assert list(boards[0]["CQF + Residual"]) == ["one draw", "8x8-1 and below redrawn", "all redrawn"]
    first, second, third = seen
    assert torch.equal(first[0], second[0]) and not torch.equal(first[1], second[1])
    assert not torch.equal(second[0], third[0]) and torch.equal(second[1], third[1])


def test_partitions_are_those_of_the_flow(boards):
    architectures.partitions()
    fine, channels, coarse = (np.asarray(image[0]) for image in boards[0][""].values())
    row, column = np.indices((8, 8))
    assert (fine == 255 * ((row + column) % 2)).all()
    assert (channels[0] == 0).all() and (channels[2] == 255).all() and (channels[1] == 255 * (row % 2)).all()
    factored_out = (row + column) % 2 == 1
    assert (coarse[:, factored_out] == np.array([[229], [153], [51]])).all()
    assert sorted(np.unique(coarse[:, ~factored_out], return_counts=True)[1]) == [48, 48]
