"""A trained model as a folder that a model hub takes: weights, record, config and a card, all from the record."""

import json
import re
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from cqlib.data import WITH_PIP
from cqlib.data.photographs import CREDITS
from cqlib.data.sets import entry_of
from cqlib.metrics.metric import sentence
from cqlib.metrics.quantities import SCORES, decimal, heading, score_of
from cqlib.models.base import System
from cqlib.suite.experiments import load
from cqlib.suite.experiments.experiment import Experiment
from cqlib.suite.experiments.record import Record, machine_path, read_record
from cqlib.suite.experiments.rows import label_of
from cqlib.util import VERSION
from cqlib.util.errors import UsageError, UserError
from cqlib.util.files import write_atomic
from cqlib.util.paths import PUBLISHED
from cqlib.util.text import duration, without_paths

CONFIG = "config.json"
TASK = "unconditional-image-generation"
"""What the model does, in the words of the hub."""
MEASURED = {"BPD", "BPD-IW", *(name for score in SCORES for name in score.names)}
"""Metrics on the card; the record beside it has all."""
SPECIAL = re.compile(r"([\\`*_{}\[\]<>|#&!$~])")
"""A character that has a meaning in Markdown and is to be escaped."""


def write(e: Experiment, runs_dir: Path, folder: Path) -> list[Path]:
    """Write the model card of a run that was trained here, else of a published one, with its files to `folder`; returns
    their paths. UserError where there is no such run, where record and weights do not belong together, where the record
    names a path of this machine, and where `folder` holds other files."""
    system, files = load.load_system(e, runs_dir), _files(e, runs_dir)
    if not files[load.RECORD].is_file():
        raise UserError(f"{e.variant} has not been measured: {e.command}")
    record = read_record(files[load.RECORD])
    if load.stored_training(files[load.WEIGHTS], e, record.data.fingerprint) is None:
        raise UserError(f"the record of {e.variant} is not of these weights: {e.command}")
    if path := machine_path(record):
        raise UserError(f"{files[load.RECORD]} names {path}, a path of this machine: train on data below --data-dir")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / CONFIG).is_file():  # a run's folder has no config
        raise UsageError(f"{folder} holds other files, and no card: name another folder")
    folder.mkdir(parents=True, exist_ok=True)
    for name, source in files.items():
        write_atomic(folder / name, source.read_bytes())
    config = {"model_type": type(system).__name__, "image": system.shape, "row": record.row, **record.config}
    texts = {CONFIG: json.dumps(config, indent=1) + "\n", "README.md": card(record, system, list(files))}
    return [*map(folder.joinpath, files), *(write_atomic(folder / name, text) for name, text in texts.items())]


def _files(e: Experiment, runs_dir: Path) -> dict[str, Path]:
    """Name in the folder -> the file that it is a copy of."""
    if load.is_trained(e, runs_dir):
        samples = Path(runs_dir) / e.folder
        sources = {name: samples / name for name in (load.RECORD, *load.weight_files(e))}
    else:
        samples = PUBLISHED / "samples" / e.folder
        sources = {load.RECORD: PUBLISHED / "records" / f"{e.folder}.json"}
        sources |= {name: load.published_weights(e.folder, name) for name in load.weight_files(e)}
    return sources | {file.name: file for file in sorted(samples.glob("samples.*"))}


def card(record: Record, system: System, files: list[str]) -> str:
    """The card in Markdown; what comes from the record is escaped, and absolute paths in it are cut."""
    data, entry = record.data.name, entry_of(record.data.name)
    own = entry.terms if entry else "Images of one's own: say here whose they are, and their terms."
    title = f"{label_of(record.variant)} on {data}, {'×'.join(map(str, system.shape[1:]))} pixels"
    metrics = {name: metric for name, metric in record.metrics.items() if score_of(name) in MEASURED}
    results = {
        "task": {"type": TASK},
        "dataset": {"type": without_paths(data), "name": without_paths(data), "split": record.data.split},
        "metrics": [{"type": score_of(name).lower(), "name": name, "value": m.value} for name, m in metrics.items()],
    }
    front = {
        "license": "mit",
        "library_name": "cq-companion",
        "pipeline_tag": TASK,
        "tags": ["image-generation", "coverage-and-quality", "arxiv:1901.01091", record.row],
        "model-index": [{"name": without_paths(title), "results": [results]}],
    }
    markdown = Environment(
        loader=PackageLoader("cqlib.suite.experiments"),
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
        finalize=_escaped,
    )
    return markdown.get_template("card.md.j2").render(
        front=Markup("\n".join(f"{key}: {json.dumps(value)}" for key, value in front.items())),  # JSON is YAML
        record=record,
        title=title,
        metrics=metrics,
        pictures=[Markup(name) for name in files if name.startswith("samples")],
        shape=", ".join(map(str, system.shape)),
        commit=str(record.git),
        time=duration(record.seconds),
        version=VERSION,
        versions=", ".join(f"{name} {version}" for name, version in record.versions.items()),
        terms=CREDITS if data in WITH_PIP else (own,),
        decimal=decimal,
        heading=heading,
        sentence=sentence,
    )


def _escaped(value: Any) -> Any:
    """A text from outside as one line of Markdown that shows it as it is; Markup and numbers stay as they are."""
    return SPECIAL.sub(r"\\\1", without_paths(" ".join(value.split()))) if type(value) is str else value
