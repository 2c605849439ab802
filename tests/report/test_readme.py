"""README, docs and repository agree: rendered parts are up to date, links lead somewhere, commands can be typed."""

import json
import re
import shlex
from dataclasses import replace
from pkgutil import resolve_name

import numpy as np
import pytest
import yaml
from fake_records import records
from handmade import record
from todays import of_today

from cqlib import data
from cqlib.cli import commands, options
from cqlib.experiments import paper
from cqlib.experiments.experiment import experiment
from cqlib.experiments.record import DataInfo, load_records
from cqlib.experiments.rows import PROFILES, notebooks
from cqlib.metrics.quantities import QUANTITIES
from cqlib.report import facts, readme
from cqlib.report.run_sets import run_sets
from cqlib.util.paths import PUBLISHED, RECORDS, ROOT

BESIDE = ("CONTRIBUTING.md", "CHANGELOG.md", "notebooks/README.md", "reports/contributed/README.md")
PAGES = (readme.README, *sorted(readme.DOCS.glob("*.md")), *(ROOT / name for name in BESIDE))
TEXT = {page: page.read_text() for page in PAGES}
README = TEXT[readme.README]
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(text: str, language: str) -> list[str]:
    """The code blocks of a page in a language."""
    return [code for kind, code in FENCED.findall(text) if kind == language]


def shell_commands() -> list[str]:
    """Every command of this project that a page shows, as code within a line or in a block."""
    found = []
    for text in TEXT.values():
        lines = [line.split(" #")[0].strip() for block in blocks(text, "sh") for line in block.splitlines()]
        found += [*lines, *re.findall(r"`([^`\n]+)`", FENCED.sub("", text))]
    ours = re.compile(r"\./run_all\.sh\b|(\.venv/bin/)?python -m cqlib ")
    return sorted({line for line in found if ours.match(line)})


def anchors(text: str) -> set[str]:
    """The anchors that a code host makes of the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", FENCED.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_rendered_parts_are_those_of_the_published_records():
    published, problems = load_records(RECORDS)
    assert not problems and published
    for file, parts in readme.DOCUMENTS.items():
        assert readme.render(TEXT[file], parts, run_sets([], published)) == TEXT[file], "run: python -m cqlib readme"
        assert set(re.findall(r"<!-- ([\w-]+) -->", TEXT[file])) == parts.keys()
        assert not re.search(r"^ *<!-- .* -->.", TEXT[file], re.MULTILINE)  # what follows would be raw HTML


def test_rendering_changes_when_a_number_does():
    published, _ = load_records(RECORDS)
    first = next(r for r in published if r.variant == "table1/cq-f" and r.profile == "quick")
    bpd = replace(first.metrics["BPD"], value=first.metrics["BPD"].value + 1)
    changed = [r if r is not first else replace(r, metrics={**r.metrics, "BPD": bpd}) for r in published]
    parts = readme.DOCUMENTS[readme.README]
    for name in ("profiles", "table1"):
        assert readme.render(README, {name: parts[name]}, run_sets([], changed)) != README


def test_readme_is_short():
    assert len(README.split()) <= 1200 and len(README.splitlines()) <= 200
    assert README[: README.index("```")].count("\n") < 40  # the first command is on the first screen


def test_a_table_is_of_quick_where_it_has_all_rows_and_else_of_what_has_more():
    fuller = run_sets([], [*records(1), *records(2, profile="study")])
    assert readme.displayed(fuller, paper.TABLE1).profile == "quick"
    rows = tuple(row.id for row in paper.TABLE1.rows)
    lacking = run_sets([], [*records(3, rows[1:]), *records(1, profile="study")])
    assert readme.displayed(lacking, paper.TABLE1).profile == "study"


def test_headlines_name_the_metric_where_verdicts_differ():
    assert readme.verdicts_of({"holds": ["IS", "FID"]}) == "holds"
    assert readme.verdicts_of({"undecided": ["IS"], "equal": ["FID"]}) == "undecided (IS) and equal (FID)"
    assert readme.verdicts_of({"holds": ["IS", "FID‡"]}) == "holds (IS, FID‡)"


def test_a_run_that_says_nothing_is_named_beside_the_table_that_leaves_it_out():
    broken, *others = records(3, ("table1/vae",))
    broken.metrics["BPD"] = replace(broken.metrics["BPD"], value=99.0)
    text = readme.part("table table1", run_sets([], [broken, *others]))
    assert "\nVAE: seed 0 needs more bits than raw pixels after step 3,000 (BPD 99.0, theirs 8)." in text
    (line,) = (line for line in text.splitlines() if line.startswith("| VAE |"))
    assert line.endswith(" 2 |") and "99" not in line


def test_headlines_say_how_many_differ_at_another_size():
    images = DataInfo("photos10", "test", "89abcdef01234567", (2000, 3, 32, 32))
    large = [of_today(replace(run, data=images)) for run in records(3, profile="study")]
    same = readme.part("headlines", run_sets([], [*records(3), *large]))
    assert "At 32×32 [0 of these differ](docs/results.md#on-other-images)." in same
    worse = [replace(run, metrics={**run.metrics, "BPD": replace(run.metrics["BPD"], value=7.0 + run.seed / 100)})
             if run.row == "table1/vae-f" else run for run in large]  # fmt: skip
    by_kid = [replace(run, metrics={**run.metrics, "KD-lite0@T0": replace(run.metrics["KD-lite0@T0"], value=run.seed)})
              if run.row == "table1/cq-f" else run for run in large]  # fmt: skip
    assert "At 32×32 [0 of these differ]" in readme.part("headlines", run_sets([], [*records(3), *by_kid]))
    assert "At 32×32 [1 of these differ]" in readme.part("headlines", run_sets([], [*records(3), *worse]))
    assert "differ" not in readme.part("headlines", run_sets([], [*records(3), *large[::2]]))  # of fewer seeds
    changed = [of_today(replace(run, changes={"training.steps": 7})) for run in large]
    assert not any(runs.outdated for runs in run_sets([], changed))
    assert "differ" not in readme.part("headlines", run_sets([], [*records(3), *changed]))


def test_headlines_count_what_holms_correction_leaves():
    claims = json.loads((PUBLISHED / "claims.json").read_text())["claims"]
    ids = {f"table1/{claim}" for parts in readme.HEADLINES.values() for claim in parts.values()}
    tests = [test for claim in claims if claim["id"] in ids for test in claim["tests"]]
    decided = [result["p_holm"] <= 0.05 for test in tests if test["runs"] == "photos10 16×16, quick"
               for result in test["results"] if result["verdict"] in ("holds", "does not hold")]  # fmt: skip
    assert f"{sum(decided)} of {len(decided)} [stay decided]" in README and 0 < sum(decided) < len(decided)


def test_a_headline_has_a_mark_where_kid_says_otherwise():
    def headline(kd_gan):
        rows = (("table1/cq-f", 90.0, 0.1), ("table1/gan", 190.0, kd_gan))
        runs = [
            record(row, seed, metrics={"FD-lite0@T0": fd + seed, "KD-lite0@T0": kd + seed / 1000})
            for row, fd, kd in rows
            for seed in range(3)
        ]
        return readme.headline_verdicts(run_sets([], runs)[0])["CQ-F beats GAN in IS and FID"]

    assert headline(0.3) == "not run (IS) and holds (FID) at T = 0, not run at T = 1"
    assert headline(0.05) == "not run (IS) and holds (FID‡) at T = 0, not run at T = 1"


def test_time_of_a_seed_is_the_sum_of_the_medians_over_seeds():
    seconds = (60.0, 120.0, 3600.0)
    runs = [replace(run, seconds=seconds[run.seed]) for run in records(3, profile="study")]
    assert readme.cost("study", run_sets([], runs)[0])[0] == "10 min of a core"


def test_a_caption_says_where_rows_have_fewer_seeds():
    runs = [run for run in records(3) if run.row != "table1/vae" or run.seed == 0]
    assert readme.seeds(run_sets([], runs)[0], paper.TABLE1) == "up to 3 seeds"
    assert readme.seeds(run_sets([], records(3))[0], paper.TABLE1) == "3 seeds"


def test_fp32_stands_beside_bf16_row_by_row_and_apart_from_other_images():
    def part(*runs):
        return readme.part("precision table1", run_sets([], [*records(3), *runs]))

    def worse(run, changes):
        by = {"BPD": 0.1, "FD-lite0@T0": 200.0}
        metrics = {name: replace(metric, value=metric.value + by.get(name, 0)) for name, metric in run.metrics.items()}
        config = {"recipe": {"training": {"autocast": "off"}}}
        return of_today(replace(run, changes=changes, device="cpu, fp32", metrics=metrics, config=config))

    command = "`./run_all.sh --only table1-in-fp32 --seeds 3`"
    nothing = f"The claims of Table 1 were not tested in fp32 yet: {command}."
    assert part() == part(*(worse(run, {"system.quality_weight": 24.0}) for run in records(3))) == nothing
    fp32 = [worse(run, {"training.autocast": "off"}) for run in records(3)]
    text = part(*fp32)
    assert "in fp32 too, 3 seeds on photos10 16×16 under `quick` (cpu, fp32), beside the records in bf16 (cpu" in text
    assert "| | BPD | FD-lite0, T = 0 | FD-lite0, T = 1 | IS-lite0, T = 0 | IS-lite0, T = 1 |\n| --- |" in text
    lines = [line.strip("| ").split(" | ") for line in text.rpartition("| --- |")[2].splitlines()[1:]]
    assert [line[0] for line in lines] == ["VAE", "VAE-F", "CQ", "CQ-F", "GAN"]
    for _, bpd, fd_t0, fd_t1, *_ in lines:
        assert "−0.10 bpd [" in bpd and fd_t0.startswith("**−") and fd_t1.startswith("+0.0 % [")
    assert readme.others(run_sets([], [*records(3), *fp32]), paper.TABLE1) == []
    rival = replace(record("table3/sngan"), device="a card, fp32")
    assert "a card" not in part(*fp32, rival)  # of no row of the table
    some = part(*(run for run in fp32 if run.row in ("table1/cq", "table1/cq-f")))
    assert re.findall(r"^\| (VAE|VAE-F|CQ|CQ-F|GAN) \|", some, re.MULTILINE) == ["CQ", "CQ-F"]
    assert "| | BPD | FD-lite0, T = 0 |" in some
    assert "| f lowers BPD, with and without L_Q | holds | holds (with) and not run (without) |" in some


def test_a_set_that_lacks_rows_is_no_other_size_of_the_headlines():
    images = DataInfo("photos10", "test", "89abcdef01234567", (2000, 3, 32, 32))
    few = [replace(run, profile="study", data=images) for run in records(5) if run.row in ("table1/cq", "table1/cq-f")]
    assert readme.otherwise_elsewhere(run_sets([], [*records(5), *few]), run_sets([], records(5))[0]) is None


def test_rows_that_an_untrained_copy_matches_are_named():
    def named(fd):
        runs = [record("table1/cq", metrics={"FD-lite0@T1": fd, "FD-lite0-untrained@T1": 836.7})]
        return list(readme.no_better_than_untrained(run_sets([], runs)[0], paper.TABLE1))

    assert named(838.7) == ["CQ (838.7 against 836.7)"] and named(830.0) == []


def test_what_speaks_against_the_paper_elsewhere_is_listed():
    bpd = {"table1/vae": 5.0, "table1/vae-f": 5.5, "table1/cq": 5.6, "table1/cq-f": 4.0}
    once = [record(row, data="npz:mine", BPD=value, FD=400.0, config_hash="former") for row, value in bpd.items()]
    text = readme.part("other_tables table1", run_sets([], [*records(2), *once]))
    assert "- Without the quality loss, f lowers BPD: seen once, contrary." in text
    assert "CQ-F beats CQ: " not in text


def test_claims_on_all_images_stand_side_by_side():
    few = [record(row, seed, data="npz:mine", BPD=bpd + seed / 100, FD=400.0)
           for row, bpd in (("table1/vae", 5.0), ("table1/vae-f", 5.5)) for seed in range(2)]  # fmt: skip
    lines = readme.part("matrix table1", run_sets([], [*records(2), *few])).splitlines()
    titles, *claims = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line.startswith("|")]
    assert titles[1:] == ["photos10 16×16, quick, 2 seeds", "npz:mine 16×16, quick, 2 seeds"]
    by_claim = {name: cells for name, *cells in claims}
    assert by_claim["Without the quality loss, f lowers BPD"][1] == "✗ −0.50 bpd"
    assert "With the quality loss, f lowers BPD: CQ-F beats CQ" not in by_claim  # tested on one set of images alone
    assert {len(cells) for cells in by_claim.values()} == {2}


def test_other_images_with_more_seeds_come_first():
    few = [record(row, seed, data=name, BPD=5.0, FD=400.0) for name, seeds in (("npz:a", 1), ("npz:b", 2))
           for row in ("table1/vae", "table1/vae-f") for seed in range(seeds)]  # fmt: skip
    sets = run_sets([], [*records(3), *few])
    assert [runs.data for runs in readme.others(sets, paper.TABLE1)] == ["npz:b", "npz:a"]


def test_other_images_are_those_on_which_a_claim_of_the_table_was_tested():
    few = [record(row, data="npz:mine", BPD=5.0, FD=400.0) for row in ("table1/gan", "table1/cq-f")]
    sets = run_sets([], [*records(3), record("table2/cqf-iaf-residual"), *few])
    assert [runs.data for runs in readme.others(sets, paper.TABLE1)] == ["npz:mine"]
    assert readme.others(sets, paper.TABLE2) == []  # whose first and third row they are


def test_rows_that_were_not_run_elsewhere_take_no_line():
    once = [record(row, data="npz:mine", BPD=5.0, FD=400.0) for row in ("table1/vae", "table1/vae-f")]
    text = readme.part("other_tables table1", run_sets([], [*records(2), *once]))
    assert re.findall(r"^\| (\S+) \|", text, re.MULTILINE)[1:3] == ["VAE", "VAE-F"] and "none yet" not in text
    assert "| CQ |" not in text


def test_the_default_command_has_the_time_of_the_slowest_machine_that_was_measured(tmp_path, monkeypatch):
    slow = {"seconds": 1020, "seconds_again": 14.6, "memory_mb": 3456.7, "machine": "2 cores"}
    (tmp_path / "bench").mkdir()
    quick = slow | {"seconds": 800, "machine": "others"}
    (tmp_path / "bench" / "default_run.json").write_text(json.dumps([quick, slow]))
    monkeypatch.setattr(readme, "PUBLISHED", tmp_path)
    assert "| 17 min | 3,457 MB |" in readme.part("profiles", [])
    assert "(seed 0), installation included, on 2 cores." in readme.part("profiles", [])


def test_executed_notebooks_are_linked_where_they_are(tmp_path, monkeypatch):
    monkeypatch.setattr(readme, "EXECUTED", ROOT / "notebooks" / "solutions")
    assert "(notebooks/solutions/01_two_kl_divergences.ipynb)" in readme.part("lessons", [])
    monkeypatch.setattr(readme, "EXECUTED", tmp_path)
    assert "(notebooks/01_two_kl_divergences.ipynb)" in readme.part("lessons", [])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for link in re.findall(r"\]\(([^)\s]+)\)", FENCED.sub("", TEXT[page])):
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert link.startswith("https://") or target.exists(), link
        if anchor and not link.startswith("https://"):
            assert anchor in anchors(target.read_text()), link


def test_every_script_that_is_named_is_there():
    for text in TEXT.values():
        assert all((ROOT / file).is_file() for file in re.findall(r"python ((?:tests|tools|examples)/\S+\.py)", text))


@pytest.mark.parametrize("command", shell_commands())
def test_every_command_can_be_typed(command, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for folder in ("data", "pictures"):
        (tmp_path / folder).mkdir()
    program, *words = shlex.split(command)
    if "--help" in words:
        return
    if program == "./run_all.sh":
        options.parse(words)
        return
    for name, (_, *rest) in commands.COMMANDS.items():
        monkeypatch.setitem(commands.COMMANDS, name, (lambda _: 0, *rest))
    assert commands.main(words[2:]) == 0


def test_readmes_python_does_what_it_says():
    (code,) = blocks(README, "python")
    names = {}
    exec(code, names)
    assert names["images"].shape == (64, 3, 16, 16) and names["images"].abs().max() <= 1
    assert "(64, 3, 16, 16), values in [-1, 1]" in code


def test_the_code_to_copy_trains_and_measures(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (code,) = blocks(TEXT[readme.DOCS / "code.md"], "python")
    printed = []
    exec(code, {"print": printed.append})
    bpd, scores = printed
    assert 0 < bpd < 20 and list(scores) == ["FD-lite0", "Recall-lite0"] and (tmp_path / "my-model").is_dir()


def test_the_recipes_of_archives_work(tmp_path, monkeypatch):
    """On photos10, since CIFAR-10 is not at hand."""
    monkeypatch.chdir(tmp_path)
    photos = data.load("photos10", size=16)
    monkeypatch.setattr(data, "load", lambda name: photos)
    for code in blocks(TEXT[readme.DOCS / "running.md"], "python"):
        exec(code, {})
    monkeypatch.undo()
    part = data.load(f"npz:{tmp_path / 'part.npz'}")
    assert (len(part.train), len(part.test)) == (15_000, 2_000)
    assert np.array_equal(np.sort(part.test.labels), np.sort(photos.test.labels))
    few = data.load(f"npz:{tmp_path / 'cifar10-first-3500.npz'}")
    assert (len(few.train), len(few.test)) == (3_500, 500)


def test_every_equation_is_where_the_map_says():
    for number, (_, where) in enumerate(paper.EQUATIONS, 1):
        thing = resolve_name(where)
        numbers = re.findall(r"\((\d)\)", thing.__doc__)
        ranges = [range(int(a), int(b) + 1) for a, b in re.findall(r"\((\d)\) to \((\d)\)", thing.__doc__)]
        assert str(number) in numbers or any(number in r for r in ranges), where


def test_gpu_hours_are_of_todays_recipes():
    for run in json.loads(facts.GPU_HOURS.read_text())["runs"]:
        assert run["training_hash"] == experiment(run["row"], "paper", run["data"]).training_hash, run


def test_maps_are_complete():
    running, code = TEXT[readme.DOCS / "running.md"], TEXT[readme.DOCS / "code.md"]
    assert all(file.name in running for file in notebooks().values())
    assert all(f"`{profile}`" in README and f"`{profile}`" in running for profile in PROFILES)
    rooms = [path for path in (ROOT / "cqlib").iterdir() if path.is_dir() and path.name != "__pycache__"]
    assert rooms and all(f"(../cqlib/{room.name})" in code for room in rooms)


def test_the_margins_that_are_told_are_those_of_the_verdicts():
    assert QUANTITIES["is"].equal == QUANTITIES["fid"].equal
    assert QUANTITIES["recall"].equal == QUANTITIES["classes"].equal
    text = " ".join(TEXT[readme.DOCS / "results.md"].split())
    assert f"±{QUANTITIES['bpd'].equal} bpd, ±{QUANTITIES['fid'].equal:.0f} % of the score" in text
    assert f"of recall and classes, ±{QUANTITIES['recall'].equal:.0f} points" in text


def test_the_paper_is_cited_as_in_citation_cff():
    (bibtex,) = blocks(README, "bibtex")
    (cited,) = yaml.safe_load((ROOT / "CITATION.cff").read_text())["references"]
    names = " and ".join(f"{author['family-names']}, {author['given-names']}" for author in cited["authors"])
    fields = dict(re.findall(r"(\w+)=\{(.+)\}", bibtex))
    assert fields.pop("note") == cited["identifiers"][0]["value"]
    assert fields == {"title": cited["title"], "author": names, "year": str(cited["year"])}
