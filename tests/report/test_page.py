"""The page: one file, accessible, all text escaped, no path of the machine, every claim and number on it."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from bs4 import BeautifulSoup
from fake_records import SCORES, draw_samples, record, records, rendered_page
from todays import of_today

from cqlib.experiments import paper
from cqlib.experiments.ablations import ABLATIONS
from cqlib.experiments.claims import CLAIMS
from cqlib.experiments.record import write_record
from cqlib.experiments.rows import default_data
from cqlib.metrics.metric import Metric
from cqlib.metrics.protocols import PROTOCOLS
from cqlib.report import digits
from cqlib.report import page as report
from cqlib.report.claim_cards import VERDICTS, cards
from cqlib.report.run_sets import run_sets

HOSTILE = '<script>alert("x")</script><img src=x onerror=alert(1)>'


def page(out: Path, local=(), published=(), plots=False, tried=(), **more) -> BeautifulSoup:
    """The parsed page of records; plots, which take seconds, where they are wanted."""
    return BeautifulSoup(rendered_page(out, local, published, plots, tried, **more).read_text(), "html.parser")


def words(element) -> str:
    return " ".join(element.get_text(" ").split())


FOREIGN = [
    record(changes={"system.quality_weight": "{[]: 1}"}, config_hash="1"),
    record(changes={"training.steps": 10**400}, config_hash="2"),
    replace(record(), row="x a.b=" + "[" * 100_000),
    replace(record(), row="r" * 300),
    record("table1/vae", parameters={"flow": 41_000}),
    record("table1/cq", parameters={"flow": 1, "total": 0}),
    *(replace(record(row), profile="theirs", metrics={name: Metric(0.0, None, 4, "n = " + "9" * 5000)
                                                      for name in ("BPD", "FD-lite0")})
      for row in ("table1/vae", "table1/cq")),
]  # fmt: skip
"""Records that are read, with values that no run of ours has."""


@pytest.mark.parametrize("place", ["local", "published"])
def test_whatever_a_foreign_record_holds_there_is_a_page(tmp_path, place):
    text = words(page(tmp_path, **{place: [*FOREIGN, record(device="Abacus 3")]}))
    assert "record left out" not in text and "Abacus 3" in text


@pytest.fixture(scope="module")
def full(tmp_path_factory) -> BeautifulSoup:
    """Published records of five seeds, one seed here, a diverged run, a failure, pictures, ablations and a notebook."""
    out = tmp_path_factory.mktemp("report")
    local, published = records(1), records(5)
    diverged = record("table1/gan", 1, status="diverged", notes=["ten non-finite losses in a row"])
    draw_samples(local, out / "runs")
    (out / "notebooks").mkdir()
    (out / "notebooks" / "table1_objectives.html").touch()
    ablation = next(ablation for ablation in ABLATIONS if ablation.claims)
    row, changes = next(iter(ablation.changes.items()))
    data = default_data(row, "quick")[0]
    tried = [of_today(replace(record("table1/cq", 100, data=data), row=row, changes=each)) for each in ({}, changes)]
    return page(
        out,
        [*local, diverged],
        published,
        failures=["table1/gan on photos10, seed 1: diverged: see /home/someone/runs/logs/gan.log"],
        tried=tried,
        plots=True,
    )


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
    assert full.find("header") and full.find("nav")["aria-label"] and full.find("footer")
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
    contents = [link["href"][1:] for link in full.nav.find_all("a")]
    assert set(contents) <= {section["id"] for section in full.main.find_all("section", id=True)}


def cells_of(table, label: str, origin: str) -> list[str]:
    """The cells of a row in the columns of an origin."""
    line = next(line for line in table.find_all("tr") if line.th and words(line.th).split(" ")[0] == label)
    return [words(cell) for cell in line.find_all("td", class_=origin)]


def test_all_three_tables_hold_every_row_and_number_of_the_paper(full):
    for table in paper.TABLES:
        shown = full.find(id=f"{table.id}-caption").find_parent("table")
        labels = [words(head) for head in shown.find_all("th", class_="model")]
        for row in table.rows:
            assert any(row.label in label for label in labels)
        cells = [words(cell) for cell in shown.find_all("td", class_="paper")]
        printed = [f"{n.text} {n.mark}".strip() for row in table.rows for n in row.numbers]
        assert [text for text in cells if text] == [text for text in printed if text]


def test_a_measured_line_holds_mean_and_standard_deviation_over_seeds(full):
    table = full.find(id="table1-caption").find_parent("table")
    values = [record("table1/cq-f", seed).metrics["BPD"].value for seed in range(5)]
    cells = cells_of(table, "CQ-F", "published")
    assert cells[0].startswith(f"{np.mean(values):.2f} ± {np.std(values, ddof=1):.2f}") and cells[-1] == "5"
    assert "310.0" in cells_of(table, "Real", "published")
    assert cells_of(table, "99", "published")[0].startswith("≤")
    assert cells_of(table, "GAN", "local")[-1] == "1 of 2 diverged"


def test_every_claim_stands_on_the_page_with_what_each_run_set_says_of_it(full):
    sets = run_sets([*records(1), record("table1/gan", 1, status="diverged")], records(5))
    tested = {card.claim.sentence: card for card in cards(sets) if card.tests}
    matrix = full.find("table", class_="matrix")
    columns = [words(head) for head in matrix.thead.find_all("th")[1:]]
    assert sorted(columns) == sorted(runs.title.replace(": ", " ") for runs in sets)
    seen = set()
    for line in matrix.select("tr[id]"):
        card = tested[words(line.summary)]
        by_set = {result.runs.title.replace(": ", " "): result for result in card.tests}
        for column, square in zip(columns, line.find_all("td", recursive=False), strict=True):
            if column not in by_set:
                assert not words(square)
                continue
            result, sign = by_set[column], square.find(class_="verdict")
            assert (sign.get_text(), sign["aria-label"]) == (VERDICTS[result.verdict].sign, result.verdict)
            assert words(square.find(class_="effect")) == (result.size or result.reason)
            assert (result.text or result.reason) in words(line.details)  # the interval
        seen.add(card.claim.sentence)
    assert seen == tested.keys()
    untested = [words(line.th) for line in full.select('[aria-label="Claims that were not tested"] tbody tr')]
    assert sorted([*seen, *untested]) == sorted(claim.sentence for claim in CLAIMS)


def test_what_failed_and_what_diverged_is_told(full):
    assert "ten non-finite losses in a row" in words(full.find(id="not-reproduced"))
    notice = full.find(id="failures")
    assert "gan.log" in words(notice) and "/home" not in words(full)
    assert full.find(class_="notice").a["href"] == "#failures"


def test_samples_and_digits_stand_above_the_first_table(tmp_path):
    runs = records(1)
    for run in runs:
        shares = {name: Metric(0.1, None, 1000, "p") for name in (digits.READ, *digits.SHARES)}
        run.metrics.update(shares | {f"{name}-real": metric for name, metric in shares.items()})
    draw_samples(runs, tmp_path / "runs")
    first = page(tmp_path, runs).find(id="table1")
    alts = [figure.img["alt"] for figure in first.select(".strip figure")]
    assert alts == ["Real test images of photos10", *(f"Samples of {row.label}" for row in paper.TABLE1.rows)]
    counted, table1, *_ = first.find_all("table")
    assert [words(head) for head in counted.tbody.find_all("th")] == [
        "Real images", *(row.label for row in paper.TABLE1.rows)]  # fmt: skip
    assert "paper-table" in table1["class"]


def test_a_row_not_trained_here_shows_its_command(tmp_path):
    text = words(page(tmp_path, local=[record("table1/vae")], profile="study").find(id="table1"))
    assert "./run_all.sh --profile study --only table1/cq-f" in text
    assert "--only table1/vae " not in text


def test_the_report_of_nothing_says_so(tmp_path):
    soup = page(tmp_path)
    assert "nothing yet" in words(soup) and "No claim has been tested yet" in words(soup)
    untested = soup.find("div", attrs={"aria-label": "Claims that were not tested"})
    assert {words(line.find_all("td")[-1]) for line in untested.tbody.find_all("tr")} == {"nothing was run"}
    assert len(soup.find_all(class_="paper-table")) == 3 and soup.find(id="baselines-caption") is None
    assert not soup.select(".strip, .headlines, .digits")
    for table in paper.TABLES:
        assert f"./run_all.sh --only {table.id}" in words(soup)


def test_a_machine_with_nothing_trained_shows_the_published_runs(tmp_path):
    published = records(3)
    draw_samples(published[::3], tmp_path / "published" / "samples")
    soup = page(tmp_path, published=published)
    assert len(soup.select(".strip figure")) == 6 and "holds" in words(soup.find(id="claims"))
    heads = [words(head) for head in soup.find(id="table1").table.thead.tr.find_all("th")[1:]]
    assert heads == ["Paper CIFAR-10", "This project photos10 16×16, quick"]
    assert "./run_all.sh --only table1" in words(soup.find(id="table1"))


def test_text_from_outside_is_escaped_and_no_path_gets_in(tmp_path):
    folder = str(tmp_path / "images")
    failed = record("table1/vae", device=HOSTILE, versions={HOSTILE: HOSTILE}, status="diverged",
                    notes=[HOSTILE, f"no space left on {folder}/deep/file.bin"])  # fmt: skip
    done = record("table1/cq", data=HOSTILE, config_hash=HOSTILE, curve={HOSTILE: [[1, 2.0], [2, 1.0]]})
    done.metrics["BPD"] = replace(done.metrics["BPD"], protocol=HOSTILE)
    done.metrics[HOSTILE] = done.metrics[f"FD-lite0 [{HOSTILE}]"] = Metric(1.0, None, 1, "p")
    strange = replace(record("table1/gan", profile=HOSTILE), row=HOSTILE)
    named = record("table1/cq", data=f"npz:{folder}/cats.npz")
    changed = replace(record("table1/cq"), changes={"training.optimiser": f"{folder}/deep/file.bin", HOSTILE: HOSTILE})
    failures = [HOSTILE, f"see {folder}/logs/worker.log"]
    soup = page(tmp_path, local=[failed, done, strange, named, changed], failures=failures, plots=True)
    assert not soup.find_all("script") and not soup.find_all(onerror=True)
    assert [image for image in soup.find_all("img") if image.get("src") == "x"] == []
    assert words(soup).count('alert("x")') > 8
    assert str(tmp_path) not in str(soup)
    assert "npz:cats.npz" in words(soup) and "worker.log" in words(soup) and "file.bin" in words(soup)


def test_every_measured_number_stands_in_the_line_of_its_metric_and_the_column_of_its_model(tmp_path):
    runs = [*records(2), record("table3/dcgan"), record("table1/vae", 2, status="diverged"), record(data="npz:mine")]
    first, second = page(tmp_path, published=runs).select('[aria-label^="All numbers, "] table')
    heads = [words(head) for head in first.thead.find_all("th")[1:]]
    lines = {words(line.th): dict(zip(heads, map(words, line.find_all("td")), strict=True))
             for line in first.tbody.find_all("tr")}  # fmt: skip
    bpd = [run.metrics["BPD"].value for run in runs if (run.row, run.status) == ("table1/vae", "done")]
    assert lines["BPD ↓"]["VAE"].startswith(f"{np.mean(bpd):.2f} ± ")
    untrained = lines["FD-lite0-untrained ↓"]
    assert untrained["VAE"] == "" and untrained["DCGAN"] and "IS-lite0 ↑" in lines
    assert lines["seeds"] == {**dict.fromkeys(("VAE", "VAE-F", "CQ", "CQ-F", "GAN"), "2"), "DCGAN": "1"}
    filled = sum(bool(cell) for name, line in lines.items() for cell in line.values() if name != "seeds")
    metrics = [len(record(row).metrics) for row in (*SCORES, "table3/dcgan")]
    assert filled == sum(metrics) and len(second.tbody.find_all("tr")) == metrics[0] + 1


def test_further_protocols_stand_among_all_numbers_and_baselines_in_a_table(tmp_path):
    runs = records(2, ("table3/dcgan",))
    for run in runs:
        run.metrics["FD-lite0 [sngan]"] = Metric(31.5 + run.seed, None, 5000, "FD-lite0: protocol sngan")
    soup = page(tmp_path, local=runs)
    lines = soup.find(id="tables").find_all("tr")
    (line,) = (line for line in lines if line.th and words(line.th) == "FD-lite0 [sngan] ↓")
    assert words(line.td) == "32.0 ± 0.7"
    assert PROTOCOLS["sngan"].about in words(soup.find(id="measured"))
    assert "yes" in soup.find(id="baselines-caption").find_parent("table").get_text()


@pytest.mark.slow
def test_equal_input_gives_an_equal_page(tmp_path):
    runs = records(1, ("table1/cq", "table1/cq-f"))
    a, b = (rendered_page(tmp_path / name, runs[:1], runs, plots=True).read_bytes() for name in "ab")
    assert a == b


def test_damaged_records_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr(report.pictures, "plots_of", lambda *_: {})
    monkeypatch.setattr(report, "PUBLISHED", tmp_path / "published")
    (tmp_path / "runs" / "broken").mkdir(parents=True)
    (tmp_path / "runs" / "broken" / "record.json").write_text("{")
    write_record(record("table1/vae"), tmp_path / "runs")
    soup = BeautifulSoup(report.render(tmp_path / "out", runs_dir=tmp_path / "runs").read_text(), "html.parser")
    assert "record left out: broken/record.json: Invalid JSON" in words(soup.find(id="failures"))
    assert cells_of(soup.find(id="table1").table, "VAE", "local")[-1] == "1"
