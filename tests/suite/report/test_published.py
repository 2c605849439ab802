"""What is published: small, whole, of today's code, and the same page again from the records alone."""

import itertools
import re
from dataclasses import replace

import fake_records
import numpy as np
import pytest
from bs4 import BeautifulSoup

from cqlib import data
from cqlib.data.grids import grid, grid_png, unscaled
from cqlib.suite.cli import commands as cli
from cqlib.suite.experiments import run
from cqlib.suite.experiments.experiment import experiment, experiment_of
from cqlib.suite.experiments.load import is_trained
from cqlib.suite.experiments.record import load_records, read_record, slug, write_record
from cqlib.suite.report import details, publish
from cqlib.suite.report import page as report
from cqlib.suite.report.groups import groups
from cqlib.util.checkpoint import load_checkpoint, save_checkpoint
from cqlib.util.errors import UserError
from cqlib.util.provenance import GitInfo

FOLDER = report.PUBLISHED
RECORDS, PROBLEMS = load_records(FOLDER / "records")
DATA = publish.PICTURE["data"]


def test_every_record_says_where_it_comes_from():
    assert RECORDS and not PROBLEMS

    def told(record):
        clean = record.git.dirty is False and len(record.git.commit) == 40
        versions = {"python", "torch", "torch-fidelity"} <= record.versions.keys()
        return clean and record.seconds > 0 and record.device and versions

    assert [record.folder for record in RECORDS if not told(record)] == []


def test_digits_read_by_eye_are_those_of_the_runs_that_were_read():
    """Not of other sizes, and not of a user's own runs."""
    counted = {runs.title for runs in groups(RECORDS, RECORDS) if details.digit_lines([runs], ["table1/cq-f"])}
    read = {
        runs.title
        for runs in groups(RECORDS, RECORDS)
        for line in details.digit_lines([runs], ["table1/cq-f"])
        if line.by_eye
    }
    sizes = {f"This project: Digits on photographs {name}" for name in ("16×16, quick", "32×32, study")}
    assert read == sizes < counted


def test_records_are_of_todays_recipes():
    """Named by what they change of them: a new setting at its former value leaves a hash as it was."""
    tried, damaged = load_records(FOLDER / "ablations")
    assert tried and not damaged
    outdated = [r.folder for r in (*RECORDS, *tried) if experiment_of(r).config_hash != r.config_hash]
    assert outdated == []


def shown(page: str) -> list[str]:
    """What a page says; of its drawings, whose last digits differ between machines, the texts for screen readers."""
    soup = BeautifulSoup(page, "html.parser")
    labels = [svg.get("aria-label", "") for svg in soup.find_all("svg")]
    for svg in soup.find_all("svg"):
        svg.clear()
    return [*soup.body.stripped_strings, *labels, *(image["alt"] for image in soup.find_all("img"))]


def test_the_page_is_what_the_records_give(monkeypatch):
    written = {}
    monkeypatch.setattr(report, "write_atomic", lambda path, content: written.setdefault(path, content) and path)
    assert cli.main(["report", "--from", str(FOLDER), "--out", str(FOLDER)]) == 0
    (page,) = written.values()
    committed = (FOLDER / "index.html").read_text()
    command = "python -m cqlib report --from reports/published --out the same"
    assert page == committed or shown(page) == shown(committed), command
    assert re.search(r'src="samples/table1_cq-f--\w+--quick--0/samples.webp"', page) and "nothing yet" not in page


def test_the_page_is_short():
    """At most 7 sections, 2,000 words before anything is unfolded and 8,000 words folded under how it was measured."""
    soup = BeautifulSoup((FOLDER / "index.html").read_text(), "html.parser")
    for svg in soup.find_all("svg"):
        svg.decompose()
    assert len(soup.find_all("section")) <= 7
    assert len(soup.find(id="measured").get_text(" ").split()) <= 8000
    for fold in soup.find_all("details"):
        for part in fold.find_all(recursive=False):
            if part.name != "summary":
                part.decompose()
    assert len(soup.body.get_text(" ").split()) <= 2000


@pytest.mark.slow
def test_a_published_model_gives_its_record_again(tmp_path, monkeypatch):
    """In half precision, measured by `evaluate` and not trained again."""
    runs, place, row = tmp_path / "runs", tmp_path / "published", "table1/cq-f"
    first = run.run(row, profile="smoke", runs_dir=runs)
    name = slug(row, DATA, "smoke", 0)
    monkeypatch.setattr(publish, "PUBLISHED", place)
    monkeypatch.setattr("cqlib.suite.experiments.load.PUBLISHED", place)
    weights = runs / name / "model.safetensors"
    state = load_checkpoint(weights)
    save_checkpoint(weights, {**state, "device": "a card"})  # wherever it is measured, it was trained there
    first = replace(first, device="a card")
    (published,) = publish._publish_model(runs / name, name)
    before = published.stat().st_mtime_ns
    publish._publish_model(runs / name, name)
    assert published.stat().st_mtime_ns == before  # no new file for equal weights
    monkeypatch.setattr("cqlib.suite.experiments.stages.train", None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cqlib.suite.experiments.load.PUBLISHED", tmp_path / "nothing")
        with pytest.raises(SystemExit):
            cli.main(["evaluate", row, "--profile", "smoke", "--runs-dir", str(tmp_path / "again")])
    assert cli.main(["evaluate", row, "--profile", "smoke", "--runs-dir", str(tmp_path / "again")]) == 0
    again = read_record(tmp_path / "again" / "published" / name / "record.json")
    assert not is_trained(experiment(row, "smoke"), tmp_path / "again")
    assert load_records(tmp_path / "again") == ([], [])
    assert again.device == first.device and any("published" in note for note in again.notes)
    assert again.metrics["BPD"].value == pytest.approx(first.metrics["BPD"].value, abs=0.01)
    assert again.metrics["FD-lite0"].value == pytest.approx(first.metrics["FD-lite0"].value, rel=0.01)
    assert again.config_hash == first.config_hash and again.git == first.git


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Where `publish` writes to, without README and page."""
    place = tmp_path / "published"
    (place / "samples").mkdir(parents=True)
    monkeypatch.setattr(publish, "PUBLISHED", place)
    monkeypatch.setattr(publish.readme, "write", lambda: [])
    monkeypatch.setattr(publish.report, "render", lambda *_, **__: place)
    monkeypatch.setattr(publish, "_pictures", lambda records: [])
    return place


def ran(folder, made):
    """A finished run in `folder`, with a grid of samples."""
    write_record(made, folder / made.folder, "record.json")
    for name, n in (("samples", 64), ("training.history", 32)):
        (folder / made.folder / f"{name}.png").write_bytes(grid_png(data.load(DATA, size=16).test.images[:n]))


def test_samples_and_weights_are_those_of_a_rows_first_seed_that_ended(tmp_path, place, monkeypatch):
    """Whichever was published first; small images exactly. Weights of `quick` alone."""
    models = []
    monkeypatch.setattr(publish, "_publish_model", lambda folder, name: models.append(name) or [])
    for seeds in ([11], [2, 10, 9]):
        for seed, profile in itertools.product(seeds, ("quick", "study")):
            made = fake_records.record("table1/vae", seed, profile=profile, data=DATA)
            ran(tmp_path / "runs", replace(made, status="diverged") if seed == 2 else made)
        (place / "samples" / ".DS_Store").touch()
        publish.publish(tmp_path / "runs")
    assert {path.name for path in (place / "samples").glob("*/")} == {
        slug("table1/vae", DATA, profile, 9) for profile in ("quick", "study")}  # fmt: skip
    assert models == [slug("table1/vae", DATA, "quick", seed) for seed in (11, 9)]
    assert len(load_records(place / "records")[0]) == 8  # those that diverged, too
    assert unscaled((place / "samples" / slug("table1/vae", DATA, "quick", 9) / "history.webp").read_bytes(), 16).any()
    file = place / "samples" / slug("table1/vae", DATA, "quick", 9) / "samples.webp"
    assert np.array_equal(unscaled(file.read_bytes(), 16), grid(data.load(DATA, size=16).test.images[:48]))


@pytest.mark.parametrize(("change", "why"), [
    ({"git": GitInfo("0" * 40, True)}, "uncommitted code"),
    ({"git": GitInfo(None, None)}, "code of unknown state"),
    ({"notes": ["read from /home/someone/cats.npz"]}, "a path of this machine"),
])  # fmt: skip
def test_what_must_not_be_published_is_refused(tmp_path, place, change, why):
    ran(tmp_path / "runs", replace(fake_records.record("table1/vae", data=DATA), **change))
    with pytest.raises(UserError, match=why):
        publish.publish(tmp_path / "runs")
    assert not (place / "records").exists()


@pytest.mark.parametrize("made", [
    fake_records.record("table1/vae", 100), fake_records.record("table1/vae", profile="smoke"),
    replace(fake_records.record("table1/vae"), changes={"training.learning_rate": 7.0}),
], ids=["tuning seed", "smoke", "a trial"])  # fmt: skip
def test_what_is_of_no_table_is_not_published(made):
    assert not publish.of_tables(made) and publish.of_tables(fake_records.record("table1/vae"))
    assert publish.of_tables(replace(fake_records.record("table1/vae"), changes={"training.steps": 18_000}))
