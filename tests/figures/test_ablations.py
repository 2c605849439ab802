"""The notebook on ablations: which runs it takes, and what it shows of them."""

from handmade import record
from notebook_cells import soup

from cqlib.experiments.record import write_record
from cqlib.figures import ablations


def test_a_run_of_this_machine_stands_for_the_published_one_of_its_name(tmp_path, monkeypatch):
    """Counted twice, two seeds would be four, and their intervals too narrow."""
    monkeypatch.setattr(ablations, "PUBLISHED", tmp_path / "published")
    for folder, value, seeds in ((tmp_path / "published", 4.0, (100, 101)), (tmp_path / ablations.FOLDER, 5.0, (100,))):
        for seed in seeds:
            write_record(record("table1/cq-f", seed, BPD=value), folder)
    assert {(run.seed, run.metrics["BPD"].value) for run in ablations.read(tmp_path)} == {(100, 5.0), (101, 4.0)}
    assert len(ablations.read(tmp_path)) == 2


def test_what_has_been_trained_is_shown_and_the_rest_has_a_command():
    runs = [record("table1/cq-f", seed, data="photodigits", BPD=bpd, changes=changes) for seed in (100, 101)
            for changes, bpd in (({}, 5.0), ({"system.critic.penalty_weight": 10.0}, 4.0))]  # fmt: skip
    page = soup(ablations.table(runs))
    lines = [line.get_text() for line in page.table.select("tbody tr") if "CQ" in line.get_text()]
    assert len(lines) == 1 and lines[0].startswith("CQ-F: gradient penalty 10")
    assert "./run_all.sh --only critic-sees-mean,f-by-coverage," in page.get_text()
    nothing = soup(ablations.table([]))
    assert nothing.table is None and "./run_all.sh --only ablations --seeds 100,101" in nothing.get_text()
