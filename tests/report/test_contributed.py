"""Records from others: a run becomes a small folder, each kind of a broken one is refused in one line that says what to
do, and whole ones stand on the page in a column of their own."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import torch
from bs4 import BeautifulSoup
from fake_records import records, rendered_page

from cqlib.cli import commands as cli
from cqlib.data.grids import grid_png
from cqlib.experiments.record import load_records, read_record, write_record
from cqlib.metrics.bpd import bits_per_dimension
from cqlib.metrics.quantities import SCORES
from cqlib.report import contributed as module
from cqlib.report.claim_cards import cards
from cqlib.report.contributed import MANIFEST, MAX_BYTES, check, contribute, contributed, read_contribution
from cqlib.report.page import PUBLISHED
from cqlib.report.run_sets import nearest_first, run_sets
from cqlib.util.errors import UsageError, UserError
from cqlib.util.files import sha256
from cqlib.util.paths import CONTRIBUTED
from cqlib.util.provenance import git_info, in_history

NAME = "<b>Some One</b>"
RUN = "table1_cq-f--photos10--quick--0"


def run_folder(record, folder: Path) -> Path:
    """What training leaves of a record: itself, the log that its curve comes from, and grids (of noise)."""
    write_record(record, folder, "record.json")
    size = record.data.shape[-1]
    bits = bits_per_dimension(1.0, 3 * size**2)
    columns = {"coverage": ("L_C (bits/dim)", bits), "kl": ("KL", 1), "quality": ("L_Q", 1),
               "critic/discriminator": ("discriminator", 1)}  # fmt: skip
    lines = {}
    for key, (name, scale) in columns.items():
        for step, value in record.curve.get(name, ()):
            lines.setdefault(step, {"step": step})[key] = value / scale
    (folder / "training.jsonl").write_text("".join(f"{json.dumps(lines[step])}\n" for step in sorted(lines)))
    for i, name in enumerate(("samples_T1", "samples_T0")):
        noise = np.random.default_rng(i).integers(0, 256, (64, 3, size, size), dtype=np.uint8)
        (folder / f"{name}.png").write_bytes(grid_png(torch.from_numpy(noise)))
    return folder


PUBLISHED_RUN = read_record(PUBLISHED / "records" / f"{RUN}.json")


@pytest.fixture(autouse=True, scope="module")
def as_when_it_was_published():
    """A clone may be shallow, and a metric newer than the published records."""
    scores = [quantity for quantity in SCORES if f"{quantity.lite0}@T0" in PUBLISHED_RUN.metrics]
    known = patch.object(module, "in_history", lambda commit: commit != "0" * 40)
    with known, patch.object(module, "SCORES", scores):
        yield


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A published run, and the contribution of it."""
    place = tmp_path_factory.mktemp("made")
    contribute(run_folder(PUBLISHED_RUN, place / "trained" / RUN), NAME, place / "contributed")
    return place


@pytest.fixture
def folder(made, tmp_path) -> Path:
    """The contribution of a published run."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return next((tmp_path / "contributed").glob("*/*"))


def seal(folder: Path, **changes) -> None:
    """Make the manifest fit what lies there, and change it."""
    made = json.loads((folder / MANIFEST).read_text())
    made["files"] = {path.name: sha256(path.read_bytes()) for path in folder.iterdir() if path.name != MANIFEST}
    (folder / MANIFEST).write_text(json.dumps({**made, **changes}))


def edit(folder: Path, **changes) -> None:
    """Change the record, its manifest with it."""
    write_record(replace(read_record(folder / "record.json"), **changes), folder, "record.json")
    seal(folder)


def rewrite(folder: Path, name: str, change) -> None:
    """Change a file's bytes, its manifest with it."""
    (folder / name).write_bytes(change((folder / name).read_bytes()))
    seal(folder)


def link(path: Path) -> None:
    shutil.move(path, path.parent.parent / "elsewhere")
    path.symlink_to(path.parent.parent / "elsewhere")


def record_of(folder: Path):
    return read_record(folder / "record.json")


def with_config(folder: Path) -> dict:
    """The config of a run of fewer steps."""
    config = record_of(folder).config
    recipe = {**config["recipe"], "training": {**config["recipe"]["training"], "steps": 10}}
    return {**config, "recipe": recipe}


def with_protocol(folder: Path, before: str, after: str) -> dict:
    found = record_of(folder).metrics
    return {name: replace(metric, protocol=metric.protocol.replace(before, after)) for name, metric in found.items()}


def without(folder: Path, name: str) -> dict:
    return {key: metric for key, metric in record_of(folder).metrics.items() if key != name}


def deepened(text: bytes) -> bytes:
    """A record with 300 lists within each other in its config."""
    record = json.loads(text)
    return json.dumps({**record, "config": {**record["config"], "n_train": json.loads("[" * 300 + "]" * 300)}}).encode()


BROKEN = {
    "no record": (lambda f: (f / "record.json").unlink(), "record.json is missing: make"),
    "no samples": (lambda f: (f / "samples_T1.webp").unlink(), "samples_T1.webp is missing: make"),
    "samples neither there nor listed": (
        lambda f: ((f / "samples_T1.webp").unlink(), seal(f)), "samples_T1.webp is missing: make"),
    "no manifest": (lambda f: (f / MANIFEST).unlink(), f"{MANIFEST} is missing: make"),
    "manifest cut short": (lambda f: (f / MANIFEST).write_text('{"contributor":'), f"{MANIFEST}: "),
    "changed byte": (
        lambda f: (f / "samples_T0.webp").write_bytes((f / "samples_T0.webp").read_bytes()[:-1] + b"?"),
        "samples_T0.webp is not the file that was contributed"),
    "file that is not listed": (lambda f: seal(f, files={}), "is not the file that was contributed"),
    "dirty tree": (lambda f: edit(f, git=replace(record_of(f).git, dirty=True)), "commit, then run it again"),
    "tree of unknown state": (lambda f: edit(f, git=replace(record_of(f).git, dirty=None)), "of unknown state"),
    "unknown commit": (lambda f: edit(f, git=replace(record_of(f).git, commit="0" * 40)), "git fetch --unshallow"),
    "config of another recipe": (lambda f: edit(f, config=with_config(f)), "config is not today's recipe: train it"),
    "hash of another recipe": (lambda f: edit(f, config_hash="0" * 16), "config is not today's recipe: train it"),
    "no such row": (lambda f: (edit(f, row="table1/vea"), f.rename(f.parent / record_of(f).folder)), "unknown row"),
    "no BPD": (lambda f: edit(f, metrics=without(f, "BPD")), "BPD missing: delete record.json, then python -m cqlib"),
    "no recall": (lambda f: edit(f, metrics=without(f, "Recall-lite0@T0")), "Recall-lite0@T0 missing: delete"),
    "grey images, which have no scores": (
        lambda f: edit(f, data=replace(record_of(f).data, shape=(2000, 1, 48, 16)), metrics=without(f, "IS-lite0@T0")),
        "images of (1, 48, 16) are of no recipe"),
    "fewer images": (
        lambda f: edit(f, metrics=with_protocol(f, "n_fake = 2000", "n_fake = 500")), "which says “n_"),
    "another side": (
        lambda f: edit(f, metrics=with_protocol(f, "resize to 96", "resize to 224")), "“bilinear resize to 96”"),
    "unknown weights": (
        lambda f: edit(f, metrics=with_protocol(f, "resize to 96", "resize to 96, unknown weights")),
        "with --feature-weights"),
    "path in a note": (lambda f: edit(f, notes=["from /home/someone/cats"]), "train on a name below --data-dir"),
    "path in the log": (
        lambda f: rewrite(f, "training.jsonl", lambda log: log.replace(b"{", b'{"a": "/home/someone/b", ', 1)),
        "training.jsonl is not the log"),
    "status": (lambda f: edit(f, status="diverged"), "its status is diverged: run it again"),
    "images of one's own": (
        lambda f: (edit(f, data=replace(record_of(f).data, name="npz:x")), f.rename(f.parent / record_of(f).folder)),
        "train it on a data set with a name"),
    "no number of images": (
        lambda f: edit(f, config={**record_of(f).config, "n_train": "all"}), "IS-lite0@T0 is not today's, which says"),
    "smoke": (
        lambda f: (edit(f, profile="smoke"), f.rename(f.parent / record_of(f).folder)), "profile is smoke, whose"),
    "record cut short": (lambda f: rewrite(f, "record.json", lambda text: text[:-9]), "record.json: Invalid JSON"),
    "record of tomorrow": (
        lambda f: rewrite(f, "record.json", lambda text: text.replace(b'"schema": 1', b'"schema": 2')),
        "schema: 2 is newer than this code"),
    "log of another run": (
        lambda f: edit(f, curve={"L_C (bits/dim)": [(1, 2.0)]}), "training.jsonl is not the log of this record's"),
    "no log in the log": (lambda f: rewrite(f, "training.jsonl", lambda _: b'[1]\n"step"\n7\n'), "is not the log"),
    "log without an end": (lambda f: rewrite(f, "training.jsonl", lambda _: b"[" * 10**5), "is not the log"),
    "images without a side": (
        lambda f: edit(f, data=replace(record_of(f).data, shape=(2000, 3, 0, 16))), "is not the log"),
    "a number without end": (
        lambda f: rewrite(f, "training.jsonl", lambda _: b'{"step": 1, "coverage": %s}\n' % (b"9" * 400)),
        "is not the log"),
    "a config nested without end": (
        lambda f: rewrite(f, "record.json", deepened), "recursion limit exceeded"),
    "large images": (
        lambda f: edit(f, data=replace(record_of(f).data, shape=(2000, 3, 8000, 8000))), "training.jsonl is not"),
    "cut samples": (lambda f: rewrite(f, "samples_T1.webp", lambda image: image[:-999]), "is no WebP grid of images"),
    "samples that do not decode": (
        lambda f: rewrite(f, "samples_T1.webp", lambda image: image[:40] + bytes(len(image) - 40)), "is no WebP grid"),
    "PNG as WebP": (
        lambda f: rewrite(f, "samples_T1.webp", lambda _: grid_png(torch.zeros(64, 3, 16, 16, dtype=torch.uint8))),
        "is no WebP grid of images of 16 pixels"),
    "samples of another size": (
        lambda f: rewrite(f, "samples_T1.webp", lambda _: module.published_grid(
            grid_png(torch.zeros(64, 3, 20, 20, dtype=torch.uint8)), 20)), "is no WebP grid of images of 16 pixels"),
    "linked record": (lambda f: link(f / "record.json"), "record.json is a symbolic link: put"),
    "linked folder": (link, "is no folder"),
    "linked contributor": (lambda f: link(f.parent), "is no folder"),
    "too large": (lambda f: rewrite(f, "training.jsonl", lambda log: log + b" " * MAX_BYTES), "larger than 1024 KiB"),
    "another file": (lambda f: (f / "model.safetensors").touch(), "model.safetensors is no part of a contribution"),
    "another folder": (lambda f: (f / "samples_T2.webp").mkdir(), "samples_T2.webp is no part"),
    "folder in the place of a file": (
        lambda f: ((f / "samples_T0.webp").unlink(), (f / "samples_T0.webp").mkdir()), "samples_T0.webp is no part"),
    "e-mail": (lambda f: seal(f, contributor="some@one.org"), f"{MANIFEST}: contributor: must be a name"),
    "name with a line end": (lambda f: seal(f, contributor="some\none"), f"{MANIFEST}: contributor: must be a name"),
    "no name": (lambda f: seal(f, contributor=""), f"{MANIFEST}: contributor: "),
    "another's name": (lambda f: seal(f, contributor="another"), f"its place is another/{RUN}: rename"),
    "another seed's folder": (lambda f: edit(f, seed=3), "its place is "),
}  # fmt: skip


def test_a_published_run_can_be_contributed_and_taken(folder, capsys):
    assert sorted(path.name for path in folder.iterdir()) == [
        MANIFEST, "record.json", "samples_T0.webp", "samples_T1.webp", "training.jsonl",
    ]  # fmt: skip
    assert cli.main(["check", str(folder)]) == 0 and check(folder) == []
    assert (folder / "record.json").read_bytes() == (PUBLISHED / "records" / f"{RUN}.json").read_bytes()
    assert read_contribution(folder) == (NAME, record_of(folder))
    assert json.loads((folder / MANIFEST).read_text())["files"]


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_contribution_is_refused_in_lines_that_say_what_to_do(folder, kind, capsys):
    breaks, line = BROKEN[kind]
    breaks(folder)
    (folder,) = [path for path in folder.parent.iterdir() if path.name != "elsewhere"]
    problems = check(folder)
    assert line in problems[0] and not any("\n" in problem for problem in problems)
    of_another_recipe_too = ("smoke", "images of one's own")
    assert len(problems) == 1 or kind in of_another_recipe_too
    assert cli.main(["check", str(folder)]) == 1 and capsys.readouterr().out.count("\n") == len(problems)


@pytest.mark.parametrize("changes", [{"status": "diverged"}, {"config_hash": "0"}, {"curve": {}}], ids=str)
def test_what_would_not_be_taken_is_not_made(tmp_path, changes):
    run = run_folder(replace(PUBLISHED_RUN, **changes), tmp_path / RUN)
    with pytest.raises(UserError):
        contribute(run, NAME, tmp_path / "contributed")
    assert not list((tmp_path / "contributed").rglob("*"))


def test_a_run_is_given_by_its_folder_or_by_its_name_in_the_runs_folder(made, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    runs = made / "trained"
    for k, run in enumerate(([RUN, "--runs-dir", str(runs)], [str(runs / RUN)])):
        assert cli.main(["contribute", *run, "--name", NAME, "--out", str(tmp_path / f"{k}")]) == 0
        assert check(Path(capsys.readouterr().out.strip())) == []


def test_nothing_is_written_beside_a_file_of_ones_own(tmp_path):
    own = tmp_path / "contributed" / module.file_name(NAME) / RUN / "notes.txt"
    own.parent.mkdir(parents=True)
    own.write_text("mine")
    with pytest.raises(UserError, match="notes.txt is no part of a contribution: remove it from"):
        contribute(run_folder(PUBLISHED_RUN, tmp_path / RUN), NAME, tmp_path / "contributed")
    assert [*own.parent.iterdir()] == [own] and own.read_text() == "mine"


@pytest.mark.parametrize("name", ["", " ", "a@b.org", "x" * 61, "a\x1b[31m", "/home/someone/b", "\u202eeno"])
def test_a_name_is_a_name(tmp_path, name):
    with pytest.raises(UsageError, match="--name: contributor: "):
        contribute(tmp_path, name, tmp_path)


def test_all_published_records_of_today_would_be_taken():
    """What is asked of others holds of our own."""
    today = [r for r in load_records(PUBLISHED / "records")[0] if r.profile == "quick"]
    assert len(today) > 20 and [line for record in today for line in module._problems(record)] == []


def test_what_lies_in_the_folder_of_contributions_is_whole():
    files = {path.parent for path in CONTRIBUTED.rglob("*") if path.is_file()} - {CONTRIBUTED}
    assert contributed(CONTRIBUTED)[1] == [] and files == {*CONTRIBUTED.glob("*/*/")}


def test_a_commit_is_known_by_the_history_of_the_checkout():
    if (here := git_info().commit) is None:
        pytest.skip("not a git checkout")
    assert in_history(here)
    assert not any(map(in_history, ("0" * 40, "HEAD", "--help", "", here[:10], f"{here}\n")))


def test_on_the_page_they_are_a_column_with_their_contributors_name(folder, tmp_path):
    published = [replace(run, data=record_of(folder).data) for run in records(2)]
    broken = folder.parent / "broken"
    broken.mkdir()
    page = BeautifulSoup(rendered_page(tmp_path, [], published).read_text(), "html.parser")
    heads = [" ".join(head.get_text(" ").split()) for head in page.find(id="table1").thead.tr.find_all("th")[2:]]
    assert heads == ["This project photos10 16×16, quick", f"Contributed photos10 16×16, quick, by {NAME}"]
    cells = page.find(id="table1").tbody.find_all("td", class_="contributed")
    assert f"{record_of(folder).metrics['BPD'].value:.2f}" in " ".join(cell.get_text() for cell in cells)
    assert not page.find_all("b", string="Some One")
    assert f"Contributed by {NAME}" in page.find(id="provenance").get_text()
    assert "Samples of CQ-F at temperature 1" in [image["alt"] for image in page.find_all("img")]
    assert f"{folder.parent.name}/broken: {MANIFEST} is missing" in page.find(id="runs").get_text()
    without = rendered_page(tmp_path / "none", [], published).read_text()
    assert "Contributed" not in without and "contributed\"" not in without


def test_they_stand_in_the_table_of_all_records(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("cqlib.cli.records.CONTRIBUTED", tmp_path / "contributed")
    (folder.parent / "broken").mkdir()
    (tmp_path / "none").mkdir()
    arguments = ["export", "--csv", str(tmp_path / "all.csv"), "--from", str(tmp_path / "none")]
    assert cli.main(arguments) == 0 and f"left out: {folder.parent.name}/broken" in capsys.readouterr().err
    lines = (tmp_path / "all.csv").read_text().splitlines()
    record = record_of(folder)
    assert len([line for line in lines if line.startswith(f"contributed,{record.row},")]) == len(record.metrics)


def test_contributors_are_not_averaged(folder, tmp_path):
    other = contribute(tmp_path / "trained" / RUN, "another", tmp_path / "contributed")
    found, problems = contributed(tmp_path / "contributed")
    assert problems == [] and set(found) == {NAME, "another"} and other != folder
    sets = run_sets(records(1), records(1), found)
    assert [(runs.origin, runs.contributor) for runs in sets] == [
        ("published", ""), ("contributed", "another"), ("contributed", NAME), ("local", ""),
    ]  # fmt: skip
    assert [runs.origin for runs in nearest_first(sets)] == ["local", "published", "contributed", "contributed"]


def test_where_both_test_a_claim_published_runs_decide_unless_the_contributed_alone_are_of_the_papers_recipe():
    rows = ("table1/vae", "table1/vae-f")

    def deciding(others):
        (card,) = cards(run_sets([], records(2, rows), {"another": others}), "table1/f-bpd")
        assert len(card.tests) == 2
        return card.tests[0][0].runs.origin

    assert deciding(records(5, rows)) == "published"
    assert deciding(records(1, rows, data="cifar10", profile="paper")) == "contributed"
