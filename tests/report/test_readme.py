"""README and repository agree: rendered parts are up to date, links lead somewhere, maps are complete."""

import importlib
import re

from cqlib.experiments import paper
from cqlib.experiments.record import load_records
from cqlib.experiments.rows import PROFILES, notebooks
from cqlib.report import readme
from cqlib.util.paths import PUBLISHED, ROOT

TEXT = readme.README.read_text()


def test_rendered_parts_are_those_of_the_published_records():
    records, problems = load_records(PUBLISHED / "records")
    assert not problems and records
    assert readme.render(TEXT, records) == TEXT, "run: python -m cqlib readme"


def test_rendering_changes_when_a_number_does():
    from dataclasses import replace

    records, _ = load_records(PUBLISHED / "records")
    first = next(r for r in records if r.row == "table1/cq-f")
    bpd = replace(first.metrics["BPD"], value=first.metrics["BPD"].value + 1)
    changed = [r if r is not first else replace(r, metrics={**r.metrics, "BPD": bpd}) for r in records]
    assert readme.render(TEXT, changed) != TEXT


def test_links_lead_somewhere():
    links = re.findall(r"\]\(([^)#\s]+)\)", TEXT)
    assert links
    for link in links:
        if not link.startswith("https://"):
            assert (ROOT / link).exists(), link


def test_every_equation_is_where_the_map_says():
    for equation in paper.EQUATIONS:
        module, name = readme._split(equation.where)
        thing = importlib.import_module(module)
        for part in name.split("."):
            thing = getattr(thing, part)
        numbers = re.findall(r"\((\d)\)", thing.__doc__)
        ranges = [range(int(a), int(b) + 1) for a, b in re.findall(r"\((\d)\) to \((\d)\)", thing.__doc__)]
        assert str(equation.number) in numbers or any(equation.number in r for r in ranges), equation


def test_every_notebook_and_profile_is_in_the_readme():
    for file in notebooks().values():
        assert file.name in TEXT
    for profile in PROFILES:
        assert f"`{profile}`" in TEXT


def test_published_models_can_be_loaded_and_drawn_from(tmp_path):
    """A checkpoint whose recipe has changed since would not be found: publish again."""
    from cqlib.experiments import run
    from cqlib.metrics import evaluation
    from cqlib.report import publish

    for row in publish.MODELS:
        model = run.load(row, runs_dir=tmp_path)
        images = evaluation.draw(model, 8, temperature=1.0, seed=0)
        assert images.shape == (8, 3, 16, 16) and images.float().std() > 10


def test_table_1_stands_once_for_every_data_set_with_its_training_images():
    from dataclasses import replace

    from cqlib.experiments.record import DataInfo
    from cqlib.report.run_sets import run_sets

    records, _ = load_records(PUBLISHED / "records")
    vae = next(r for r in records if r.row == "table1/vae" and r.profile == "quick")
    data = DataInfo("npz:mine", "test", "0" * 16, (500, 3, 32, 32))
    bpd = replace(vae.metrics["BPD"], value=4.321)
    config = {**vae.config, "n_train": 3500}
    other = replace(vae, profile="study", data=data, config=config, metrics={**vae.metrics, "BPD": bpd})
    first, *lines = readme.everywhere(run_sets([], [vae, other])).splitlines()[2:]
    assert first.startswith("| the paper: CIFAR-10 | 50,000 |  |  | 4.4 | 3.5 | 4.4 | 3.9 | 7.0")
    (mine,) = [line for line in lines if "npz:mine 32×32, study" in line]
    fd = vae.metrics["FD-lite0@T1"].value
    assert "| 3,500 | 1,000 | 1 | 4.32 |" in mine and mine.endswith(f"| {fd:.1f} |  |  |  |  |")
    assert len([line for line in lines if line]) == 2  # of data that needs no words
    known = replace(other, data=replace(data, name="npz:cifar10-jpeg"))
    assert "- npz:cifar10-jpeg is the whole of CIFAR-10 saved as JPEG" in readme.everywhere(run_sets([], [known]))


def test_what_a_reader_has_to_know_of_a_claim_stands_below_its_table():
    from cqlib.experiments.claims import SAME_CRITIC, SCALES
    from cqlib.report.run_sets import run_sets

    text = readme.claims(paper.TABLE3, run_sets([], load_records(PUBLISHED / "records")[0]))
    (same,) = [line for line in text.splitlines() if line.endswith(SAME_CRITIC)]
    assert "With one discriminator, two scales buy likelihood" in same and "CQF beats" not in same
    assert text.count(SCALES) == 1


def test_the_margins_that_are_told_are_those_of_the_verdicts():
    assert paper.EQUAL["is"] == paper.EQUAL["fid"]
    assert f"±{paper.EQUAL['bpd']} bpd or ±{paper.EQUAL['fid']:.0f} % of the score" in TEXT.replace("\n", " ")
