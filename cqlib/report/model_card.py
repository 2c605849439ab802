"""A trained model as a folder that a model hub takes: weights, record, config and a card, all from the record."""

import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

from markupsafe import Markup

from cqlib.data import WITH_PIP
from cqlib.data.photos10 import CREDITS
from cqlib.data.sets import entry_of
from cqlib.experiments import load
from cqlib.experiments.experiment import Experiment
from cqlib.experiments.record import Record, machine_path, undamaged_record
from cqlib.experiments.rows import PROFILES, label_of
from cqlib.metrics.metric import sentence
from cqlib.metrics.quantities import decimal, heading, score_of
from cqlib.models.base import System
from cqlib.report.compare import NOT_OF_THE_MODEL
from cqlib.report.facts import commit
from cqlib.report.jinja import environment
from cqlib.util.errors import UsageError, UserError
from cqlib.util.files import write_atomic
from cqlib.util.paths import PUBLISHED
from cqlib.util.text import duration, without_paths

CONFIG = "config.json"
SPECIAL = re.compile(r"([\\`*_{}\[\]<>|#&!$~])")
"""A character that has a meaning in Markdown and is to be escaped."""


def write(e: Experiment, runs_dir: Path, folder: Path) -> list[Path]:
    """Write the model card of a run that was trained here, else of a published one, with its files to `folder`; returns
    their paths. UserError where there is no such run, where record and weights do not belong together, where the record
    names a path of this machine, and where `folder` is the run's own or holds other files."""
    system, files = load.load_system(e, runs_dir), _files(e, runs_dir)
    if not files[load.RECORD].is_file():
        raise UserError(f"{e.variant} has not been measured: {e.command}")
    record = undamaged_record(files[load.RECORD])
    of_one_run = load.stored_training(files[load.WEIGHTS], e, record.data.fingerprint) is not None
    if record.config_hash != e.config_hash or not of_one_run:
        raise UserError(f"the record of {e.variant} is not of today's recipe and these weights: {e.command}")
    if path := machine_path(record):
        why = f"names {path}, a path of this machine"
        raise UserError(f"{files[load.RECORD]} {why}: train on data below --data-dir instead")
    if folder.resolve() in {source.parent.resolve() for source in files.values()}:
        raise UsageError(f"{folder} is where the run itself lies: name another folder")
    earlier = all((folder / name).is_file() for name in (load.RECORD, CONFIG))  # a run's own folder has no config
    if folder.is_dir() and any(folder.iterdir()) and not earlier:
        raise UsageError(f"{folder} holds other files, and no card: name another folder")
    folder.mkdir(parents=True, exist_ok=True)
    for old in (*folder.glob("samples.*"), folder / load.ENCODER):  # of the earlier card
        if old.name not in files:
            old.unlink(missing_ok=True)
    for name, source in files.items():
        shutil.copyfile(source, folder / name)
    config = {"model_type": type(system).__name__, "image": system.shape, "row": record.row, **record.config}
    texts = {CONFIG: json.dumps(config, indent=1) + "\n", "README.md": card(record, system, list(files))}
    return [*map(folder.joinpath, files), *(write_atomic(folder / name, text) for name, text in texts.items())]


def _files(e: Experiment, runs_dir: Path) -> dict[str, Path]:
    """Name in the folder -> the file that it is a copy of."""
    if load.is_trained(e, runs_dir):
        run = Path(runs_dir) / e.folder
        sources, samples = {name: run / name for name in (load.RECORD, *load.weight_files(e))}, run
    else:
        sources = {load.RECORD: PUBLISHED / "records" / f"{e.folder}.json"}
        sources |= {name: load.published_weights(e.folder, name) for name in load.weight_files(e)}
        samples = PUBLISHED / "samples" / e.folder
    return sources | {file.name: file for file in sorted(samples.glob("samples.*"))}


def card(record: Record, system: System, files: list[str]) -> str:
    """The card in Markdown; what comes from the record is escaped, and absolute paths in it are cut."""
    label, size = label_of(record.variant), "×".join(map(str, system.shape[1:]))
    return (
        environment(finalize=_escaped, keep_trailing_newline=True)
        .get_template("card.md.j2")
        .render(
            front=Markup(_front_matter(record, system, f"{label} on {record.data.name} {size}")),
            record=record,
            label=label,
            images=f"{record.data.name}, {size} pixels",
            pictures=[Markup(name) for name in files if name.startswith("samples")],
            encoder=load.ENCODER in files,
            shape=", ".join(map(str, system.shape)),
            commit=commit(record, 40),
            profile=PROFILES[record.profile],
            time=duration(record.seconds),
            versions=", ".join(f"{name} {version}" for name, version in record.versions.items()),
            terms=_terms(record.data.name),
            about=Markup(sys.modules[type(system).__module__].__doc__ or ""),
            decimal=decimal,
            heading=heading,
            sentence=sentence,
        )
    )


def _front_matter(record: Record, system: System, title: str) -> str:
    """The card's metadata in YAML, of which JSON is a part."""
    data = record.data
    results = [
        {"type": score_of(name).lower(), "name": name, "value": record.metrics[name].value,
         "args": {"protocol": sentence(name, record.metrics[name])}}
        for name in record.metrics if not name.endswith(NOT_OF_THE_MODEL)
    ]  # fmt: skip
    task = "image-to-image" if system.conditioned_on else "unconditional-image-generation"
    values = {
        "license": "mit",
        "library_name": "cqlib",
        "pipeline_tag": task,
        "tags": ["image-generation", "coverage-and-quality", "arxiv:1901.01091", record.row],
        "datasets": [data.name],
        "metrics": list(dict.fromkeys(result["type"] for result in results)),
        "model-index": [{
            "name": title,
            "results": [{
                "task": {"type": task},
                "dataset": {"name": data.name, "type": data.name, "split": data.split, "revision": data.fingerprint},
                "metrics": results,
            }],
        }],
    }  # fmt: skip
    lines = (f"{key}: {json.dumps(value, indent=1, ensure_ascii=False)}" for key, value in values.items())
    return without_paths("\n".join(line.replace("\n", "\n ") for line in lines))


def _terms(data: str) -> list[str]:
    """Lines that say who owns the images, and their terms."""
    if data in WITH_PIP:
        return [*CREDITS]
    entry = entry_of(data)
    return [entry.terms if entry else "Images of one's own: to be said here are their owner and terms."]


def _escaped(value: Any) -> Any:
    """A text from outside as one line of Markdown that shows it as it is; Markup and numbers stay as they are."""
    return SPECIAL.sub(r"\\\1", without_paths(" ".join(value.split()))) if type(value) is str else value
