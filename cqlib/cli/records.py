"""Commands on what is finished: compare, verify, card, report, export, publish."""

import argparse
import csv
import io
import json
import os
import tempfile
from itertools import chain
from pathlib import Path

from cqlib.cli.options import OPTIONS, check_folder, folder, new_file, path
from cqlib.cli.registry import EXPERIMENT, command, experiment_from_options
from cqlib.util.errors import StoppedEarly, one_line, to_stderr


@command(
    ("first", {"metavar": "A", "help": "a record's file, a run's folder, or the name of either"}),
    ("second", {"metavar": "B", "nargs": "?", "help": "another, as A (default: the published run of A's name)"}),
    "--runs-dir",
    ends=["table1_cq-f--photos10--quick--0", "record.json theirs.json"],
)
def compare(options: argparse.Namespace) -> None:
    """say why the numbers of two runs differ: what differs, most important first, and the spread over seeds"""
    from cqlib.report.compare import lines, pair

    print(*lines(*pair(options.first, options.second, options.runs_dir)), sep="\n")


@command(
    ("row", {**OPTIONS["row"], "nargs": "?", "help": "its weights alone (default: all that are published)"}),
    ("--profile", {**OPTIONS["--profile"], "default": None, "help": "those of one profile alone"}),
    ("--data", {**OPTIONS["--data"], "help": "those of one data set alone"}),
    ("--seed", {**OPTIONS["--seed"], "default": None, "help": "those of one seed alone"}),
    "--data-dir",
    "--device",
    ("--json", {"type": new_file, "metavar": "FILE", "help": "write the receipt there as well"}),
    ends=["", "table1/cq-f --json receipt.json", "--profile quick"],
)
def verify(options: argparse.Namespace) -> int:
    """re-evaluate published weights and compare with their records; exit status 1 where one is off"""
    from cqlib.report.verify import lines, published, receipt, verify
    from cqlib.util.files import write_atomic

    checks = []
    with tempfile.TemporaryDirectory() as folder:
        try:
            records = published(options.row, options.profile, options.data, options.seed)
            for record in records:
                checks.append(verify(record, Path(folder), data_dir=options.data_dir))
                print(*lines(checks[-1]), sep="\n", flush=True)
                if options.json:
                    write_atomic(options.json, json.dumps(receipt(checks, total=len(records)), indent=1) + "\n")
        except StoppedEarly as error:
            kept = f"{options.json} has what was measured" if options.json and checks else "nothing of it is kept"
            raise StoppedEarly(f"stopped; {kept}: run it again") from error
    return 0 if all(check.passed for check in checks) else 1


@command(*EXPERIMENT, ("folder", {"type": folder, "metavar": "DIR", "help": "the folder to write"}),
         ends=["table1/cq-f my-model"])  # fmt: skip
def card(options: argparse.Namespace) -> None:
    """write a trained row or published weights to a folder as a model hub takes it: weights, config, card"""
    from cqlib.report.model_card import write

    print(*write(experiment_from_options(options), options.runs_dir, options.folder), sep="\n")


FROM = ("--from", {**OPTIONS["--runs-dir"], "dest": "runs_dir", "help": "the records (default: runs/)"})


@command(FROM, "--out", ends=["", "--from runs --out reports/local"])
def report(options: argparse.Namespace) -> None:
    """render the report from records; nothing is trained"""
    from cqlib.report.page import render

    print(f"report: {render(options.out, runs_dir=_records(options))}")


def _records(options: argparse.Namespace) -> Path:
    """The folder of records. UserError where another than the default is named and does not exist; the default may be
    absent, as there are published records."""
    default = options.runs_dir == OPTIONS["--runs-dir"]["default"]
    return options.runs_dir if default else check_folder("--from", options.runs_dir)


COLUMNS = ("from", "row", "changes", "data", "profile", "seed", "metric", "value", "std", "n", "protocol", "status",
           "steps", "seconds", "device", "precision", "commit", "dirty", "config_hash", "finished")  # fmt: skip


@command(FROM, ("--csv", {"type": new_file, "required": True, "metavar": "FILE", "help": "the table to write"}),
         ends=["--csv records.csv"])  # fmt: skip
def export(options: argparse.Namespace) -> None:
    """write all records, of this machine and published, to a table: a line per record and metric"""
    from cqlib.experiments import ablations
    from cqlib.experiments.record import load_records
    from cqlib.metrics.metric import sentence
    from cqlib.util.files import write_atomic
    from cqlib.util.paths import PUBLISHED

    runs_dir = _records(options)
    folders = [("published", PUBLISHED / "records"), ("published", ablations.PUBLISHED)]
    if os.path.realpath(runs_dir) != os.path.realpath(PUBLISHED):  # else its records alone
        folders = [("local", runs_dir), ("local", runs_dir / ablations.FOLDER), *folders]
    loaded = [(place, *load_records(source)) for place, source in folders]
    for problem in chain(*(problems for _, _, problems in loaded)):
        to_stderr(f"left out: {one_line(problem)}")
    lines = [
        (place, r.row, " ".join(f"{path}={value}" for path, value in r.changes.items()), r.data.name, r.profile, r.seed,
         name, metric.value, metric.std, metric.n, sentence(name, metric), r.status, r.steps, r.seconds, r.device,
         r.precision, r.git.commit, r.git.dirty, r.config_hash, r.finished)
        for place, records, _ in loaded for r in records for name, metric in r.metrics.items()
    ]  # fmt: skip
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([COLUMNS, *lines])
    write_atomic(options.csv, text.getvalue())
    print(f"{options.csv}: {len(lines)} lines")


@command(("runs_dir", {"type": path, "metavar": "RUNS_DIR", "help": "a folder of finished runs"}), ends=["runs"])
def publish(options: argparse.Namespace) -> None:
    """copy the records, samples and small models of finished runs to reports/published/"""
    from cqlib.report.publish import PUBLISHED, publish

    for file in publish(check_folder("RUNS_DIR", options.runs_dir)):
        print(file.relative_to(PUBLISHED.parent.parent))


@command(ends=[""])
def readme(options: argparse.Namespace) -> None:
    """render README.md and docs anew from the published records"""
    from cqlib.report import readme

    readme.write()
