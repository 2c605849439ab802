"""Ablations: each changes what it says, and bears on claims about the rows that it changes."""

import pytest

from cqlib.suite.cli.options import parse
from cqlib.suite.cli.run_all import plan
from cqlib.suite.experiments import variants
from cqlib.suite.experiments.ablations import ABLATIONS, PROFILE
from cqlib.suite.experiments.claims import BY_ID
from cqlib.suite.experiments.experiment import experiment
from cqlib.suite.experiments.paper import canonical
from cqlib.util.errors import UserError


def compared(ablation):
    """The rows that its claims compare."""
    return {canonical(row) for id in ablation.claims for row in (BY_ID[id].row_a, BY_ID[id].row_b)}


@pytest.mark.parametrize("ablation", ABLATIONS, ids=lambda ablation: ablation.name)
def test_an_ablation_changes_its_rows_and_bears_on_claims_that_compare_them(ablation):
    assert ablation.changes
    assert not ablation.claims or ablation.changes.keys() <= compared(ablation)
    plain = [variants.variant(row, changes) for row, changes in ablation.runs[len(ablation.changes) :]]
    assert set(plain) == {ablation.against.get(row, row) for row in ablation.changes} | compared(ablation)
    for row, changes in ablation.changes.items():
        e = experiment(row, PROFILE, changes=changes)
        assert e.changes == changes and e.variant == ablation.variant(row)  # none is the default, all have their type
        assert e.config_hash != experiment(row, PROFILE).config_hash
        assert changes.keys() <= variants.WORDS.keys()


def test_the_command_trains_what_an_ablation_needs():

    def planned(*only):
        options = parse(["--only", ",".join(only), "--seeds", "100,"])
        return [(e.row, e.changes, e.seed) for e in plan(options)[0]]

    changed = [(row, {"system.critic.penalty_weight": 10.0}, 100) for row in ("table1/cq", "table1/cq-f")]
    compared = ("table1/cq", "table1/cq-f", "table1/vae", "table1/vae-f", "table1/gan")
    assert planned("penalty-10") == [*changed, *((row, {}, 100) for row in compared)]
    everything = planned("ablations")
    assert all((row, dict(changes), 100) in everything for a in ABLATIONS for row, changes in a.runs)
    with pytest.raises(UserError, match="^penalty-10: .* of --profile quick, not of paper"):
        plan(parse(["--only", "penalty-10", "--profile", "paper"]))
