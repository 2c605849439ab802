"""What is published: small, whole, of today's code, and the same page again from the records alone."""

import itertools
import re
import statistics
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import fake_records
import numpy as np
import pytest
import torch
from bs4 import BeautifulSoup
from published_records import of_todays_data

from cqlib import data
from cqlib.cli import commands as cli
from cqlib.data.grids import grid, grid_png, tiles, unscaled, webp
from cqlib.experiments import claims, run
from cqlib.experiments.experiment import experiment, experiment_of
from cqlib.experiments.load import is_trained, load
from cqlib.experiments.paper import canonical
from cqlib.experiments.record import load_records, read_record, slug, write_record
from cqlib.metrics import evaluation
from cqlib.metrics.bpd import BATCH, bits_per_dimension, held_out_nll
from cqlib.report import page as report
from cqlib.report import pictures as report_pictures
from cqlib.report import publish
from cqlib.util.checkpoint import load_checkpoint, save_checkpoint

FOLDER = report.PUBLISHED
RECORDS, PROBLEMS = load_records(FOLDER / "records")
MOST = 24_000_000
"""Bytes in all."""


def test_it_is_small():
    assert not PROBLEMS and len(RECORDS) > 40
    assert sum(path.stat().st_size for path in FOLDER.rglob("*") if path.is_file()) < MOST


def test_every_record_says_where_it_comes_from():
    def told(record):
        clean = record.git.dirty is False and len(record.git.commit) == 40
        versions = {"python", "torch", "torch-fidelity"} <= record.versions.keys()
        return record.status == "done" and clean and record.seconds > 0 and record.device and versions

    assert [record.folder for record in RECORDS if not told(record)] == []


def test_records_of_todays_data_are_of_todays_experiments():
    stale = [r.folder for r in of_todays_data(RECORDS) if r.config_hash != experiment_of(r).config_hash]
    assert not stale


def shown(page: str) -> tuple[list[str], list[tuple[Counter, list[int]]]]:
    """What a page says, and the kinds of elements and the rounded numbers of its drawings: matplotlib's ids are hashes
    of floats whose last bit differs between machines."""
    soup = BeautifulSoup(page, "html.parser")
    drawings = []
    for svg in soup.find_all("svg", role="img"):
        numbers = [number for element in svg.find_all(True) for name in ("d", "x", "y", "transform")
                   for number in re.findall(r"-?\d+\.?\d*", element.get(name, ""))]  # fmt: skip
        drawings.append((Counter(element.name for element in svg.find_all(True)), [round(float(n)) for n in numbers]))
        svg.clear()
    alts = [image["alt"] for image in soup.find_all("img")]
    labels = [svg["aria-label"] for svg in soup.find_all("svg", role="img")]
    return [*soup.body.stripped_strings, *alts, *labels], drawings


@pytest.mark.slow
def test_what_notes_of_claims_say_of_sizes_and_times_is_so_in_the_records():
    quick = [r for r in RECORDS if (r.profile, r.data.name, r.changes) == ("quick", "photos10", {})]
    compared = [claim for claim in claims.CLAIMS if claim.note == claims.RIVAL["note"]]
    ours = canonical("table3/cqf-large-d")
    rows = {canonical(row) for claim in compared for row in (claim.row_a, claim.row_b)} - {ours}

    def size(row: str) -> int:
        return next(run.parameters["total"] for run in quick if run.row == canonical(row))

    def seconds(row: str) -> float:  # the median: other work lengthens single runs
        return statistics.median(run.seconds for run in quick if run.row == canonical(row))

    assert len(rows) == 8
    for rival in rows:
        assert size(rival) < size(ours) and seconds(rival) < seconds(ours)
    assert round(size("table2/cqf-residual") / size("table2/cqf")) == 2
    assert round(size("table2/gan-residual") / size("table2/gan")) == 3
    assert round(size("table3/cqf-2-scales") / size("table3/nvp"), 1) == 1.6
    assert round(seconds("table3/cqf-2-scales") / seconds("table3/nvp")) == 3
    for other in ("table3/pixelcnnpp", "table3/vae-iaf"):
        assert size("table3/pixelrnn") < size(other) and seconds("table3/pixelrnn") < seconds(other)


def test_the_page_is_what_the_records_give(monkeypatch):
    written = {}
    monkeypatch.setattr(report, "write_atomic", lambda path, content: written.setdefault(path, content) and path)
    assert cli.main(["report", "--from", str(FOLDER), "--out", str(FOLDER)]) == 0
    (page,) = written.values()
    committed = (FOLDER / "index.html").read_text()
    command = "python -m cqlib report --from reports/published --out the same"
    assert page == committed or shown(page) == shown(committed), command
    assert 'src="samples/table1_cq-f--photos10--quick--0/samples_T1.webp"' in page and "nothing yet" not in page
    order = ['id="table1-caption"', 'id="claims"', 'id="not-reproduced"', "--only table1</code> takes about 6 hours"]
    assert sorted(order, key=page.index) == order


@pytest.mark.parametrize("row", publish.MODELS)
def test_published_weights_give_the_published_bits_and_samples(row, tmp_path):
    """So nets, losses and the sampler are what they were when the weights were trained, but for half precision."""
    (record,) = (r for r in of_todays_data(load_records(FOLDER / "records")[0])
                 if (r.row, r.profile, r.seed, r.changes) == (row, "quick", 0, {}))  # fmt: skip
    model, test = load(row, runs_dir=tmp_path), data.load("photos10", size=16).test.images[:BATCH]
    if row != "table1/gan":  # whose bits are an encoder's
        bits = bits_per_dimension(held_out_nll(model, test), test[0].numel())
        assert bits.tolist() == pytest.approx(record.per_image["BPD"][:BATCH], abs=0.02)
    for file in (FOLDER / "samples" / record.folder).glob("*.webp"):
        if row != "extra/cq-f-conditional":  # whose grid shows colourings
            shown = tiles(unscaled(file.read_bytes(), 16), 16)
            temperature = float(file.stem.removeprefix("samples_T"))
            drawn = evaluation.draw_samples(model, BATCH, temperature=temperature, seed=evaluation.TEST_SEED)
            drawn = drawn[: len(shown)]
            assert (drawn.float() - shown.float()).abs().max() <= 4


@pytest.mark.slow
def test_a_published_model_gives_its_record_again(tmp_path, monkeypatch):
    """In half precision, without its critic, measured by `evaluate` and not trained again."""
    runs, place, row = tmp_path / "runs", tmp_path / "published", "table1/cq-f"
    first = run.run(row, profile="smoke", runs_dir=runs)
    name = slug(row, "photos10", "smoke", 0)
    monkeypatch.setattr(publish, "PUBLISHED", place)
    monkeypatch.setattr("cqlib.experiments.load.PUBLISHED", place)
    weights = runs / name / "model.safetensors"
    state = load_checkpoint(weights)
    save_checkpoint(weights, {**state, "device": "a card"})  # wherever it is measured, it was trained there
    first = replace(first, device="a card")
    (published,) = publish._publish_model(runs / name, name)
    before = published.stat().st_mtime_ns
    publish._publish_model(runs / name, name)
    assert published.stat().st_mtime_ns == before  # no new file for equal weights
    monkeypatch.setattr("cqlib.experiments.stages.train", None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cqlib.experiments.load.PUBLISHED", tmp_path / "nothing")
        with pytest.raises(SystemExit):
            cli.main(["evaluate", row, "--profile", "smoke", "--runs-dir", str(tmp_path / "again")])
    assert cli.main(["evaluate", row, "--profile", "smoke", "--runs-dir", str(tmp_path / "again")]) == 0
    again = read_record(tmp_path / "again" / "published" / name / "record.json")
    assert not is_trained(experiment(row, "smoke"), tmp_path / "again")
    assert load_records(tmp_path / "again") == ([], [])
    assert again.device == first.device and any("published" in note for note in again.notes)
    assert again.metrics["BPD"].value == pytest.approx(first.metrics["BPD"].value, abs=0.01)
    for at in ("FD-lite0@T1", "FD-lite0@T0"):
        assert again.metrics[at].value == pytest.approx(first.metrics[at].value, rel=0.01)
    assert again.config_hash == first.config_hash and again.git == first.git
    damaged = tmp_path / "damaged" / name / "model.safetensors"
    damaged.parent.mkdir(parents=True)
    damaged.write_bytes(b"mine")
    with pytest.raises(SystemExit):  # what lies there is not written over
        cli.main(["evaluate", row, "--profile", "smoke", "--runs-dir", str(tmp_path / "damaged")])
    assert damaged.read_bytes() == b"mine"


def test_samples_are_published_once_and_of_the_first_seed(tmp_path, monkeypatch):
    """Small images exactly."""
    place = tmp_path / "grids"
    place.mkdir()
    images = data.load("photos10", size=16).test.images[:64]
    for at in ("T1", "T0"):
        (place / f"samples_{at}.png").write_bytes(grid_png(images))
    monkeypatch.setattr(publish, "PUBLISHED", tmp_path / "published")
    (file,) = publish._publish_samples(place, "x", 16)
    assert file.name == "samples_T1.webp" and file.stat().st_size < (place / "samples_T1.png").stat().st_size
    assert np.array_equal(unscaled(file.read_bytes(), 16), grid(images[:48]))
    assert not publish._publish_samples(tmp_path, "x", 16) and file.is_file()  # a run without grids takes none away
    (place / "samples_T0.png").write_bytes(grid_png(images.flip(0)))
    assert [path.name for path in publish._publish_samples(place, "x", 16)] == [
        "samples_T0.webp", "samples_T1.webp",
    ]  # fmt: skip


@pytest.mark.parametrize(("size", "shown"), [(32, 48), (64, 24)])
def test_grids_of_larger_images_are_published_small(tmp_path, monkeypatch, size, shown):
    """Far fewer bytes; the same photographs, but for what WebP rounds."""
    images = data.load("photos10", size=32).test.images[:64].repeat_interleave(size // 32, 2)
    images = images.repeat_interleave(size // 32, 3)
    place = tmp_path / "grids"
    place.mkdir()
    (place / "samples_T1.png").write_bytes(grid_png(images))
    monkeypatch.setattr(publish, "PUBLISHED", tmp_path / "published")
    (file,) = publish._publish_samples(place, "x", size)
    assert file.name == "samples_T1.webp" and file.stat().st_size < 60_000
    sheet, wanted = unscaled(file.read_bytes(), size).astype(int), grid(images[:shown]).astype(int)
    assert sheet.shape == wanted.shape and abs(sheet - wanted).mean() < 4.5  # 5.1 at quality 75
    assert report_pictures.sample_file(file.parent, "T1") == file
    assert report_pictures._image(file.read_bytes(), "")["src"].startswith("data:image/webp;base64,")


def test_no_old_grid_stays_beside_new_ones(tmp_path, monkeypatch):
    place = tmp_path / "grids"
    place.mkdir()
    monkeypatch.setattr(publish, "PUBLISHED", tmp_path / "published")
    grid_of = grid_png(torch.zeros(64, 3, 32, 32, dtype=torch.uint8))
    old = tmp_path / "published" / "samples" / "x"
    old.mkdir(parents=True)
    for name in ("samples_T1.png", "samples_T0.webp"):
        (old / name).write_bytes(b"old")
    for at in ("T1", "T0"):
        (place / f"samples_{at}.png").write_bytes(grid_of)
    publish._publish_samples(place, "x", 32)
    assert [path.name for path in old.iterdir()] == ["samples_T1.webp"]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Where `publish` writes to, without README and page."""
    place = tmp_path / "published"
    (place / "samples").mkdir(parents=True)
    monkeypatch.setattr(publish, "PUBLISHED", place)
    monkeypatch.setattr(publish.readme, "write", lambda: [])
    monkeypatch.setattr(publish.report, "render", lambda *_, **__: place)
    return place


@pytest.mark.parametrize(("data_set", "drawn"), [("photos10", True), ("npz:mine", False)])
def test_readmes_picture_is_drawn_where_all_models_of_its_own_run_set_are(
    tmp_path, place, monkeypatch, data_set, drawn
):
    monkeypatch.setattr(publish, "_picture", lambda runs_dir: b"drawn")
    monkeypatch.setattr(publish, "_publish_model", lambda folder, name: [])
    for row in fake_records.SCORES:
        name = data_set if row != "table1/gan" else "photos10"
        write_record(fake_records.record(row, 0, data=name), tmp_path / "runs" / slug(row, name, "quick", 0),
                     "record.json")  # fmt: skip
    publish.publish(tmp_path / "runs")
    assert (place / "table1.webp").exists() == drawn


def test_readmes_picture_has_temperature_0_above_1_as_the_page_has_it_first(tmp_path, monkeypatch):
    board = {}

    def drawn(rows, columns):
        board.update(rows)
        return publish.plots.blank(1, 1)

    monkeypatch.setattr(publish.plots, "sample_board", drawn)
    monkeypatch.setattr(publish, "load", lambda row, **_: SimpleNamespace(shape=(3, 16, 16)))
    monkeypatch.setattr(publish.evaluation, "draw_samples", lambda model, n, temperature, seed: temperature)
    assert publish._picture(tmp_path)[8:12] == b"WEBP"
    assert list(board) == ["T = 0", "T = 1"] and [row["CQ-F"] for row in board.values()] == [0, 1]


def test_grids_and_weights_are_those_of_a_rows_first_seed(tmp_path, place, monkeypatch):
    """Whichever was published first; and grids of runs that broke down before it. Weights of `quick` alone."""
    models = []
    monkeypatch.setattr(publish, "_publish_model", lambda folder, name: models.append(name) or [])
    for seeds in ([11], [2, 10, 9]):
        for seed, profile in itertools.product(seeds, ("quick", "study")):
            made = fake_records.record("table1/vae", seed, profile=profile)
            if (seed, profile) in ((2, "study"), (2, "quick"), (10, "quick")):
                made.metrics["BPD"] = replace(made.metrics["BPD"], value=9.0)
            write_record(made, tmp_path / "runs" / made.folder, "record.json")
            grid_of = grid_png(torch.zeros(64, 3, 16, 16, dtype=torch.uint8))
            (tmp_path / "runs" / made.folder / "samples_T1.png").write_bytes(grid_of)
        (place / "samples" / ".DS_Store").touch()
        publish.publish(tmp_path / "runs")
    first = {slug("table1/vae", "photos10", profile, seed) for profile in ("quick", "study") for seed in (2, 9)}
    assert {path.name for path in (place / "samples").glob("*/")} == first
    assert models == [slug("table1/vae", "photos10", "quick", seed) for seed in (11, 9)]


def test_samples_of_a_run_that_did_not_finish_are_not_published(tmp_path, place):
    """Its row may have a record from before; or it finishes while others are published."""
    made, name = fake_records.record("table3/sngan", 0), slug("table3/sngan", "photos10", "quick", 0)
    write_record(made, place / "records")
    grids = tmp_path / "runs" / name / "samples_T1.png"
    write_record(replace(made, status="diverged"), grids.parent, "record.json")
    grids.write_bytes(grid_png(torch.zeros(64, 3, 16, 16, dtype=torch.uint8)))
    publish.publish(tmp_path / "runs")
    assert not list((place / "samples").iterdir())
    write_record(made, grids.parent, "record.json")
    publish.publish(tmp_path / "runs")
    assert (place / "samples" / name / "samples_T1.webp").is_file()


@pytest.mark.parametrize("kind", report_pictures.KINDS)
def test_a_garbled_grid_is_passed_over(tmp_path, kind):
    """A WebP of good length with a broken inside too, which `verify` lets pass."""
    noise = torch.randint(256, (64, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    content = bytearray(grid_png(noise, scale=1) if kind == ".png" else webp(grid(noise), 32))
    file = tmp_path / f"samples_T1{kind}"
    file.write_bytes(content)
    assert report_pictures.sample_file(tmp_path, "T1") == file
    for i in range(30, len(content) - 20):
        content[i] ^= 0x5A
    file.write_bytes(content)
    assert report_pictures.sample_file(tmp_path, "T1") is None
