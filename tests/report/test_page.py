"""The page: one file, accessible, all text escaped, no path of the machine, negative results first."""

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
from cqlib.experiments.ablations import BY_NAME
from cqlib.experiments.claims import CLAIMS
from cqlib.experiments.experiment import experiment
from cqlib.experiments.record import Record, write_record
from cqlib.figures import common
from cqlib.metrics.metric import GROUP, Metric
from cqlib.report import page as report
from cqlib.report.claim_cards import cards, look, spelled
from cqlib.report.run_sets import run_sets

HOSTILE = '<script>alert("x")</script><img src=x onerror=alert(1)>'


def page(out: Path, local=(), published=(), plots=False, tried=(), **more) -> BeautifulSoup:
    """The parsed page of records; plots, which take seconds, where they are wanted."""
    return BeautifulSoup(rendered_page(out, local, published, plots, tried, **more).read_text(), "html.parser")


def words(element) -> str:
    return " ".join(element.get_text(" ").split())


def critic(number: int, size: object, widths: object, blocks: object = None) -> Record:
    system = {"image_channels": 3, "size": size, "critic": {"widths": widths, "blocks": blocks}}
    return record("table1/gan", number, config={"recipe": {"system": system}}, config_hash=f"{number}")


FOREIGN = [
    record(changes={"system.quality_weight": "{[]: 1}"}, config_hash="1"),
    record(changes={"training.steps": 10**400}, config_hash="2"),
    replace(record(), row="x a.b=" + "[" * 100_000),
    replace(record(), row="r" * 300),
    critic(0, 16, []), critic(1, 17, [8, 16, 32]), critic(2, 16, [-1]), critic(3, 16, [8, 16], 10**9),
    record("table1/vae-f", per_image={"BPD": [5.0, 5.1, 5.2], GROUP: [0.0, 1.0]}),
    record("table1/vae", per_image={"BPD": [5.0, 5.1, 5.2]}, parameters={"flow": 41_000}),
    record("table1/cq", parameters={"flow": 1, "total": 0}),
    *(replace(record(row), profile="theirs", metrics={name: Metric(0.0, None, 4, "n = " + "9" * 5000)
                                                      for name in ("BPD", "FD-lite0@T0")})
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
    tried = [record(row, 100) for row in ("table1/gan", "table1/cq-f")]
    tried.append(of_today(replace(tried[1], changes=dict(BY_NAME["cq-f-wide-f"].changes["table1/cq-f"]))))
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
    assert contents == [section["id"] for section in full.main.find_all("section", id=True)]


def test_contents_name_no_section_that_is_not_there(tmp_path):
    few = page(tmp_path, [record("table3/dcgan")])
    contents = [link["href"][1:] for link in few.nav.find_all("a")]
    assert "trade-off" not in contents and set(contents) <= {element["id"] for element in few.find_all(id=True)}


def test_what_it_looks_like_and_what_came_out_stand_before_how_it_was_made(full):
    """Samples beside real images, Table 1, the trade-off, the claims, the other tables; then what is bookkeeping."""
    order = [section["id"] for section in full.main.find_all("section")]
    assert order[:4] == ["table1", "trade-off", "claims", "tables"] and order[-1] == "provenance"
    first = full.find(id="table1")
    assert first.find("img").find_all_next(id="table1-caption") and first.table["class"] == ["paper-table"]
    alts = [figure.img["alt"] for figure in first.select(".strip figure")]
    assert alts[0] == "Real test images of photos10"
    assert [alt.split(" at ")[0] for alt in alts[1:]] == [f"Samples of {row.label}" for row in paper.TABLE1.rows]
    for table in first.find_all("table"):  # what other runs found is folded
        assert (table.find_parent("details") is None) == (table is first.table)


def test_the_first_table_has_three_columns_the_paper_published_and_this_machine(full):
    heads = [words(head) for head in full.find(id="table1").table.thead.tr.find_all("th")[1:]]
    assert heads == ["Paper CIFAR-10", "This project photos10 16×16, quick", "This machine photos10 16×16, quick"]


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
    notes = words(table.find_parent(class_="scroll").find_next_sibling(class_="notes"))
    assert "How these numbers compare with the paper’s" in notes
    assert "BPD not comparable: other data (photos10, not CIFAR-10), other profile (quick, not paper)" in notes
    assert "310.0" in cells_of(table, "Real", "published")


def test_every_claim_and_run_set_that_has_a_verdict_has_a_square_with_its_sign(full):
    sets = run_sets([*records(1), record("table1/gan", 1, status="diverged")], records(5))
    tested = {card.claim.sentence: card for card in cards(sets) if card.tests}
    matrix = full.find("table", class_="matrix")
    columns = [words(head) for head in matrix.thead.find_all("th")[1:]]
    assert sorted(columns) == sorted(runs.title.replace(": ", " ") for runs in sets)
    seen = {}
    for line in matrix.select("tr[id]"):
        card = tested[words(line.summary)]
        by_set = {results[0].runs.title.replace(": ", " "): results for results in card.tests}
        for column, square in zip(columns, line.find_all("td", recursive=False), strict=True):
            if column not in by_set:
                assert not words(square)
                continue
            found, sign = look(by_set[column]), square.find(class_="verdict")
            assert (sign.get_text(), sign["aria-label"]) == (found.sign, spelled(by_set[column]))
            assert found.tone in sign["class"]
            assert words(square.find(class_="effect")) == by_set[column][0].size
            assert bool(square.find(class_="decides")) == (by_set[column] is card.tests[0])
            for result in by_set[column]:
                assert result.text in words(line.details)  # the interval, at each temperature
        seen[card.claim.sentence] = line
    assert seen.keys() == tested.keys()
    untested = [words(line.th) for line in full.select('[aria-label="Claims that were not tested"] tbody tr')]
    assert sorted([*seen, *untested]) == sorted(claim.sentence for claim in CLAIMS)


def test_claims_that_do_not_hold_stand_first_with_what_was_tried(full):
    lines = full.find("table", class_="matrix").tbody.select("tr[id]")
    assert "does not hold" in words(lines[0].details) and "does not hold" not in words(lines[-1].details)
    failed = full.find(id="claim-table1-cq-f-gan-fid")
    assert words(failed.summary) == "CQ-F beats GAN in FID" and "does not hold" in words(failed)
    tried = words(full.find(id="claim-table1-cq-f-gan-is"))
    assert "What was tried" in tried and "as it is" in tried and "width of f 32 instead of 16" in tried
    assert "CQ-F beats GAN in FID" in words(full.find(id="not-reproduced"))
    counts = [words(item) for item in full.select("#claims .counts li")]
    assert counts[0].endswith("does not hold") and any(item.endswith("✓ holds") for item in counts)


def test_every_section_has_its_content(full):
    assert "ten non-finite losses in a row" in words(full.find(id="not-reproduced"))
    assert full.find(class_="notice").a["href"] == "#runs" and "1 failed" in words(full.find(class_="notice"))
    assert "gan.log" in words(full.find(id="runs")) and "/home" not in words(full)
    costs = words(full.find(id="costs"))
    assert "551,000" in costs and "7.4 %" in costs and "610" in costs
    svgs = [svg["aria-label"] for svg in full.find(id="curves").find_all("svg")]
    for origin, losses in (("This machine", True), ("This project", False)):  # whose own page has them
        assert any("against BPD" in label and origin in label for label in svgs)
        assert any(label.startswith("L_") and origin in label for label in svgs) == losses
    protocol = words(full.find(id="protocol"))
    assert "n_real = n_fake = 1,000" in protocol
    assert "All measured numbers, KID, precision, recall" in words(full.find(id="tables"))
    assert "torch 2.13.0" in words(full.find(id="provenance")) and "All 31 runs" in words(full.find(id="provenance"))
    assert "a flower, by vultilion" in words(full.find(id="provenance"))
    assert full.find(id="notebooks").find("a")["href"] == "notebooks/table1_objectives.html"
    assert "lacks a minus sign" in words(full.find(id="footnotes"))


def test_samples_stand_side_by_side_at_both_temperatures_and_once(tmp_path):
    runs = records(1, (*SCORES, "table2/cqf-residual"))
    draw_samples(runs, tmp_path / "runs")
    soup = page(tmp_path, runs)
    images = [figure.find_all("img") for figure in soup.select("#table1 .strip figure")]
    assert [len(pair) for pair in images] == [1, 2, 2, 2, 2, 2]
    assert images[1][0]["alt"].endswith("at temperature 0") and images[1][1]["alt"].endswith("at temperature 1")
    kinds = [{image["src"].partition(";")[0] for image in pair} for pair in images]
    assert kinds == [{"data:image/webp"}, *[{"data:image/png"}] * len(SCORES)]
    labels = [words(figure.b) for figure in soup.find(id="samples").find_all("figure")]
    assert labels == ["Real test images", "CQF + Residual"]  # those above are not repeated


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
    assert not soup.select(".strip") and "There are no sample grids: no run has finished" in words(soup)


def test_a_machine_with_nothing_trained_shows_the_published_runs(tmp_path):
    published = records(3)
    draw_samples(published[::3], tmp_path / "published" / "samples")
    soup = page(tmp_path, published=published)
    assert len(soup.select(".strip figure")) == 6 and "holds" in words(soup.find(id="claims"))
    heads = [words(head) for head in soup.find(id="table1").table.thead.tr.find_all("th")[1:]]
    assert heads == ["Paper CIFAR-10", "This project photos10 16×16, quick"]
    assert "./run_all.sh --profile quick --only table1" in words(soup.find(id="table1"))
    assert "nothing yet" in words(soup.find(id="runs"))


def test_the_trade_off_stands_open_by_the_papers_score_where_runs_show_one(tmp_path, full):
    assert page(tmp_path, published=[record("table1/vae"), record("table1/gan")]).find(id="trade-off") is None
    shown, *more = full.find(id="trade-off").find_all("figure")
    assert words(shown.figcaption).startswith("FD-lite0 against likelihood at T = 0")
    assert not shown.find_parent("details")
    assert [f.find_parent("details") is None for f in more] == [True] + [False] * (len(more) - 1)


def test_fronts_of_all_sizes_are_shown_and_how_to_read_them_is_told_once(tmp_path, monkeypatch):
    rows = ("table1/vae", "table1/cq", "table1/vae-f", "table1/cq-f", "table1/gan")
    heavy = {"system.quality_weight": 400.0}
    runs = [*map(record, rows), replace(record("table1/cq"), changes=heavy)]
    large = [replace(run, profile="study", data=replace(run.data, shape=(5000, 3, 32, 32))) for run in runs]
    monkeypatch.setattr(report.pictures, "plots_of", lambda *_: {})
    monkeypatch.setattr(report.trade_off, "DRAWN", {report.trade_off.FIRST: "better"})
    soup = page(tmp_path, published=map(of_today, [*runs, *large]), plots=True)
    told = [words(figure.figcaption) for figure in soup.find(id="trade-off").find_all("figure")]
    sizes = [re.search("photos10 (16×16, quick|32×32, study)[.]", text)[1] for text in told]
    assert sizes == ["32×32, study"] * 2 + ["16×16, quick"] * 2  # first the front with more of its points
    assert ["how" for text in told if report.trade_off.HOW_TO_READ in text] == ["how"]
    assert report.trade_off.HOW_TO_READ in told[0]


def test_text_from_outside_is_escaped_and_no_path_gets_in(tmp_path):
    folder = str(tmp_path / "images")
    failed = record("table1/vae", device=HOSTILE, versions={HOSTILE: HOSTILE}, status="diverged",
                    notes=[HOSTILE, f"no space left on {folder}/deep/file.bin"])  # fmt: skip
    done = record("table1/cq", data=HOSTILE, config_hash=HOSTILE, curve={HOSTILE: [[1, 2.0], [2, 1.0]]})
    done.metrics["BPD"] = replace(done.metrics["BPD"], protocol=HOSTILE)
    done.metrics[HOSTILE] = done.metrics[f"FD-lite0@T1 [{HOSTILE}]"] = Metric(1.0, None, 1, "p")
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
    best = lines["FD-lite0-best ↓, T = 1"]
    assert best["VAE"] == "" and best["DCGAN"] and "IS-lite0 ↑, T = 0" in lines
    assert lines["seeds"] == {**dict.fromkeys(("VAE", "VAE-F", "CQ", "CQ-F", "GAN"), "2"), "DCGAN": "1"}
    filled = sum(bool(cell) for name, line in lines.items() for cell in line.values() if name != "seeds")
    assert filled == 5 * 14 + 17 and len(second.tbody.find_all("tr")) == 14 + 1


def test_further_protocols_stand_among_all_numbers_and_baselines_in_a_table(tmp_path):
    runs = records(2, ("table3/dcgan",))
    for run in runs:
        run.metrics["FD-lite0@T1 [sngan]"] = Metric(31.5 + run.seed, None, 5000, "FD-lite0: protocol sngan")
    soup = page(tmp_path, local=runs)
    section = soup.find(id="protocol")
    lines = soup.find(id="tables").find_all("tr")
    (line,) = (line for line in lines if line.th and words(line.th) == "FD-lite0 ↓, T = 1 [sngan]")
    assert words(line.td) == "32.0 ± 0.7"
    assert "Held-out images, as remembered" in words(section) and "guess" in words(section)  # what the protocols are
    assert "yes" in soup.find(id="baselines-caption").find_parent("table").get_text()


@pytest.mark.slow
def test_equal_input_gives_an_equal_page(tmp_path):
    runs = records(1, ("table1/cq", "table1/cq-f"))
    a, b = (rendered_page(tmp_path / name, runs[:1], runs, plots=True).read_bytes() for name in "ab")
    assert a == b


def test_damaged_records_are_named_and_those_of_another_recipe_stand_apart(tmp_path, monkeypatch):
    monkeypatch.setattr(report.pictures, "plots_of", lambda *_: {})
    monkeypatch.setattr(report, "PUBLISHED", tmp_path / "published")
    (tmp_path / "runs" / "broken").mkdir(parents=True)
    (tmp_path / "runs" / "broken" / "record.json").write_text("{")
    hashes = [experiment("table1/vae", "quick", seed=seed).config_hash for seed in (0, 1)]
    for seed, config_hash in enumerate((hashes[0], hashes[1], "0123456789abcdef")):
        write_record(record("table1/vae", seed, config_hash=config_hash), tmp_path / "runs")
    write_record(record("table1/gan", 0, config_hash="0123456789abcdef"), tmp_path / "runs")  # nothing of today's
    soup = BeautifulSoup(report.render(tmp_path / "out", runs_dir=tmp_path / "runs").read_text(), "html.parser")
    notice = words(soup.find(id="runs"))
    assert "record left out: broken/record.json: Invalid JSON" in notice
    assert "photos10 16×16, quick, former recipes 2 runs, seeds 0, 2" in notice
    assert cells_of(soup.find(id="table1").table, "VAE", "local")[-1] == "2"


def test_notebooks_get_the_same_table_and_claims(monkeypatch):
    study, other = records(2, profile="study"), records(1, profile="study", data="tiny-imagenet")
    monkeypatch.setattr(report, "published_records", lambda: (*study, *records(1), *other))
    rows = list(SCORES)
    sets = common.at_hand(rows, records(1, profile="study"), "study")
    assert [runs.title for runs in sets] == [
        f"{where}: photos10 16×16, study" for where in ("This project", "This machine")
    ]
    table = BeautifulSoup(common.table("table1", sets, "study").data, "html.parser")
    assert len(table.find_all("th", class_="model")) == 6
    assert [words(head)[:12] for head in table.thead.tr.find_all("th")[1:]] == [
        "Paper CIFAR-",
        "This project",
        "This machine",
    ]
    both = [record("table1/vae", data=name, profile="study") for name in ("photos10", "tiny-imagenet")]
    assert len(common.at_hand(rows, both, "study")) == 4  # on each data set that was asked for
    assert [runs.title for runs in common.at_hand(rows, [], "quick")] == ["This project: photos10 16×16, quick"]
    claims = words(BeautifulSoup(common.claims("table1", sets).data, "html.parser"))
    assert "seen once, contrary" in claims and "IAF" not in claims
    assert "No claim" in common.claims("table2", []).data
