"""The page: one file, accessible, all text escaped, no path of the machine, every claim and number on it."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from bs4 import BeautifulSoup
from fake_records import draw_samples, record, records, rendered_page
from todays import of_today

from cqlib.metrics.metric import Metric, Protocol
from cqlib.suite.experiments import paper
from cqlib.suite.experiments.ablations import ABLATIONS
from cqlib.suite.experiments.claims import CLAIMS
from cqlib.suite.experiments.record import DataInfo
from cqlib.suite.experiments.rows import default_data
from cqlib.suite.report.findings import cards
from cqlib.suite.report.groups import groups

HOSTILE = '<script>alert("x")</script><img src=x onerror=alert(1)>'


def page(out: Path, local=(), published=(), plots=False, tried=(), **more) -> BeautifulSoup:
    """The parsed page of records; plots, which take seconds, where they are wanted."""
    return BeautifulSoup(rendered_page(out, local, published, plots, tried, **more).read_text(), "html.parser")


def words(element) -> str:
    return " ".join(element.get_text(" ").split())


@pytest.fixture(scope="module")
def full(tmp_path_factory) -> BeautifulSoup:
    """Published records of five seeds, one seed here, a diverged run, a failure, pictures, ablations and a notebook."""
    out = tmp_path_factory.mktemp("report")
    local, published = records(1), records(5)
    diverged = record("table1/gan", 1, status="diverged", notes=["ten non-finite losses in a row"])
    draw_samples(local, out / "runs")
    (out / "notebooks").mkdir()
    for kind in ("html", "ipynb"):
        (out / "notebooks" / f"table1_objectives.{kind}").touch()
    row, changes = next(iter(ABLATIONS[0].changes.items()))
    data = default_data(row, "quick")[0]
    tried = [of_today(replace(record("table1/cq", 100, data=data), row=row, changes=each)) for each in ({}, changes)]
    failures = ["table1/gan on photos10, seed 1: diverged: see /home/someone/runs/logs/gan.log"]
    return page(out, [*local, diverged], published, failures=failures, tried=tried, plots=True)


def test_the_report_imports_neither_models_nor_training():
    code = "import sys, cqlib.suite.report.page; print([n for n in sys.modules if n.startswith('cqlib.')])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "cqlib.suite.report.groups" in loaded
    assert not re.search(r"cqlib\.(models|training|nets|recipe|experiments\.(run|experiment|load))\b", loaded)


def test_the_page_is_one_file_that_loads_nothing(full):
    assert not full.find_all(["script", "link", "iframe", "object", "embed"])
    for element in full.find_all(True):
        for name in ("src", "href", "xlink:href", "srcset", "action"):
            address = element.get(name, "")
            paper_itself = element.name == "a" and address == "https://arxiv.org/abs/1901.01091"  # followed, not loaded
            assert paper_itself or not re.match(r"\s*(https?:)?//", address), f"{element.name} loads {address}"
    assert not re.search(r"@import|url\((?!#)", full.style.string)


def test_the_document_is_accessible(full):
    assert full.html["lang"] == "en"
    assert full.find("a", class_="skip")["href"] == "#main" and full.find("main", id="main")
    assert all(image.get("alt") for image in full.find_all("img"))
    pictures = [svg for svg in full.find_all("svg") if not svg.get("aria-hidden")]
    assert pictures and all(svg["role"] == "img" and svg["aria-label"] for svg in pictures)
    for table in full.find_all("table"):
        around = table.find_parent(class_="scroll")
        assert around["tabindex"] == "0" and around["role"] == "region"
        assert around.get("aria-label") or full.find(id=around["aria-labelledby"])
        assert all(head.get("scope") for head in table.find_all("th"))
    for shown in full.find_all(class_="verdict"):  # none by colour or sign alone
        assert re.search(r"[a-z]{3}", shown["aria-label"] if shown.get("role") == "img" else words(shown))
    ids = [element["id"] for element in full.find_all(id=True)]
    assert len(ids) == len(set(ids))
    targets = {link["href"][1:] for link in full.find_all("a") if link["href"].startswith("#")}
    assert targets and targets <= set(ids)


def test_all_three_tables_hold_every_number_of_the_paper(full):
    for table in paper.TABLES:
        shown = full.find(id=f"{table.id}-caption").find_parent("table")
        cells = [words(cell) for cell in shown.find_all("td", class_="paper")]
        printed = [f"{n.text} {n.mark}".strip() for row in table.rows for n in row.numbers]
        assert [text for text in cells if text] == [text for text in printed if text]


def test_a_measured_cell_holds_mean_and_standard_deviation_and_names_its_records(full):
    table = full.find(id="table1-caption").find_parent("table")
    line = next(line for line in table.find_all("tr") if line.th and words(line.th).startswith("CQ-F"))
    bpd, *_, seeds = line.find_all("td", class_="published")
    values = [record("table1/cq-f", seed).metrics["BPD"].value for seed in range(5)]
    assert words(bpd).startswith(f"{np.mean(values):.2f} ± {np.std(values, ddof=1):.2f}") and words(seeds) == "5"
    files = ", ".join(f"table1_cq-f--photos10--quick--{seed}.json" for seed in range(5))
    assert bpd.span["title"] == f"5 seeds: {files}"
    for cell in full.select("td.published, td.local"):  # of every number
        if re.match(r"[\d,]+\.\d", words(cell)):
            assert ".json" in cell.span["title"], words(cell)


def test_every_claim_stands_on_the_page_with_what_each_run_set_says_of_it(full):
    sets = groups([*records(1), record("table1/gan", 1, status="diverged")], records(5))
    tested = {card.claim.sentence: card for card in cards(sets) if card.tests}
    seen = set()
    for matrix in full.find_all("table", class_="matrix"):
        columns = [words(head) for head in matrix.thead.find_all("th")[1:]]
        assert sorted(columns) == sorted(runs.title.replace(": ", " ") for runs in sets)  # one scale, of either origin
        for line in matrix.select("tr[id]"):
            card = tested[words(line.summary)]
            by_set = {result.runs.title.replace(": ", " "): result for result in card.tests}
            for column, cell in zip(columns, line.find_all("td", recursive=False), strict=True):
                result = by_set[column]
                effect = cell.find(class_="effect")
                assert words(cell.find(class_="verdict")).endswith(result.verdict)
                assert (words(effect), effect["title"]) == (result.size or result.reason, result.files)
                assert (result.text or result.reason) in words(line.details)  # the interval
            seen.add(card.claim.sentence)
    assert seen == tested.keys()
    untested = [words(line.th) for line in full.select('[aria-label="Claims that were not tested"] tbody tr')]
    assert sorted([*seen, *untested]) == sorted(claim.sentence for claim in CLAIMS)


def test_what_failed_and_what_diverged_is_told(full):
    assert "ten non-finite losses in a row" in words(full.find(id="not-reproduced"))
    assert "gan.log" in words(full.find(id="failures")) and "/home" not in words(full)
    assert full.find(class_="notice").a["href"] == "#failures"


def test_the_report_of_nothing_says_so(tmp_path):
    soup = page(tmp_path)
    assert "nothing yet" in words(soup) and "No claim has been tested yet" in words(soup)
    assert len(soup.find_all(class_="paper-table")) == 3 and soup.find(id="baselines") is None
    assert not soup.select(".strip, .digits, .nearest")
    for table in paper.TABLES:
        assert f"./run_all.sh --only {table.id}" in words(soup)


def test_samples_of_a_row_stand_once_by_the_table_that_it_belongs_to(tmp_path):
    ran = [record(row, 0) for row in ("table1/cq-f", "table2/cqf-residual", "table3/dcgan")]
    draw_samples(ran, tmp_path / "runs")
    shown = page(tmp_path, ran)
    for section, row in (("samples", "CQ-F"), ("tables", "CQ-F + Residual"), ("tables", "DCGAN")):
        found = shown.find_all("img", alt=f"Samples of {row}")
        assert len(found) == 1 and found[0].find_parent("section")["id"] == section


def test_samples_of_other_images_and_recipes_stand_below_their_own_table(tmp_path):
    rows = ("table1/vae", "table1/cq-f")
    ran = [record(row, seed, data="photodigits") for row in rows for seed in range(2)]
    ran += [record(row, data="cifar10") for row in rows]
    longer = replace(ran[-1], changes={"training.steps": 18_000})
    draw_samples([*ran, longer], tmp_path / "runs")
    folds = page(tmp_path, [*ran, longer]).select("#table1 > details")
    (fold,) = (fold for fold in folds if "CIFAR-10 16×16" in words(fold))
    assert [words(figure.b) for figure in fold.find_all("figure")] == ["VAE", "CQ-F", "CQ-F, steps: 18,000"]


def test_the_first_samples_are_of_the_largest_images_that_all_models_of_table_1_were_trained_on(tmp_path):
    rows = [row.id for row in paper.TABLE1.rows]
    small = [record(row, seed, data="photodigits") for row in rows for seed in range(2)]
    data = DataInfo("photodigits", "test", "0123456789abcdef", (2000, 3, 32, 32))
    large = [replace(record(row, profile="study"), data=data) for row in rows]
    draw_samples([*small, *large], tmp_path / "runs")
    for ran, place in ((large, "32×32, 1 seed"), (large[1:], "16×16, 2 seeds")):
        shown = page(tmp_path, [*small, *ran]).find(id="samples")
        assert words(shown.p) == f"Digits on photographs {place}"
        assert len(shown.find_all("img", alt=re.compile("Samples of"))) == len(rows)


@pytest.mark.parametrize("rows", [("table1/cq-f", "table2/cqf-residual"), ("table2/cqf-residual",)])
def test_a_remark_on_the_data_stands_once_below_the_first_table_with_its_runs(rows, tmp_path):
    shown = page(tmp_path, [record(row, 0, data="photodigits") for row in rows])
    remarks = [note for note in shown.find_all("p") if words(note).startswith("On Digits on photographs, IS misleads")]
    assert [note.find_parent("section")["id"] for note in remarks] == ["tables" if len(rows) == 1 else "table1"]


def test_text_from_outside_is_escaped_and_no_path_gets_in(tmp_path):
    folder = str(tmp_path / "images")
    failed = record("table1/vae", device=HOSTILE, versions={HOSTILE: HOSTILE}, status="diverged",
                    notes=[HOSTILE, f"no space left on {folder}/deep/file.bin"])  # fmt: skip
    done = record("table1/cq", data=HOSTILE, config_hash=HOSTILE, curve={HOSTILE: [[1, 2.0], [2, 1.0]]})
    evil = Protocol(bound=HOSTILE, given=HOSTILE, preset=HOSTILE, torch_fidelity=HOSTILE, device=HOSTILE)
    done.metrics["BPD"] = replace(done.metrics["BPD"], protocol=replace(evil, device=None))
    done.metrics[HOSTILE] = done.metrics[f"FD-lite0 [{HOSTILE}]"] = Metric(1.0, None, 1, evil)
    strange = replace(record("table1/gan", profile=HOSTILE), row=HOSTILE)
    named = record("table1/cq", data=f"npz:{folder}/cats.npz")
    changed = replace(record("table1/cq"), changes={"training.optimiser": f"{folder}/deep/file.bin", HOSTILE: HOSTILE})
    odd = record(changes={"training.steps": 10**400}, config_hash="2", parameters={"flow": 41_000})
    failures = [HOSTILE, f"see {folder}/logs/worker.log"]
    soup = page(tmp_path, local=[failed, done, strange, named, changed, odd], failures=failures, plots=True)
    assert not soup.find_all("script") and not soup.find_all(onerror=True)
    assert [image for image in soup.find_all("img") if image.get("src") == "x"] == []
    assert words(soup).count('alert("x")') > 8 and "record left out" not in words(soup)
    assert str(tmp_path) not in str(soup)
    assert "npz:cats.npz" in words(soup) and "worker.log" in words(soup) and "file.bin" in words(soup)


def test_damaged_records_are_named(tmp_path):
    (tmp_path / "runs" / "broken").mkdir(parents=True)
    (tmp_path / "runs" / "broken" / "record.json").write_text("{")
    soup = page(tmp_path, [record("table1/vae")])
    told = words(soup.find(id="failures"))
    assert "record left out: broken/record.json" in told and "Invalid JSON" in told


@pytest.mark.slow
def test_equal_input_gives_an_equal_page(tmp_path):
    runs = records(1, ("table1/cq", "table1/cq-f"))
    a, b = (rendered_page(tmp_path / name, runs[:1], runs, plots=True).read_bytes() for name in "ab")
    assert a == b
