"""Records from others: one run as a small folder to send, and what is looked at before it is taken.

    record.json         the run's record
    training.jsonl      the lines of its log that the record's curve shows
    samples_T1.webp, samples_T0.webp    sample grids, as published ones
    contribution.json   the contributor's name, and the SHA-256 of each of the other files

Accepted ones lie in reports/contributed/CONTRIBUTOR/RUN.
"""

import json
import math
import tempfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

from PIL import Image
from pydantic import AfterValidator, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from cqlib.data import IMAGE_SIZES, own_path
from cqlib.data.grids import published_grid
from cqlib.data.reading import READ_ERRORS
from cqlib.experiments.experiment import Experiment, experiment_of
from cqlib.experiments.load import RECORD
from cqlib.experiments.record import Record, file_name, machine_path, read_record
from cqlib.experiments.run import LOG, loss_curves, read_log
from cqlib.metrics.features import INCEPTION_RESIZE
from cqlib.metrics.protocols import UNKNOWN_WEIGHTS, fitting, with_protocol
from cqlib.metrics.quantities import AT, SCORES
from cqlib.util.errors import UsageError, UserError, cause_of
from cqlib.util.files import canonical_json, sha256, write_atomic
from cqlib.util.provenance import in_history
from cqlib.util.schema import STRICT, Text, first_error
from cqlib.util.text import without_paths

MANIFEST = "contribution.json"
GRIDS = tuple(f"samples_{at}.webp" for at in AT)
PARTS = (MANIFEST, RECORD, LOG, *GRIDS)
MAX_BYTES = 2**20
"""The largest size of a file; the files of published runs have at most about a tenth of it."""
COLUMNS = 8  # most images in a row or a column of a grid
AGAIN = "make it again with `python -m cqlib contribute`, from a run as training left it"


def _name(value: str) -> str:
    if not value.isprintable() or value != without_paths(value).strip() or "@" in value:
        raise ValueError("must be a name in printable characters, and no address")
    return value


@dataclass(frozen=True, config=STRICT)
class Contribution:
    """What `contribution.json` says."""

    contributor: Annotated[Text, Field(max_length=60), AfterValidator(_name)]
    files: dict[Text, Text]


def contribute(run: Path, name: str, out: Path) -> Path:
    """Make a contribution of a run's folder, with `name` as the contributor's, below `out`, and return its folder.
    UsageError for a wrong name, UserError for a run that would not be accepted; then nothing is made."""
    try:
        Contribution(contributor=name, files={})
    except ValidationError as error:
        raise UsageError(f"--name: {first_error(error)}") from error
    record = _read(run)
    for problem in _problems(record):
        raise UserError(f"{run}: {problem}")
    log = "".join(f"{json.dumps(line)}\n" for line in read_log(run / LOG))
    try:
        grids = published_grids(run, record.data.shape[-1])
    except READ_ERRORS as error:
        raise UserError(f"{run}: its samples cannot be read: delete {RECORD} there and train it again") from error
    _no_others(out / file_name(name) / record.folder)
    contents = {RECORD: (run / RECORD).read_bytes(), LOG: log.encode(), **grids}
    contribution = Contribution(name, {file: sha256(content) for file, content in contents.items()})
    contents[MANIFEST] = TypeAdapter(Contribution).dump_json(contribution, indent=1) + b"\n"
    with tempfile.TemporaryDirectory() as trial:
        for place in (Path(trial), out):
            folder = place / file_name(name) / record.folder
            for file in GRIDS:
                (folder / file).unlink(missing_ok=True)
            for file, content in contents.items():
                write_atomic(folder / file, content)
            read_contribution(folder)
    return folder


def published_grids(run: Path, size: int) -> dict[str, bytes]:
    """File name -> content of a run's sample grids as they are published. Where those at T = 0 and T = 1 are equal, as
    the decoder adds no noise, only the one at T = 1 is kept."""
    grids = {path.stem: path.read_bytes() for path in sorted(run.glob("samples_*.png"))}
    if grids.get("samples_T0") == grids.get("samples_T1"):
        grids.pop("samples_T0", None)
    return {f"{name}.webp": published_grid(png, size) for name, png in grids.items()}


def contributed(folder: Path) -> tuple[dict[str, list[Record]], list[str]]:
    """Contributor's name -> records, for the whole contributions in `folder`; and a line for each that is not whole."""
    records: dict[str, list[Record]] = {}
    problems = []
    for path in sorted(folder.glob("*/*/")):
        try:
            name, record = read_contribution(path)
            records.setdefault(name, []).append(record)
        except UserError as error:
            problems.append(f"{path.parent.name}/{path.name}: {error}")
    return records, problems


def check(folder: Path) -> list[str]:
    """Why a contribution cannot be taken, in lines that say what to do; none for one that can."""
    try:
        return list(_problems(read_contribution(folder)[1]))
    except UserError as error:
        return [str(error)]


def read_contribution(folder: Path) -> tuple[str, Record]:
    """The contributor and the record of a contribution. UserError, one line that says what to do, for one that is not
    whole; no link is followed, and nothing large is read."""
    if folder.is_symlink() or folder.parent.is_symlink() or not folder.is_dir():
        raise UserError(f"{folder} is no folder: name one that `python -m cqlib contribute` has made")
    try:
        contribution = _manifest(folder)
        record = _read(folder)
        if folder.absolute().parts[-2:] != (file_name(contribution.contributor), record.folder):
            raise UserError(f"its place is {file_name(contribution.contributor)}/{record.folder}: rename its folders")
        _check_curve(folder, record)
        _check_grids(folder, record)
    except OSError as error:
        raise UserError(f"{error.filename}: {cause_of(error)}: make it readable") from error
    return contribution.contributor, record


def _no_others(folder: Path) -> None:
    """Raise UserError where the folder of a contribution holds a file that is no part of one; it need not exist yet."""
    for path in sorted(folder.glob("*")):
        if path.name not in PARTS:
            raise UserError(f"{path.name} is no part of a contribution: remove it from {path.parent}")


def _manifest(folder: Path) -> Contribution:
    """The manifest of a contribution. UserError unless exactly the files that it names are there, unchanged."""
    if not (folder / MANIFEST).exists():
        raise UserError(f"{MANIFEST} is missing: {AGAIN}")
    _no_others(folder)
    for path in sorted(folder.iterdir()):
        if path.is_symlink():
            raise UserError(f"{path.name} is a symbolic link: put the file itself in its place")
        if not path.is_file():
            raise UserError(f"{path.name} is no part of a contribution: remove it")
        if path.stat().st_size > MAX_BYTES:
            raise UserError(f"{path.name} is larger than {MAX_BYTES // 1024} KiB, as no file of a run is: {AGAIN}")
    try:
        contribution = TypeAdapter(Contribution).validate_json((folder / MANIFEST).read_bytes())
    except ValidationError as error:
        raise UserError(f"{MANIFEST}: {first_error(error)}: {AGAIN}") from error
    present = {path.name for path in folder.iterdir()} - {MANIFEST}
    for name in sorted({RECORD, LOG, *contribution.files, *present}):
        if name not in present:
            raise UserError(f"{name} is missing: {AGAIN}")
        if sha256((folder / name).read_bytes()) != contribution.files.get(name):
            raise UserError(f"{name} is not the file that was contributed (its SHA-256 is another): {AGAIN}")
    return contribution


def _read(folder: Path) -> Record:
    try:
        return read_record(folder / RECORD)
    except (OSError, ValueError) as error:
        raise UserError(f"{RECORD}: {cause_of(error)}; it must be the record of a finished run") from error


def _check_curve(folder: Path, record: Record) -> None:
    text = (folder / LOG).read_bytes().decode(errors="replace")
    try:
        curve = loss_curves(read_log(folder / LOG), math.prod(record.data.shape[-3:]))
    except (ArithmeticError, ValueError, TypeError, LookupError, AttributeError, RecursionError):
        curve = {}
    foreign = any(record.curve.get(name) != points for name, points in curve.items())
    if not curve or foreign or without_paths(text) != text:
        raise UserError(f"{LOG} is not the log of this record's curve: {AGAIN}")


def _check_grids(folder: Path, record: Record) -> None:
    size = record.data.shape[-1]
    if record.data.shape[-3:] != (3, size, size) or size not in IMAGE_SIZES:
        raise UserError(f"{RECORD}: images of {record.data.shape[-3:]} are of no recipe: train a row of today")
    if not (folder / GRIDS[-1]).exists():
        raise UserError(f"{GRIDS[-1]} is missing: {AGAIN}")
    for name in (name for name in GRIDS if (folder / name).exists()):
        try:
            with Image.open(folder / name, formats=["WEBP"]) as picture:
                sides = [(side - 1) / (size + 1) for side in picture.size]
                if any(side not in range(1, COLUMNS + 1) for side in sides):
                    raise ValueError("of another size")
                picture.load()
        except READ_ERRORS as error:
            raise UserError(f"{name} is no WebP grid of images of {size} pixels: {AGAIN}") from error


def refusal(record: Record) -> str:
    """Why a record must not be published: it was made from code that is not known to be committed, or has a path of a
    machine in it; empty if it may be published."""
    if path := machine_path(record):
        return f"{path} is a path of this machine: train on a name below --data-dir instead"
    if record.git.dirty is None:
        return "made from code of unknown state, for want of git or of a clone: commit it in a clone, then run it again"
    return "made from uncommitted code: commit, then run it again" if record.git.dirty else ""


def _problems(record: Record) -> Iterator[str]:
    """Reasons why a record cannot be accepted, judged by its content."""
    if not record.done:
        yield f"its status is {record.status}: run it again, to its end"
    elif record.ending:
        yield f"it {record.ending}, so that no table would show it"
    if record.profile == "smoke":
        yield "its profile is smoke, whose numbers mean nothing: run it under another"
    if own_path(record.data.name) is not None:
        yield "its images are your own, and nobody could run it again: train it on a data set with a name"
    if reason := refusal(record):
        yield reason
    if not in_history(record.git.commit or ""):
        yield (f"commit {record.git.commit} is not in the history of this checkout: if it is one of the project's, "
               "git fetch --unshallow; else train it again from one that is")  # fmt: skip
    try:
        e = experiment_of(record)
    except UserError as error:
        yield f"{error}; train a row of today"
        return
    today = json.loads(canonical_json(e.config)) | {"n_train": record.config.get("n_train")}
    if record.config_hash != e.config_hash or not _within(record.config, today):
        yield f"its config is not today's recipe: train it again, {e.command}"
        return
    again = f"delete {RECORD}, then {e.command}"
    for name, protocol_words in _expected(e, record):
        if name not in record.metrics:
            yield f"{name} missing: {again}"
        elif lacking := [words for words in protocol_words if words not in record.metrics[name].protocol]:
            yield f"the protocol of {name} is not today's, which says “{lacking[0]}”: {again}"
            return
    if any(UNKNOWN_WEIGHTS in metric.protocol for metric in record.metrics.values()):
        yield "scored on Inception weights that are not torch-fidelity's: measure it again with --feature-weights"


def _within(config: Any, today: Any) -> bool:
    """Whether all values of a recorded config are today's; it may lack what came later."""
    if isinstance(config, dict) and isinstance(today, dict):
        return all(key in today and _within(value, today[key]) for key, value in config.items())
    return config == today


def _expected(e: Experiment, record: Record) -> Iterator[tuple[str, list[str]]]:
    """The metrics that a record of this experiment must have today, each with words that its protocol must contain."""
    evaluation, (*counted, _, _, _) = e.evaluation, record.data.shape
    n_train, n_test = record.n_train or 0, sum(counted)
    yield "BPD", [f"n = {min(evaluation.bpd_images, n_test)}"]
    (main, *others), _ = fitting(evaluation, n_train, n_test)
    inception = e.profile == "paper" or "FID@T1" in record.metrics
    look = INCEPTION_RESIZE if inception else f"bilinear resize to {evaluation.side}"
    series = metadata.version("torch-fidelity").rsplit(".", 1)[0]  # within which scores are the same
    how = [look, f"torch-fidelity {series}."]
    for quantity in (q for q in SCORES if not q.labelled):
        for at in AT:
            name = f"{quantity.name if inception else quantity.lite0}@{at}"
            images = f"n_fake = {main.is_images} in" if quantity.id == "is" else f"n_real = n_fake = {main.n_real},"
            yield name, [images, *how, *([f"protocol {main.name}, "] if main.name else [])]
            for p in others if not quantity.slow else ():
                yield with_protocol(name, p.name), [f"protocol {p.name}, ", *how]
