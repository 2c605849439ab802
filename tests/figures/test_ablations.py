"""The notebook on ablations: which runs it takes."""

from handmade import record

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
