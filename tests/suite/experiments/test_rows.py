"""Names of rows, profiles, data sets and notebooks: checked with the standard library alone, labels unique."""

import subprocess
import sys

from cqlib.suite.experiments import paper, rows
from cqlib.util.paths import ROOT


def test_options_and_names_need_no_installed_package():
    code = "import cqlib.suite.cli.options, cqlib.suite.experiments.rows, cqlib.data.sets"
    subprocess.run([sys.executable, "-S", "-c", code], check=True, cwd=ROOT)


def test_labels_and_marks_are_unique_to_a_system():
    systems = [row for row in rows.ROWS if paper.canonical(row) == row]
    assert (
        len({rows.label_of(row) for row in systems}) == len({rows.short_label(row) for row in systems}) == len(systems)
    )
    marks = rows.marker_numbers(systems)
    assert len(set(marks.values())) == len(systems)
    assert rows.marker_numbers(["table2/cqf"])["CQ-F"] == marks["CQ-F"]
