"""What the notebook on decoders says of models, and that it shows those that are there."""

import pytest
import torch
from bs4 import BeautifulSoup
from fake_records import records

from cqlib import decoders, names, tables
from cqlib.experiments import RECIPES, build
from cqlib.records import Metric


def system(row):
    torch.manual_seed(0)
    return build(RECIPES[row](row, "smoke", 16).system).eval()


def cells(html):
    rows = BeautifulSoup(html.data, "html.parser").find("tbody").find_all("tr")
    return [[cell.get_text() for cell in row.find_all(["th", "td"])] for row in rows]


@pytest.mark.parametrize(
    "row, likelihood, latent",
    [
        ("table3/pixelcnnpp", "exact", "none"),
        ("table3/pixelrnn", "exact", "none"),
        ("table3/nvp", "bound: dequantisation bound", "768, as many as pixel values"),
        ("table1/vae", "bound: ELBO", "16"),
        ("table2/cqf-residual", "bound: ELBO", "320 in 2 layers"),
        ("table3/vae-iaf", "bound: ELBO", None),
        ("table3/sngan", "none (starred BPD)", "128"),
    ],
)
def test_families_by_their_likelihood_and_latent_space(row, likelihood, latent):
    model = system(row)
    assert decoders.likelihood(model) == likelihood
    assert decoders.latent_space(model) == latent or latent is None and "layers" in decoders.latent_space(model)


def test_every_row_is_trained_by_the_name_of_the_notebook():
    shown = {*decoders.DECODERS, *(row for rows in decoders.FAMILIES.values() for row in rows)}
    assert shown == set(names.NOTEBOOK_ROWS["figure_decoders"]) == set(decoders.ROWS)
    assert "figure_decoders" in names.notebooks()


def test_tables_hold_what_is_there_and_dashes_for_the_rest():
    runs = tables.run_sets(records(3, ("table1/vae", "table1/vae-f")), [])[0]
    for run, time in zip(runs.of("table1/vae"), (0.5, 0.002, 0.001), strict=True):
        run.metrics["seconds"] = Metric(time, None, 64, "wall clock")
    lines = {line[0]: line[1:] for line in cells(decoders.compared(runs))}
    assert list(lines) == list(decoders.DECODERS.values())
    assert lines["factorised Gaussian"][-2:] == ["2.0 ms", "1.0"]  # the median over seeds
    assert lines["NVP"][-2:] == ["—", "—"] and lines["NVP"][0] != "—"
    assert lines["PixelCNN"] == ["—"] * 6
    families = {line[0]: line[1:] for line in cells(decoders.families(runs))}
    assert families["VAE"][:4] == ["variational", "bound: ELBO", "64", "2.0 ms"]
    assert families["NVP"] == ["flow", "bound: dequantisation bound", "768, as many as pixel values"] + ["—"] * 3


def test_samples_are_of_the_decoders_alone():
    found = {row: system(row) for row in ("table1/vae", "extra/vae-full-covariance", "table3/sngan")}
    page = decoders.samples(found, n=4).data
    assert "factorised Gaussian" in page and "correlated Gaussian" in page and "SNGAN" not in page
    assert decoders.samples({}) is decoders.NONE
