"""The report: one file, all text escaped, the right numbers in the right places, honest words."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from bs4 import BeautifulSoup
from fake_records import SCORES, draw_samples, record, records
from PIL import Image

from cqlib import data as data_sets
from cqlib.cli import options
from cqlib.data.catalogue import ENTRIES
from cqlib.data.grids import grid, grid_png, tiles, unscaled
from cqlib.experiments import paper
from cqlib.experiments.claims import CLAIMS
from cqlib.experiments.experiment import experiment
from cqlib.experiments.record import DataInfo, write_record
from cqlib.experiments.rows import marks
from cqlib.metrics.metric import Metric
from cqlib.report import page as report
from cqlib.report import parts as report_parts
from cqlib.report import pictures as report_pictures
from cqlib.report import plots, report_tables, tables
from cqlib.report.claim_cards import STANDINGS, WIDTH, cards, count_claims, standing
from cqlib.report.run_sets import mean_and_std, run_sets
from cqlib.report.verdicts import ClaimResult
from cqlib.util.text import decimal, digits, duration, without_paths

HOSTILE = '<script>alert("x")</script><img src=x onerror=alert(1)>'


def page(out: Path, local=(), published=(), **more) -> BeautifulSoup:
    """The parsed page."""
    index = report.build(out, local=local, published=published, available=tuple(SCORES), **more)
    return BeautifulSoup(index.read_text(encoding="utf-8"), "html.parser")


def words(element) -> str:
    return " ".join(element.get_text(" ").split())


@pytest.fixture(scope="module")
def full(tmp_path_factory) -> BeautifulSoup:
    """Published records of five seeds, one seed here, a diverged run, a failure, pictures and a notebook."""
    out = tmp_path_factory.mktemp("report")
    local, published = records(1), records(5)
    diverged = record("table1/gan", 1, status="diverged", notes=["ten non-finite losses in a row"])
    draw_samples(local, out / "runs")
    return page(
        out,
        [*local, diverged],
        published,
        failures=["table1/gan on photos10, seed 1: diverged: see /home/someone/runs/logs/gan.log"],
        notebooks=[out / "notebooks" / "table1_objectives.html"],
        local_pictures=out / "runs",
    )


def test_one_system_has_one_colour_everywhere():
    """Whatever it is called; and no two in a picture share colour and marker."""
    tables = {name: marks(report_pictures.table_rows(name)) for name in ("table1", "table2", "table3")}
    assert tables["table1"]["CQ-F"] == tables["table2"]["CQF"] and tables["table1"]["GAN"] == tables["table2"]["GAN"]
    assert tables["table2"]["CQF (large Discr.)"] == tables["table3"]["CQF (large Discr.)"]
    for found in tables.values():
        assert len({plots.mark(i) for i in found.values()}) == len(found)
    curves = {"CQ-F": [[[0, 2.0], [10, 1.0]]], "GAN": [[[0, 1.0], [10, 2.0]]]}
    for shown in (curves, dict(reversed(curves.items()))):
        lines = plots.learning_curves(shown, ylabel="L_C", marks=tables["table1"]).axes[0].lines
        colours = dict(zip(shown, (line.get_color() for line in lines), strict=True))
        assert colours == {"CQ-F": plots.SERIES[3], "GAN": plots.SERIES[4]}


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


def test_identifiers_are_unique_and_links_inside_the_page_lead_somewhere(full):
    ids = [element["id"] for element in full.find_all(id=True)]
    assert len(ids) == len(set(ids))
    targets = {link["href"][1:] for link in full.find_all("a") if link["href"].startswith("#")}
    assert targets and targets <= set(ids)


def test_all_three_tables_hold_every_row_and_number_of_the_paper(full):
    for table in paper.TABLES:
        found = full.find(id=f"{table.id}-caption").find_parent("table")
        labels = [words(head) for head in found.find_all("th", class_="model")]
        for row in table.rows:
            assert any(row.label in label for label in labels)
        cells = [words(cell) for line in found.find_all("tr", class_="paper") for cell in line.find_all("td")]
        printed = [f"{n.text} {n.mark}".strip() for row in table.rows for n in row.numbers if n.text]
        for text in printed:
            assert cells.count(text) >= printed.count(text)


def test_a_measured_line_holds_mean_and_standard_deviation_over_seeds(full):
    found = full.find(id="table1-caption").find_parent("table")
    line = found.find_all("tr", class_="published")[3]  # CQ-F
    values = [record("table1/cq-f", seed).metrics["BPD"].value for seed in range(5)]
    cells = [words(cell) for cell in line.find_all("td")]
    assert cells[0] == f"{np.mean(values):.2f} ± {np.std(values, ddof=1):.2f}"
    assert cells[7] == "5" and "not comparable" in cells[8]
    notes = words(found.find_parent(class_="scroll").find_next_sibling(class_="notes"))
    assert "BPD: other data (photos10, not CIFAR-10), other profile (quick, not paper)" in notes


def test_the_standard_deviation_is_that_of_a_sample():
    assert mean_and_std([1.0, 2.0, 3.0]) == (2.0, 1.0)
    assert mean_and_std([4.0]) == (4.0, None)


def test_the_columns_are_the_two_temperatures(tmp_path):
    view = tables.view(paper.TABLE1, run_sets([record("table1/cq-f")], []), (), "quick")
    texts = [cell.text for cell in view.groups[3].lines[1].cells]
    metrics = record("table1/cq-f").metrics
    names = ("IS-lite0@T1", "IS-lite0@T0", "FD-lite0@T1", "FD-lite0@T0")
    places = [digits(name, metrics[name].value) for name in names]
    wanted = [f"{metrics[name].value:,.{n}f}" for name, n in zip(names, places, strict=True)]
    assert texts[1:5] == wanted and view.scores == ("IS / IS-lite0", "FID / FD-lite0", "KID / KD-lite0")


def test_features_of_two_kinds_stand_on_two_lines():
    both = record("table1/vae")
    both.metrics["FID@T1"] = Metric(171.0, None, 10_000, "Inception")
    lines = tables.view(paper.TABLE1, run_sets([both], []), (), "quick").groups[0].lines
    assert [line.features for line in lines] == ["", "inception", "lite0"]
    assert lines[1].cells[3].text == "171.0" and lines[2].cells[3].text != "171.0"


def test_the_floor_is_a_row_of_the_table(full):
    found = full.find(id="table1-caption").find_parent("table")
    floor = next(head for head in found.find_all("th", class_="model") if "Floor" in words(head))
    assert "310.0" in words(floor.find_parent("tbody"))


def test_a_row_not_trained_here_shows_its_command_or_that_there_is_none_yet(tmp_path):
    soup = page(tmp_path, local=[record("table1/vae")], profile="study")
    found = words(soup.find(id="tables"))
    assert "./run_all.sh --profile study --only table1/cq-f" in found
    assert "--only table1/vae " not in found
    assert "--only table3/dcgan" not in found and "cannot be trained by this version yet" in found


def test_claims_that_do_not_hold_stand_first_and_on_the_first_screen(full):
    summary = full.find(id="summary")
    headings = [words(head) for head in summary.find_all("h3")]
    assert headings[1] == "Claims that do not hold"
    claims = summary.find_all("ul", class_="claims")[0]
    assert "CQ-F beats GAN in FID" in words(claims) and "does not hold" in words(claims)
    assert "Claims that hold" in words(full.find(id="claims"))
    assert "CQ-F beats GAN in FID" in words(full.find(id="not-reproduced"))


def test_every_claim_is_shown_once_with_effect_interval_seeds_and_data():
    made = cards(run_sets([], records(5)))
    assert sorted(card.claim.id for card in made) == sorted(claim.id for claim in CLAIMS)
    order = [list(STANDINGS).index(card.standing) for card in made]
    assert order == sorted(order) and sum(count_claims(made).values()) == len(CLAIMS)
    card = next(card for card in made if card.claim.id == "table1/cq-f-gan-fid")
    assert card.standing == "does not hold" and card.scores == ("FD-lite0",)
    (line,) = card.lines
    assert (line.runs, line.source) == ("photos10 16×16, quick", "published, 5 seeds")
    assert [finding.at for finding in line.findings] == ["T = 1", "T = 0"]
    for finding in line.findings:
        assert re.fullmatch(r"−\d+\.\d % \[−\d+\.\d, −\d+\.\d\]", finding.effect)
        bar = finding.bar
        assert bar["low"] <= bar["effect"] <= bar["high"] < 100 and bar["left"] < 100 < bar["right"]


def test_the_run_set_that_decides_comes_first_and_all_bars_have_one_scale():
    larger = records(2, data="tiny-imagenet")
    for run in larger:
        run.metrics["BPD"] = replace(run.metrics["BPD"], value=2 * run.metrics["BPD"].value)
    made = {card.claim.id: card for card in cards(run_sets([*larger, *records(1, data="cifar10")], records(5)))}
    lines = made["table1/vae-gan-bpd"].lines
    assert [line.source for line in lines] == ["published, 5 seeds", "this machine, 2 seeds", "this machine, 1 seed"]
    bars = [line.findings[0].bar for line in lines]
    assert len({(bar["left"], bar["right"]) for bar in bars}) == 1
    assert all(0 <= place <= WIDTH for bar in bars for place in bar.values())
    assert bars[1]["effect"] - 100 == pytest.approx(2 * (bars[0]["effect"] - 100), rel=0.2)


def test_one_seed_is_seen_once_with_its_direction():
    made = {card.claim.id: card for card in cards(run_sets(records(1), []))}
    assert made["table1/f-bpd"].standing == "seen once, as claimed"
    assert made["table1/cq-f-gan-fid"].standing == "seen once, contrary"
    assert made["table2/iaf-bpd"].standing == "not run"


def test_smoke_runs_never_outweigh_others():
    swapped = {"table1/vae": "table1/gan", "table1/gan": "table1/vae"}
    smoke = [replace(run, row=swapped.get(run.row, run.row)) for run in records(5, profile="smoke")]
    made = {card.claim.id: card for card in cards(run_sets([*smoke, *records(1)], []))}
    assert made["table1/vae-gan-bpd"].standing == "seen once, as claimed"


def test_runs_of_the_papers_recipe_on_its_data_decide_and_this_machine_at_a_tie():
    swapped = {"table1/vae": "table1/gan", "table1/gan": "table1/vae"}
    papers = [replace(run, row=swapped.get(run.row, run.row)) for run in records(2, profile="paper", data="cifar10")]
    made = {card.claim.id: card for card in cards(run_sets([*papers, *records(5)], records(5)))}
    card = made["table1/vae-gan-bpd"]
    assert card.standing == "does not hold"
    assert [line.source for line in card.lines] == [
        "this machine, 2 seeds", "this machine, 5 seeds", "published, 5 seeds"]  # fmt: skip


@pytest.mark.parametrize(
    "labels, where",
    [
        (("holds", "holds"), "holds"),
        (("holds", "does not hold"), "depends on the temperature"),
        (("undecided", "does not hold"), "depends on the temperature"),
        (("holds", "undecided"), "undecided"),
        (("equal", "holds"), "undecided"),
        (("seen once", "seen once"), "seen once, depends on the temperature"),
        (("seen once", "does not hold"), "depends on the temperature"),
    ],
)
def test_a_claim_holds_only_where_it_holds_at_both_temperatures(labels, where):
    sides = zip(labels, ("as claimed", "contrary"), strict=True)
    found = [ClaimResult(CLAIMS[0], label, "", direction=side) for label, side in sides]
    assert standing(found) == where and where in STANDINGS


def test_seeds_without_a_partner_are_named():
    left = [run for run in records(5) if (run.row, run.seed) != ("table1/vae", 3)]
    card = next(card for card in cards(run_sets([], left)) if card.claim.id == "table1/f-bpd")
    assert card.lines[0].source == "published, 4 seeds; without a comparable partner: seed 3"


@pytest.mark.parametrize("seeds", [1, 5])
def test_every_claim_stands_on_the_page_once(tmp_path, seeds):
    soup = page(tmp_path, published=records(seeds))
    shown = [words(item.p) for item in soup.select("ul.claims > li")]
    untested = [words(line.th) for line in soup.select('[aria-label="Claims that were not tested"] tbody tr')]
    assert sorted(shown + untested) == sorted(claim.sentence for claim in CLAIMS)


def test_no_verdict_is_told_by_colour_alone(full):
    for verdict in full.find_all(class_="verdict"):
        assert re.search(r"[a-z]{3}", words(verdict))


def test_text_from_outside_is_escaped(tmp_path):
    run = record("table1/vae", device=HOSTILE, versions={HOSTILE: HOSTILE}, notes=[HOSTILE], status="failed")
    done = record("table1/cq", data=HOSTILE, config_hash=HOSTILE, curve={HOSTILE: [[1, 2.0], [2, 1.0]]})
    done.metrics["BPD"] = replace(done.metrics["BPD"], protocol=HOSTILE)
    done.metrics[HOSTILE] = Metric(1.0, None, 1, "p")
    strange = replace(record("table1/gan", profile=HOSTILE), row=HOSTILE)
    soup = page(tmp_path, local=[run, done, strange], failures=[HOSTILE])
    assert not soup.find_all("script") and not soup.find_all(onerror=True)
    assert [image for image in soup.find_all("img") if image.get("src") == "x"] == []
    assert words(soup).count('alert("x")') > 8


def test_no_path_of_the_machine_gets_in(tmp_path):
    folder = str(tmp_path / "images")
    run = record("table1/vae", status="failed", notes=[f"no space left on {folder}/deep/file.bin"])
    named = record("table1/cq", data=f"npz:{folder}/cats.npz")
    soup = page(tmp_path / "out", local=[run, named], failures=[f"see {folder}/logs/worker.log"])
    assert str(tmp_path) not in str(soup)
    assert "npz:cats.npz" in words(soup) and "worker.log" in words(soup) and "file.bin" in words(soup)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("table1/vae at 3 it/s, n/a", None),
        ("https://arxiv.org/abs/1901.01091", None),
        ("notebooks/table1.html", None),
        ("/usr/lib/x.so failed", "x.so failed"),
        ("folder:~/photos/cats", "folder:cats"),
        ("C:\\Users\\me\\x.npz", "x.npz"),
    ],
)
def test_only_absolute_paths_are_cut(text, kept):
    assert without_paths(text) == (text if kept is None else kept)


def test_the_report_of_nothing_says_so(tmp_path):
    soup = page(tmp_path)
    text = words(soup)
    assert "nothing yet" in text and "No claim has been tested yet" in text
    assert len(soup.find(id="tables").find_all("table")) == 3


def test_runs_that_did_not_finish_and_failures_are_named(full):
    assert "ten non-finite losses in a row" in words(full.find(id="not-reproduced"))
    assert "gan.log" in words(full.find(class_="notice")) and "/home" not in words(full)


def test_samples_stand_side_by_side_beside_real_images(full):
    figures = full.find(id="samples").find_all("figure")
    images = [figure.find_all("img") for figure in figures]
    assert len(figures) == 1 + len(SCORES) and [len(found) for found in images] == [1, 2, 2, 2, 2, 2]
    assert images[0][0]["alt"] == "Real test images of photos10"
    assert images[1][0]["alt"].endswith("at temperature 1") and images[1][1]["alt"].endswith("at temperature 0")
    kinds = [{image["src"].partition(";")[0] for image in found} for found in images]
    assert kinds == [{"data:image/webp"}, *[{"data:image/png"}] * len(SCORES)]


@pytest.mark.parametrize(("size", "width"), [(16, 16 * (16 + 1) * 4 + 4), (32, 16 * (32 + 1) + 1)])
def test_larger_real_images_are_shown_without_repeated_pixels(size, width):
    content = report_pictures.real_images("photos10", size, None)
    assert Image.open(io.BytesIO(content)).size[0] == width
    shown = tiles(unscaled(content, size, columns=16), size)
    wanted = data_sets.load("photos10", size=size).test.images[: len(shown)]
    loss = (shown.int() - wanted.int()).abs().float().mean()
    assert loss == 0 if size == 16 else 0 < loss < 4.5  # WebP of quality 90
    assert report_pictures.real_images("nothing", size, None) is None


@pytest.mark.parametrize("data", ["photos10", "npz:mine"])
def test_the_published_page_shows_real_images_only_of_what_any_machine_has(tmp_path, monkeypatch, data):
    runs = [record("table1/vae", data=data)]
    draw_samples(runs, tmp_path)
    real = grid_png(torch.zeros(1, 3, 16, 16, dtype=torch.uint8))
    monkeypatch.setattr(report_pictures, "real_images", lambda *_: real)
    (shown,) = run_sets([], runs)
    labels = [[figure["label"] for figure in report_pictures.grids(shown, ["table1/vae"], tmp_path, None, out)]
              for out in (tmp_path, None)]  # fmt: skip
    assert labels == [["Real test images", "VAE"] if data == "photos10" else ["VAE"], ["Real test images", "VAE"]]
    (block,) = report_pictures.samples_of([shown], {"published": tmp_path}, None, tmp_path)
    assert bool(block["note"]) == (data != "photos10")


def test_the_order_of_models_is_told_with_the_step_since_which_it_stands():
    a, b = [[100, 9.0], [200, 4.0], [300, 3.0]], [[100, 8.0], [200, 5.0], [300, 4.0]]
    order = report_pictures.order
    assert order({"A": [a], "B": [b]}).startswith("The order at the end in one seed, A < B, stands since step 200 of")
    assert "B < A" in order({"A": [b], "B": [a]})
    late = [[100, 9.0], [200, 9.0], [300, 3.5]]  # the mean of two seeds counts, not the first one's
    assert "A < B, is that of the last step alone" in order({"A": [a, late], "B": [b, b]})
    for untold in ({}, {"A": [a]}, {"A": [a], "B": [b[1:]]}, {"A": [a, b[1:]], "B": [b]}):
        assert order(untold) == ""


def test_costs_curves_protocol_provenance_and_links(full):
    costs = words(full.find(id="costs"))
    assert "551,000" in costs and "7.4 %" in costs and "610" in costs
    svgs = [svg["aria-label"] for svg in full.find(id="curves").find_all("svg")]
    for place, losses in (("This machine", True), ("Published", False)):  # whose own page has them
        assert any("against BPD" in label and place in label for label in svgs)
        assert any(label.startswith("L_") and place in label for label in svgs) == losses
    assert "n_real = n_fake = 1,000" in words(full.find(id="protocol"))
    assert "torch 2.13.0" in words(full.find(id="provenance"))
    link = full.find(id="notebooks").find("a")
    assert link["href"] == "notebooks/table1_objectives.html"
    assert "lacks a minus sign" in words(full.find(id="footnotes"))


def test_what_published_data_is_stands_under_the_tables_that_show_it(tmp_path):
    run = record("table1/vae", data="npz:cifar10-jpeg")
    assert "npz:cifar10-jpeg is the whole of CIFAR-10" in words(page(tmp_path, published=[run]))
    assert "is the whole of CIFAR-10" not in words(page(tmp_path, local=[run]))  # anyone's may have that name
    (floor,) = tables.floors(run_sets([run], [])[0])
    assert floor.detail == "npz:cifar10-jpeg 16×16, quick; n = 1,000"
    del run.metrics["FD-lite0-floor"]
    (floor,) = tables.floors(run_sets([run], [])[0])
    assert [cell.text for cell in floor.cells[2:]] == ["—", "0.400"] and floor.detail.endswith("n = 1,000")


def test_rivals_stand_against_their_baselines(tmp_path):
    runs = records(2, ("table3/dcgan", "table3/pixelcnnpp", "table1/gan"))
    histogram = Metric(6.4, None, 2000, "histogram")
    for run in runs[2:4]:
        run.metrics["BPD-histogram"] = histogram
    lines = report_tables.baselines(run_sets(runs, []), list(paper.ROWS))
    assert [(line["label"], line["beats"], line["seeds"]) for line in lines] == [
        ("DCGAN", True, 2), ("PixelCNN++", True, 2)]  # fmt: skip
    cells = [cell.text for cell in lines[0]["cells"]]
    fd = np.mean([run.metrics["FD-lite0@T1"].value for run in runs[:2]])
    assert cells[0] == f"{fd:,.0f}" and cells[2:4] == ["4,000", "2,500"] and cells[5] == "—"
    for name, value in (("FD-lite0-gaussian@T1", 1000.0), ("BPD-histogram", 1.0)):
        changed = dict(runs[2].metrics) | {name: replace(histogram, value=value)}
        worse = [replace(runs[2], metrics=changed)]
        assert not report_tables.baselines(run_sets(worse, []), list(paper.ROWS))[0]["beats"]
    table = page(tmp_path, runs).find(id="baselines-caption").find_parent("table")
    assert "yes" in table.get_text() and "2,900" in table.get_text()
    assert page(tmp_path, records(1)).find(id="baselines-caption") is None


def test_a_record_without_its_best_step_or_without_bpd_stands_against_its_baselines_too():
    (run,) = records(1, ("table3/dcgan",))
    run = replace(run, best_step=None, metrics={**run.metrics, "BPD-histogram": Metric(6.0, None, 9, "histogram")})
    del run.metrics["BPD"]
    (line,) = report_tables.baselines(run_sets([run], []), ["table3/dcgan"])
    assert (line["steps"], line["beats"]) == ("—", True)


def test_protocols_that_differ_in_numbers_of_images_are_told_once():
    few, many = record("table1/vae"), record("table1/vae", data="cifar10")
    for run, n, step in ((few, 500, 100), (many, 2000, 300)):
        said = f"step {step} of 400, chosen on training images (100: 9.5, 300: 7.0); n_real = n_fake = {n}, a # b"
        run.metrics.clear()
        run.metrics.update({"FD": Metric(1.0, None, n, said), "BPD": Metric(5.0, None, n, f"k = 16, n = {n}")})
    assert report_tables.protocols(run_sets([], [few, many])) == [
        ("FD", "the best of the kept steps, chosen on training images; n_real = n_fake = 500 or 2,000, a # b"),
        ("BPD", "k = 16, n = 500 or 2,000"),
    ]


def test_costs_are_means_over_the_device_that_most_runs_had():
    runs = [record("table1/vae", seed, seconds=seconds, device=device)
            for seed, (seconds, device) in enumerate([(100.0, "A"), (200.0, "A"), (900.0, "B")])]  # fmt: skip
    (line,) = report_tables.costs(run_sets(runs, []))
    assert line[2] == "A" and "150" in line
    assert report_parts.device_counts(runs) == "2 runs on A; 1 run on B"


def test_precision_and_recall_stand_in_a_table(tmp_path):
    runs = records(2, ("table1/vae",))
    for run in runs:
        for name in ("Precision-lite0@T0", "Precision-lite0@T1", "Recall-lite0@T0", "Recall-lite0@T1"):
            run.metrics[name] = Metric(0.25 + run.seed / 2, None, 9, "p")
    ((label, where, *cells, seeds),) = report_tables.coverage(run_sets(runs, []), ["table1/vae", "table1/gan"])
    assert (label, seeds) == ("VAE", "2") and [cell.text for cell in cells] == ["0.50"] * 4
    assert "Precision and recall" in words(page(tmp_path / "a", runs).find(id="tables"))
    for run in runs:
        del run.metrics["Recall-lite0@T0"], run.metrics["Recall-lite0@T1"]
    assert "Precision and recall" not in words(page(tmp_path / "b", runs).find(id="tables"))


@pytest.mark.parametrize("run", [
    record("table1/vae", profile="paper", data="cifar10", status="diverged"),
    record("table1/vae", profile="paper"),
])  # fmt: skip
def test_a_run_that_tells_nothing_of_the_papers_numbers_does_not_silence_what_is_missing(run):
    sets = run_sets([run], [])
    (_, table1), (_, everything) = report_parts.towards_the_paper(sets)
    assert table1.startswith("Table 1, about") and "CelebA" in everything
    assert report_parts.lacking(sets) == "no run below has " + ("all three" if run.status == "done" else "any of them")
    whole = replace(run, status="done", profile="quick", data=replace(run.data, name="cifar10"), config={})
    for n_train, words in ((50_000, "all three"), (300, "any of them")):
        made = run_sets([replace(whole, config={"n_train": n_train})], [])
        assert report_parts.lacking(made).endswith(words)
    assert any("No run used" in line for line in report_parts.shortfalls(sets, [], ()))


def test_a_number_that_stands_in_two_tables_counts_once():
    """Table 2's GAN and CQF are Table 1's, Table 3's CQF of one scale is Table 2's: all but its three of STL-10."""
    printed = [n for row in paper.ROWS.values() for n in row.numbers if n.value is not None]
    counts = tables.count_numbers(run_sets(records(1), []))
    assert sum(counts.values()) == len(printed) - 9


def test_data_sets_of_the_slides_that_were_not_run_are_named():
    for n_train in (50_000, 300):  # all of it, or as `smoke` takes it
        run = record("table1/vae", data="cifar10", config={"n_train": n_train})
        sets = run_sets([run, record("table1/vae")], [])
        (line,) = [line for line in report_parts.shortfalls(sets, [], ()) if "seven data sets" in line]
        assert "STL-10, CelebA" in line and ("CIFAR-10" in line) == (n_train == 300) and "--only table4" in line
    whole = [record("table1/vae", data=name, config={"n_train": ENTRIES[name].train}) for name in paper.DATA_SETS]
    assert not [line for line in report_parts.shortfalls(run_sets(whole, []), [], ()) if "seven data" in line]


def test_runs_on_other_images_of_one_name_are_not_averaged():
    """The files behind a name may have changed between two seeds."""
    before, after = record("table1/vae", 0), record("table1/vae", 1)
    changed = replace(after, data=replace(after.data, fingerprint="fedcba9876543210"))
    sets = run_sets([before, changed], [])
    assert [runs.label for runs in sets] == ["photos10 16×16, images 01234567, quick",
                                             "photos10 16×16, images fedcba98, quick"]  # fmt: skip
    assert [len(runs.records) for runs in sets] == [1, 1]
    assert [runs.label for runs in run_sets([before, after], [])] == ["photos10 16×16, quick"]


def test_why_a_claim_was_not_tested_is_told_of_the_runs_that_lack_least():
    sets = run_sets([record("table1/vae", 0), record("table1/vae-f", 1)], [record("table1/gan")])
    reason = {card.claim.id: card.reason for card in cards(sets) if card.standing == "not run"}
    assert reason["table1/f-bpd"].startswith("no two runs of one seed")
    assert reason["table1/quality-loss-bpd"] == "no finished run of table1/cq"
    other = DataInfo("stl10", "test", "0" * 16, (8000, 3, 48, 48))
    sets = run_sets([record("table1/vae"), replace(record("table3/cqf-2-scales"), data=other)], [])
    reason = {card.claim.id: card.reason for card in cards(sets)}
    assert reason["table3/stl10-scales-bpd"] == "no finished run of table3/cqf-large-d"


@pytest.mark.parametrize("value, text", [(-0.00001, "0.0000"), (-1.5, "−1.50"), (1994.0, "1,994"), (0.0, "0.0000")])
def test_a_number_has_the_sign_of_what_is_printed(value, text):
    assert decimal("KD-lite0@T1", value) == text


@pytest.mark.parametrize("name, label", [("KL", "KL (nats per image)"), ("discriminator", "discriminator"),
                                         ("L_C (bits/dim)", "L_C (bits/dim)")])  # fmt: skip
def test_an_axis_has_the_unit_of_its_loss(name, label):
    """A critic's loss has none: some are hinge losses."""
    assert report_pictures.axis(name) == label


def test_curves_that_a_plot_has_no_room_for_are_named(monkeypatch):
    monkeypatch.setattr(report_pictures, "MAX_LINES", 2)
    rows = ("table1/cq", "table1/cq-f", "table1/gan")
    sets = run_sets([replace(record(row), curve={"/home/someone/x": [[1, 2.0]]}) for row in rows], [])
    (plot,) = report_pictures._curves(sets[0], rows, "Table 1", losses=True)
    assert plot["caption"].endswith(" Not drawn: GAN.") and "someone" not in plot["svg"]


def test_scores_under_other_protocols_stand_in_a_table_of_their_own(tmp_path):
    runs = records(2, ("table1/vae", "table1/gan"), profile="paper")
    for i, run in enumerate(runs):
        for name, value in (("sngan", 31.5), ("50k/50k-train", 12.25), (HOSTILE, 1.0)):
            run.metrics[f"FD-lite0@T1 [{name}]"] = Metric(value + i % 2, None, 5000, f"FD-lite0: protocol {name}")
    left_out = "protocol 50k/50k-train left out: it needs 50,000 training images and there are 300"
    runs.append(record("table1/cq", profile="paper", notes=[left_out, "training: slow"]))
    soup = page(tmp_path, local=runs)
    section = soup.find(id="protocol")
    table = section.find(attrs={"aria-label": "Scores under other protocols"}).table
    heads = [words(head) for head in table.thead.find_all("th")]
    assert heads[:6] == ["Model", "Runs", "Metric", "Main protocol", "50k/50k-train", "sngan"] and len(heads) == 7
    lines = [[words(cell) for cell in line.find_all(["th", "td"])] for line in table.tbody.find_all("tr")]
    assert [line[0] for line in lines] == ["VAE", "GAN"] and {line[2] for line in lines} == {"FD-lite0@T1"}
    main = [run.metrics["FD-lite0@T1"].value for run in runs[:2]]
    assert lines[0][3] == f"{np.mean(main):,.0f} ± {np.std(main, ddof=1):,.0f}"
    assert lines[0][4:6] == ["12.8 ± 0.7", "32.0 ± 0.7"]
    text = words(section)
    assert f"photos10 16×16, paper: {left_out}" in text and "slow" not in text
    assert "held-out images" in text and "guess" in text  # what the presets are
    assert not soup.find_all("script")
    plain = [*records(2, ("table1/vae", "table1/gan"), profile="paper"), record("table1/cq", profile="paper")]
    for part in ("tables", "claims", "summary"):
        assert words(soup.find(id=part)) == words(page(tmp_path / "plain", local=plain).find(id=part))


def test_without_other_protocols_there_is_no_such_table(full):
    assert "literature’s protocols" not in words(full.find(id="protocol"))


def test_equal_input_gives_an_equal_page(tmp_path):
    first = report.build(tmp_path / "a", local=records(1), published=records(2)).read_bytes()
    assert first == report.build(tmp_path / "b", local=records(1), published=records(2)).read_bytes()


def test_a_record_that_cannot_be_read_is_named_and_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "PUBLISHED", tmp_path / "published")
    (tmp_path / "runs" / "broken").mkdir(parents=True)
    (tmp_path / "runs" / "broken" / "record.json").write_text("{")
    index = report.render(tmp_path / "out", runs_dir=tmp_path / "runs")
    assert "record left out: broken/record.json: not JSON" in words(BeautifulSoup(index.read_text(), "html.parser"))


def test_runs_of_another_recipe_are_not_averaged_with_todays(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "PUBLISHED", tmp_path / "published")
    hashes = [experiment("table1/vae", "quick", seed=seed).config_hash for seed in (0, 1)]
    for seed, config_hash in enumerate((hashes[0], hashes[1], "0123456789abcdef")):
        write_record(record("table1/vae", seed, config_hash=config_hash), tmp_path / "runs")
    write_record(record("table1/gan", 0, config_hash="0123456789abcdef"), tmp_path / "runs")  # nothing of today's
    soup = BeautifulSoup(report.render(tmp_path / "out", runs_dir=tmp_path / "runs").read_text(), "html.parser")
    notice = words(soup.find(class_="notice"))
    assert "table1/vae on photos10, quick, seed 2 is of another recipe" in notice and "table1/gan" not in notice
    assert "--seeds 2, (and the comma)" in notice and options.seeds("2,") == (2,)
    vae = next(line for line in soup.find_all("tr", class_="here") if "VAE" in words(line.find_parent("tbody")))
    assert words(vae.find_all("td")[-2]) == "2"


def test_notebooks_get_the_same_table_and_claims():
    table = BeautifulSoup(report.table_html("table1", records(1), []), "html.parser")
    assert len(table.find_all("th", class_="model")) == 6 and "This machine" in words(table)
    claims = words(BeautifulSoup(report.claims_html("table1", records(1), []), "html.parser"))
    assert "seen once, contrary" in claims and "IAF" not in claims
    assert "No claim" in report.claims_html("table2", [], [])


def test_one_run_found_twice_counts_once():
    sets = run_sets([record(), replace(record(), row="table2/cqf"), record("table1/vae")], [])
    assert len(sets) == 1 and len(sets[0].of("table1/cq-f")) == 1


@pytest.mark.parametrize(("seconds", "text"), [(40, "40 s"), (200, "3 min"), (11_100, "3 h 05 min"), (89.6, "90 s")])
def test_durations_read_well(seconds, text):
    assert duration(seconds) == text


def test_every_measured_number_stands_in_the_line_of_its_metric_and_the_column_of_its_model(tmp_path):
    runs = [*records(2), record("table3/dcgan"), record("table1/vae", 2, status="diverged"), record(data="npz:mine")]
    views = report_tables.all_numbers(run_sets([], runs))
    assert [view["caption"].partition(" ")[2].split()[0] for view in views] == ["photos10", "npz:mine"]
    lines = {line[0]: dict(zip(views[0]["head"][1:], line[1:], strict=True)) for line in views[0]["lines"]}
    wanted = np.mean([run.metrics["BPD"].value for run in runs[:-1] if (run.row, run.status) == ("table1/vae", "done")])
    assert lines["BPD"]["VAE"].text == f"{wanted:.2f}" and lines["BPD"]["VAE"].std
    assert lines["FD-lite0-best@T1"]["VAE"] == "" and lines["FD-lite0-best@T1"]["DCGAN"].text
    assert lines["seeds"] == {**dict.fromkeys(("VAE", "VAE-F", "CQ", "CQ-F", "GAN"), "2"), "DCGAN": "1"}
    assert views[0]["count"] == 5 * 14 + 17 and views[1]["count"] == 14
    assert "All 101 measured numbers" in words(page(tmp_path, published=runs))


def test_a_grid_keeps_every_pixel():
    images = torch.arange(5 * 3 * 4 * 4, dtype=torch.uint8).reshape(5, 3, 4, 4)
    sheet = grid(images, columns=3)
    assert sheet.shape == (11, 16, 3)
    assert np.array_equal(sheet[6:10, 1:5], images[3].permute(1, 2, 0).numpy())
    assert np.array_equal(grid(images, columns=3, scale=2)[::2, ::2], sheet)
    with pytest.raises(ValueError, match="uint8"):
        grid(images.float())


def test_a_plot_takes_its_colours_from_the_page_and_leaves_matplotlib_alone():
    import matplotlib

    before = dict(matplotlib.rcParams)
    figure = plots.learning_curves({"<b>": [[[0, 2.0], [10, 1.0]]]}, ylabel="bits per dimension")
    figure.axes[0].set_title("0.12345 and 3.14159")
    svg = plots.to_svg(figure, 'a "quoted" <text>')
    assert "0.12345 and 3.14159" in svg and not re.search(r'="[^"]*\b[1-9]\d*\.\d{3}', svg)
    assert dict(matplotlib.rcParams) == before
    assert "var(--ink" in svg and "var(--series-0" in svg and "DejaVu" not in svg
    assert "&lt;b&gt;" in svg and "<b>" not in svg and 'aria-label="a &quot;quoted&quot; &lt;text&gt;"' in svg
    assert svg == plots.to_svg(figure, 'a "quoted" <text>')


def test_a_shortened_drawing_has_the_points_of_the_one_that_was_saved():
    figure, points = plots.blank(4, 3), [(0, 0.25), (1, 3.0), (2, 1.5), (4, 2.125)]
    ax = figure.add_subplot()
    ax.plot(*zip(*points, strict=True))
    svg = plots.to_svg(figure, "x")
    (line,) = [path for path in re.findall(r'd="([^"]*)" clip-path', svg) if len(path.split()) == 2 * len(points) + 1]
    drawn = np.array(line[1:].split(), float).reshape(-1, 2)
    inches = figure.dpi_scale_trans.inverted().transform(ax.transData.transform(points))
    np.testing.assert_allclose(drawn, [[72 * x, 72 * (3 - y)] for x, y in inches], atol=0.1)
    rules = dict(re.findall(r"\.(s[0-9a-f]+)\{([^}]*)\}", svg))
    assert set(re.findall(r'class="([^"]*)"', svg)) == rules.keys() and "stroke-width" in " ".join(rules.values())
    again = [style for style in re.findall(r'style="([^"]*)"', svg) if style in rules.values()]
    assert not again and len(set(rules.values())) == len(rules) > 2
    assert "<g>" not in svg and svg.count("<g") == svg.count("</g>") and svg.count("<text") == svg.count("</text>") > 5


def test_a_line_that_follows_a_curve_stays_a_line():
    path = 'd="M 0 0 L 1 1 C 1 1 2 2 3 3 L 4 4 z"'
    assert path in plots._shorter(f"<svg><path {path}/></svg>")
    assert 'd="M 0 0 1 1 4 4 z"' in plots._shorter('<svg><path d="M 0 0 \nL 1 1 \nL 4 4 \nz\n"/></svg>')


def test_data_of_the_paper_is_compared_with_its_own_column():
    data = DataInfo("stl10", "test", "0123456789abcdef", (8000, 3, 48, 48))
    run = replace(record(), row="table3/cqf-2-scales", data=data, profile="paper")
    sets = run_sets([run], [])
    group = tables.view(paper.TABLE3, sets, (), "paper").groups[-1]
    assert [line.detail for line in group.lines[:2]] == ["CIFAR-10", "STL-10"]
    reasons = " ".join(item.reason for item in group.lines[2].judgements)
    assert "2,000 test images, not 8,000" in reasons and "CIFAR" not in reasons
