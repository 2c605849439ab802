"""Commands on what is finished: compare, verify, card, report, export, publish."""

import argparse
import tempfile
from pathlib import Path

from cqlib.suite.cli.experiments import experiment_from_options
from cqlib.suite.cli.options import OPTIONS, check_folder
from cqlib.util.errors import StoppedEarly, to_stderr


def compare(options: argparse.Namespace) -> None:
    """say why the numbers of two runs differ: what differs, most important first, and the spread over seeds"""
    from cqlib.suite.experiments.compare import lines, pair

    print(*lines(*pair(options.first, options.second, options.runs_dir)), sep="\n")


def verify(options: argparse.Namespace) -> int:
    """re-evaluate published weights and compare with their records; exit status 1 where one is off"""
    from cqlib.suite.experiments.verify import lines, published, verify

    passed = True
    with tempfile.TemporaryDirectory() as folder:
        try:
            for record in published(options.row, options.profile, options.data, options.seed):
                check = verify(record, Path(folder), data_dir=options.data_dir)
                passed &= check.passed
                print(*lines(check), sep="\n", flush=True)
        except StoppedEarly as error:
            raise StoppedEarly("stopped; nothing of it is kept: run it again") from error
    return 0 if passed else 1


def card(options: argparse.Namespace) -> None:
    """write a trained row or published weights to a folder as a model hub takes it: weights, config, card"""
    from cqlib.suite.experiments.model_card import write

    print(*write(experiment_from_options(options), options.runs_dir, options.folder), sep="\n")


def report(options: argparse.Namespace) -> None:
    """render the report from records; nothing is trained"""
    from cqlib.suite.report.page import render

    print(f"report: {render(options.out, runs_dir=_records_folder(options))}")


def _records_folder(options: argparse.Namespace) -> Path:
    """The folder of records. UserError if it does not exist, unless it is the default: there are published records."""
    default = options.runs_dir == OPTIONS["--runs-dir"]["default"]
    return options.runs_dir if default else check_folder("--from", options.runs_dir)


def export(options: argparse.Namespace) -> None:
    """write all records, of this machine and published, to a table: a line per record and metric"""
    from cqlib.suite.report.table import joined, read, write_csv

    *tables, problems = read(_records_folder(options))
    for problem in problems:
        to_stderr(f"left out: {problem}")
    print(f"{options.csv}: {write_csv(joined(tables), options.csv)} lines")


def publish(options: argparse.Namespace) -> None:
    """copy the records, samples and small models of finished runs to reports/published/"""
    from cqlib.suite.report.publish import PUBLISHED, publish

    for file in publish(check_folder("RUNS_DIR", options.runs_dir)):
        print(file.relative_to(PUBLISHED.parent.parent))


def readme(options: argparse.Namespace) -> None:
    """render README.md and docs again from the published records"""
    from cqlib.suite.report import readme

    readme.write()
