"""The notebook on ablations: which runs it takes, and what it shows of them."""

from dataclasses import replace

import pytest
from handmade import record
from notebook_cells import soup

from cqlib.suite.experiments.ablations import BY_NAME
from cqlib.suite.experiments.record import write_record
from cqlib.suite.figures import ablations
from cqlib.suite.report.ablations import effect, group
from cqlib.suite.report.table import Table, of


def test_a_run_of_this_machine_stands_for_the_published_one_of_its_name(tmp_path, monkeypatch):
    """Counted twice, two seeds would be four, and their intervals too narrow."""
    monkeypatch.setattr(ablations, "PUBLISHED", tmp_path / "published")
    monkeypatch.setattr(ablations.page, "published_records", lambda: tuple(map(plain, (0, 1, 2), (3.0, 3.0, 3.0))))
    for folder, value, seeds in ((tmp_path / "published", 4.0, (0, 1)), (tmp_path / ablations.FOLDER, 5.0, (0,))):
        for seed in seeds:
            write_record(plain(seed, value), folder)
    runs = ablations.read(tmp_path).records
    assert {(run.seed, run.metrics["BPD"].value) for run in runs} == {(0, 5.0), (1, 4.0), (2, 3.0)}
    assert len(runs) == 3


def test_runs_in_another_precision_or_of_other_images_are_not_compared():
    runs = [plain(0, 3.0), replace(plain(1, 3.0), precision="bf16"), record("table1/cq-f", 2, data="photos10", BPD=3.0)]
    assert [run.seed for run in group(of([], runs), Table()).records] == [0]


def test_of_a_row_with_two_recipes_the_latest_is_taken():
    made = [replace(plain(seed, 3.0), config={"recipe": {"steps": seed}}, finished=f"2026-0{9 - seed}-01T12:00:00Z")
            for seed in range(3)]  # fmt: skip
    assert [run.seed for run in group(of([], made), Table()).records] == [0]


def plain(seed, bpd):
    return record("table1/cq-f", seed, data="photodigits", BPD=bpd)


def test_a_change_is_compared_with_its_row_as_it_is_or_with_the_one_that_it_names():
    """Runs of a change that stand among those of the tables count, too."""

    def changed(name, bpd):
        changes = BY_NAME[name].changes["table1/cq-f"]
        return [record("table1/cq-f", seed, data="photodigits", BPD=bpd, changes=dict(changes)) for seed in (0, 1)]

    cq = [record("table1/cq", seed, data="photodigits", BPD=7.0) for seed in (0, 1)]
    tables = [plain(0, 5.0), plain(1, 5.0), *cq, *changed("couplings-alone", 6.0)]
    runs = group(of([], tables), of([], changed("rotation-alone", 6.5)))
    found = [effect(BY_NAME[name], "table1/cq-f", runs) for name in ("couplings-alone", "rotation-alone")]
    assert [each.results[0].effect for each in found] == pytest.approx([-1.0, 0.5])
    assert [each.words.endswith(", against CQ") for each in found] == [False, True]


def test_a_part_of_cq_f_pays_what_the_model_without_it_lacks():
    """In bits, and in FD as a share of that of the model without it."""

    def three(row, bpd, fd):
        return [record(f"table1/{row}", seed, data="photodigits", BPD=bpd, FD=fd) for seed in (0, 1, 2)]

    found = ablations.parts(group(of([], [*three("cq-f", 5, 60), *three("cq", 6, 80), *three("gan", 7, 40)]), Table()))
    effects = {part: [result.effect for result in results] for part, results in found.items()}
    assert list(effects) == ["f (without: CQ)", "L_C (without: GAN)"]
    assert effects["f (without: CQ)"] == pytest.approx([1, 25])
    assert effects["L_C (without: GAN)"] == pytest.approx([2, -50])


def test_what_has_been_trained_is_shown_and_the_rest_has_a_command():
    changes = {"system.critic.penalty_weight": 10.0}
    changed = [record("table1/cq-f", seed, data="photodigits", BPD=4.0, changes=changes) for seed in (0, 1)]
    page = soup(ablations.table(group(of([], [plain(0, 5.0), plain(1, 5.0)]), of([], changed))))
    lines = [line.get_text() for line in page.table.select("tbody tr") if "CQ" in line.get_text()]
    assert len(lines) == 1 and lines[0].startswith("CQ-F: gradient penalty 10")
    assert "./run_all.sh --only critic-sees-mean,f-by-coverage," in page.get_text()
    other = soup(ablations.table(group(of([], [plain(0, 5.0), plain(1, 5.0)]), of([], changed)), ("one-sigma",)))
    assert other.table is None and "--only one-sigma --seeds" in other.get_text()
    nothing = soup(ablations.table(group(Table(), Table())))
    assert nothing.table is None and "./run_all.sh --only ablations --seeds 0-2" in nothing.get_text()
