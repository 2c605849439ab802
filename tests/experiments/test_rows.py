"""Names of rows, profiles, data sets and notebooks: checked with the standard library alone, labels unique."""

import subprocess
import sys

import pytest

from cqlib.experiments import paper, rows
from cqlib.util.errors import UsageError
from cqlib.util.paths import ROOT


def test_options_and_names_need_no_installed_package():
    code = "import cqlib.cli.options, cqlib.experiments.rows, cqlib.data.sets"
    subprocess.run([sys.executable, "-S", "-c", code], check=True, cwd=ROOT)


@pytest.mark.parametrize(
    ("check", "wrong", "nearest"),
    [
        (rows.check_row, "table1/vea", "table1/vae"),
        (rows.check_profile, "quik", "quick"),
        (rows.check_data, "photo10", "photos10"),
        (rows.check_target, "figure_sample", "figure_samples"),
    ],
)
def test_a_wrong_name_is_refused_with_the_nearest_one(check, wrong, nearest):
    assert check(nearest) == nearest
    with pytest.raises(UsageError, match=f"'{wrong}': did you mean '{nearest}'"):
        check(wrong)


def test_labels_and_marks_are_unique_to_a_system():
    systems = [row for row in rows.ROWS if paper.canonical(row) == row]
    assert (
        len({rows.label_of(row) for row in systems}) == len({rows.short_label(row) for row in systems}) == len(systems)
    )
    marks = rows.marker_numbers(systems)
    assert len(set(marks.values())) == len(systems)
    assert rows.marker_numbers(["table2/cqf"])["CQF"] == marks["CQ-F"]
