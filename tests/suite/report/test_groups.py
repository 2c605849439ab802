"""Run sets: means and standard deviations over the right seeds, in the right places."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from fake_records import record, records
from handmade import F_BPD

from cqlib.metrics.metric import Protocol
from cqlib.metrics.quantities import DRAWN, ENCODED, SHARE
from cqlib.suite.experiments import paper
from cqlib.suite.experiments.claims import BY_ID
from cqlib.suite.report import details, tables, trade_off
from cqlib.suite.report.groups import Cell, groups, local_first, most_complete_by, side_by_side, trained_otherwise
from cqlib.suite.report.table import mean_of, of
from cqlib.suite.report.verdicts import claim_result
from cqlib.util.errors import UserError


def test_means_are_over_finished_seeds_and_name_their_records():
    runs = [record("table1/gan", seed) for seed in (2, 0, 1)] + [record("table1/gan", 3, status="diverged")]
    values = [run.metrics["BPD"].value for run in runs[:3]]
    for run in runs:
        bpd = run.metrics["BPD"]
        run.metrics["BPD"] = replace(bpd, protocol=replace(bpd.protocol, starred=True))
    (runs_of,) = groups(runs, [])
    mean = runs_of.mean("table2/gan", "BPD")  # the same model under another id
    assert (mean.value, mean.std) == pytest.approx((np.mean(values), np.std(values, ddof=1))) and mean.starred
    files = ", ".join(f"table1_gan--photos10--quick--{seed}.json" for seed in range(3))
    assert mean.source == f"3 seeds: {files}"
    assert runs_of.cell("table1/gan", "BPD") == Cell(f"{mean.value:.2f}", f"{mean.std:.2f}", "*", source=mean.source)
    assert runs_of.cell("table1/gan", "FID") == Cell("—") and runs_of.mean("table1/vae", "BPD") is None
    assert groups(runs[:1], [])[0].mean("table1/gan", "BPD").std is None
    assert [run.seed for run in runs_of.records_of("table2/gan")] == [0, 1, 2, 3] and len(runs_of.finished) == 3
    assert runs_of.diverged("table1/gan") == "1 of 4 diverged"


def test_groups_are_of_one_origin_one_version_of_the_images_and_one_way_to_score():
    """Either may have changed between two seeds; one run found twice counts once."""
    before, after = record("table1/vae", 0), record("table1/vae", 1)
    changed = replace(after, data=replace(after.data, fingerprint="fedcba9876543210"))
    sets = groups([before, changed, before], [after])
    assert [(runs.title, len(runs.records)) for runs in sets] == [
        ("This project: photos10 16×16, quick", 1),
        ("This machine: photos10 16×16, quick, images 0123456789abcdef", 1),
        ("This machine: photos10 16×16, quick, images fedcba9876543210", 1),
    ]
    (same,) = groups([record(), replace(record(), row="table2/cqf")], [])
    assert len(same.records_of("table1/cq-f")) == 1
    scored = [record(seed=n, config={"evaluation": {"fidelity_images": n, "side": 96}}) for n in (1000, 2000)]
    assert [runs.distinguished_by for runs in groups(scored, [])] == [
        f"scores of {n} samples at side 96" for n in (1000, 2000)]  # fmt: skip
    (named,) = groups([record(data="npz:/home/me/cats.npz")], [])
    assert named.label == "npz:cats.npz 16×16, quick" and named.data == "npz:/home/me/cats.npz"


def test_runs_of_two_recipes_share_no_mean():
    """Recipes change as the code does; the latest is the row's, and seeds of an earlier one stand apart."""
    recipes = [{"recipe": {"training": {"steps": steps}}} for steps in (400, 4000)]
    ended = ["2026-01-31T12:00:00Z", "2026-03-31T12:00:00Z"]
    before = [record("table1/vae", seed, config=recipes[0] | {"seed": seed}, finished=ended[0]) for seed in range(4)]
    after = [record("table1/vae", seed, config=recipes[1] | {"seed": seed}, finished=ended[1]) for seed in (0, 1)]
    other = record("table1/cq", config=recipes[0], finished=ended[0])
    sets = {runs.label: runs for runs in groups([*before, other, *after], [])}
    earlier = f"photos10 16×16, quick, earlier recipe {before[0].recipe}"
    assert sets.keys() == {"photos10 16×16, quick", earlier}
    assert sets["photos10 16×16, quick"].records == (*after, other) and sets[earlier].records == tuple(before)
    assert before[0].recipe == before[3].recipe != after[0].recipe
    scored = replace(after[1], config=after[1].config | {"evaluation": {"bpd_images": 7}})
    assert scored.recipe == after[0].recipe  # however it was measured


def test_numbers_of_two_protocols_share_no_mean():
    """The latest is the row's; a seed that was measured otherwise stands apart, whatever else it has in common."""
    runs = [record("table1/vae", seed, finished=f"2026-01-0{seed + 1}T12:00:00Z") for seed in range(3)]
    bpd = runs[0].metrics["BPD"]
    runs[0].metrics["BPD"] = replace(bpd, protocol=replace(bpd.protocol, k=5))
    runs[1].metrics["BPD"] = replace(bpd, n=7)
    apart = {runs_of.records[0].seed: runs_of for runs_of in groups(runs, [])}
    assert len(apart) == 3 and not apart[2].distinguished_by
    for seed in (0, 1):
        assert re.fullmatch("earlier protocol [0-9a-f]{8} of BPD", apart[seed].distinguished_by)
        assert apart[seed].mean("table1/vae", "BPD").value == runs[seed].metrics["BPD"].value
    mixed = of([], runs).select(metric="BPD").values
    for pair in (mixed[:2], mixed[1:]):
        with pytest.raises(ValueError, match="no mean over more than one measured_by"):
            mean_of(pair)
    other = replace(runs[2], config={"recipe": 5})
    with pytest.raises(ValueError, match="no mean over more than one recipe"):
        mean_of(of([], [runs[2], other]).select(metric="BPD").values)
    timed = [replace(run, metrics={"seconds": replace(bpd, protocol=Protocol(device=f"cpu {run.seed}"))})
             for run in runs]  # fmt: skip
    assert len(groups(timed, [])) == 1  # of several machines


def test_a_field_younger_than_a_record_changes_no_recipe():
    flow = {"couplings": 3}
    of_before, of_now, mixed = (
        record(config={"recipe": {"system": {"flow": config}}})
        for config in (flow, flow | {"colours": "apart"}, flow | {"colours": "rotated"})
    )
    assert of_before.recipe == of_now.recipe != mixed.recipe


def test_runs_of_two_precisions_share_no_mean():
    """Records from before there were three say `bf16: false`, and are as those of fp32 today."""

    def of_training(seed, training, precision="fp32"):
        return record("table1/vae", seed, config={"recipe": {"training": training}}, precision=precision)

    before, now = of_training(0, {"bf16": False}), of_training(1, {"precision": "fp32"})
    fast = [of_training(seed, {"precision": name}, name) for seed, name in ((2, "tf32"), (3, "bf16"))]
    assert before.recipe == now.recipe and len({run.recipe for run in (now, *fast)}) == 3
    together = [[run.seed for run in runs.records] for runs in groups([before, now, *fast], [])]
    assert sorted(together) == [[0, 1], [2], [3]]
    for run in fast:
        with pytest.raises(ValueError, match="no mean over more than one"):
            mean_of(of([], [now, run]).select(metric="BPD").values)


def test_changed_rows_follow_by_row_and_lambda_and_other_changes_are_sets_of_their_own():
    plain = [record(row) for row in ("table1/cq", "table1/cq-f")]
    changed = [record(row, changes={"system.quality_weight": weight})
               for row in ("table1/cq-f", "table1/cq") for weight in (1600.0, 100.0, 400.0)]  # fmt: skip
    runs, other = groups([], [*changed, *plain, record(changes={"system.quality_weight": 7.0})])
    of_changes = [(run.row, run.changes["system.quality_weight"]) for run in runs.records if run.changes]
    assert of_changes == [(row, weight) for row in ("table1/cq", "table1/cq-f") for weight in (100.0, 400.0, 1600.0)]
    assert other.changes == {"system.quality_weight": 7.0} and other.done("table1/cq-f")
    points = trade_off.mean_fronts(runs, "FD-lite0")["with f"]
    assert list(points) == [25.0, 100.0, 400.0, 1600.0]  # no VAE-F here
    run = plain[1]
    assert points[25.0][1:3] == (run.metrics["BPD"].value, run.metrics["FD-lite0"].value)


def test_it_is_said_where_this_machine_and_the_published_runs_had_different_recipes():
    short = [replace(run, config={"recipe": {"steps": 5}}) for run in records(1, ("table1/cq",))]
    sets = groups([*short, *records(1, ("table1/vae",))], records(2))
    assert trained_otherwise(sets, ["table1/vae", "table1/cq", "table1/gan"]) == ["table1/cq"]
    assert [remark for remark in tables.view(paper.TABLE1, sets).remarks if remark.startswith("CQ: ")]


def test_rows_that_do_not_have_what_is_changed_are_compared_with_those_that_have_it():
    """A VAE has no colours of f: it stands as it is beside the changed VAE-F; no claim about it alone is tested."""
    config = {"table1/vae": {"flow": None}, "table1/cq": {"flow": None}, "table1/vae-f": {"flow": {"colours": "apart"}}}
    made = [record(row, seed, config={"recipe": {"system": system}}) for row, system in config.items()
            for seed in range(2)]  # fmt: skip
    changed = [replace(run, changes={"system.flow.colours": "apart"}) for run in made[4:]]
    plain, apart = groups([], [*made, *changed])
    assert apart.label == "photos10 16×16, quick, f’s colours apart" and apart.records == tuple(changed)
    assert [run.row for run in apart.unaffected.records] == ["table1/vae"] * 2 + ["table1/cq"] * 2
    assert apart.records_of("table1/vae") == plain.records_of("table1/vae") and apart.rows.keys() == {"table1/vae-f"}
    assert not plain.unaffected and plain.records_of("table1/vae-f") == made[4:]
    assert claim_result(F_BPD, apart).seeds == ((0, 1), (0, 1))
    assert side_by_side([plain, apart], ["table1/vae", "table1/vae-f"], "quick") == [[plain], [apart]]
    assert claim_result(BY_ID["table1/quality-loss-bpd"], apart).reason == "the change concerns neither model"


def test_side_by_side_stand_the_runs_of_one_data_set_and_profile_this_machines_first():
    """What was asked for here, however little of it; else what has most rows, of equals the profile asked for."""
    rows = [row.id for row in paper.TABLE1.rows]

    def first(local, published, profile="quick"):
        return [runs.title for runs in next(iter(side_by_side(groups(local, published), rows, profile)), [])]

    study = records(2, profile="study")
    assert first([], [*study, *records(1)]) == ["This project: photos10 16×16, quick"]
    assert first([], [*study, *records(1, rows[:4])]) == ["This project: photos10 16×16, study"]
    here = [record("table1/vae", data="cifar10", profile="paper")]
    assert first(here, records(1), "paper") == ["This machine: CIFAR-10 16×16, paper"]
    assert first([record("table1/vae", profile="study")], records(1)) == ["This project: photos10 16×16, quick"]
    assert first([record("table1/vae")], records(1)) == [
        "This project: photos10 16×16, quick", "This machine: photos10 16×16, quick"]  # fmt: skip
    assert first([], []) == first([record("table2/gan-residual")], []) == []


def test_which_set_is_shown():
    """This machine's before published ones, changed recipes last; of most runs, then of the profile asked for."""
    changed = record("table1/cq-f", changes={"training.steps": 100})
    sets = groups([record("table1/vae"), changed], [*records(1, profile="study"), *records(1)])
    assert [(runs.origin, bool(runs.changes)) for runs in local_first(sets)] == [
        ("local", False), ("published", False), ("published", False), ("local", True)]  # fmt: skip

    def shown(row, profile):
        return most_complete_by(sets, lambda runs: len(runs.done(row)), profile).title

    assert shown("table1/cq", "study") == "This project: photos10 16×16, study"
    assert shown("table1/vae", "quick") == "This machine: photos10 16×16, quick"
    with pytest.raises(UserError, match="no records yet"):
        most_complete_by([], lambda runs: 0.0)


def test_the_mixtures_bound_is_that_of_the_probabilities_themselves():
    """Of any image, if the other model gives it any probability at all, and reached where it gives it none."""
    rng = np.random.default_rng(0)
    dimensions, share = 12, 0.01
    for _ in range(100):
        p_likely, p_gan = rng.uniform(1e-6, 1e-3), rng.uniform(0, 1e-3)
        bpd = -np.log2(p_likely) / dimensions
        mixed = -np.log2((1 - share) * p_gan + share * p_likely) / dimensions
        assert mixed <= tables.most_bits(bpd, dimensions, share)
    assert tables.most_bits(4.6, 768) == pytest.approx(4.6 + np.log2(100) / 768)  # 0.009 bits at 16x16
    (runs,) = groups(records(3), [])
    bpd, distance, _ = tables.mixture_cells(runs, ["BPD", "FD-lite0"])
    most = runs.mean("table1/vae-f", "BPD").value + np.log2(100) / (3 * 16 * 16)
    assert most <= float(bpd.text.removeprefix("≤\u00a0")) < most + 0.01
    assert distance.text == f"≈\u00a0{runs.cell('table1/gan', 'FD-lite0').text}"
    (lacking,) = groups([run for run in records(1) if run.row != "table1/gan"], [])
    assert tables.mixture_cells(lacking, ["BPD", "FD-lite0"]) is None


def test_the_sigmas_of_the_two_regimes_are_means_over_seeds():
    def with_sigmas(run, encoded, drawn, share):
        values = {ENCODED: encoded, DRAWN: drawn, SHARE: share}
        measured = {name: replace(run.metrics["BPD"], value=value) for name, value in values.items()}
        return replace(run, metrics=run.metrics | measured)

    seeds = [with_sigmas(record("table1/cq-f", seed), np.log(0.2), np.log(0.01), 0.003 + 0.002 * seed)
             for seed in (0, 1)]  # fmt: skip
    (runs,) = groups([], [*seeds, *records(1, ("table1/vae",))])
    ((label, *cells),) = details.regime_lines(runs, ["table1/vae", "table1/cq-f"])  # the VAE's record is older
    assert label == "CQ-F" and [cell.text for cell in cells] == ["0.200", "0.010", "0.4 %", "2"]
    assert "2 seeds" in cells[0].source


def test_counted_digits_are_means_over_seeds_below_real_images(tmp_path, monkeypatch):
    monkeypatch.setattr(details, "BY_EYE", tmp_path / "none.json")

    def counted(run, read):
        shares = {**dict.fromkeys(details.SHARES, read / 10), details.READ: read}
        values = shares | {f"{name}-real": 0.1 for name in shares}
        return replace(run, metrics={name: replace(run.metrics["BPD"], value=v) for name, v in values.items()})

    runs = [counted(record("table1/cq-f", seed), read) for seed, read in enumerate((0.5, 0.7))]
    real, cqf = details.digit_lines(groups([], [*runs, *records(1, ("table1/vae",))]), ["table1/vae", "table1/cq-f"])
    assert (real.label, real.read, cqf.label) == ("Real images", 0.1, "CQ-F")
    assert cqf.read == pytest.approx(0.6) and cqf.shares == pytest.approx([0.06] * 10) and "2 seeds" in cqf.source
    here = details.digit_lines(groups([counted(record("table1/cq-f"), 0.9)], runs), ["table1/cq-f"])
    assert here[1].read == pytest.approx(0.9)  # this machine's before published ones
    assert details.digit_lines(groups([], records(1)), ["table1/vae"]) == []  # on other images nobody counts
