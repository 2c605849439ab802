"""Records: what one run measured, as one small JSON file. The tables are rendered from records alone.

One record per row x data x profile x seed. Reading is strict: a record that is not exactly what this file
describes is refused with one sentence, so that no damaged or foreign file ends up as a number in a table.
"""

from __future__ import annotations

import copy
import json
import re
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from cqlib.metrics.metric import MAX_PER_IMAGE, Metric
from cqlib.util import checks
from cqlib.util.errors import one_line
from cqlib.util.files import sha256, write_atomic
from cqlib.util.provenance import GitInfo

SCHEMA = 1
STATUSES = ("done", "stopped", "diverged", "failed")
MAX_CURVE = 60
MAX_BYTES = 16 * 2**20
"""Of a record's file; the largest that are written have less than one."""
_LINE = 160  # a small dictionary that fits in this many characters is written on one line


@dataclass(frozen=True)
class DataInfo:
    """The images a record speaks of: `split` is the one evaluated, `shape` its (N, C, H, W) or (C, H, W)."""

    name: str
    split: str
    fingerprint: str
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        for key in ("name", "split", "fingerprint"):
            checks.text(getattr(self, key), key)
        if not isinstance(self.shape, list | tuple) or len(self.shape) not in (3, 4):
            raise ValueError("'shape' must be a list of three or four whole numbers")
        checks.put(self, "shape", tuple(checks.whole(size, "shape") for size in self.shape))


@dataclass(frozen=True)
class Record:
    """Everything a table, a verdict or a reader needs of one run. A wrong value is a ValueError.

    `config` is plain JSON; `parameters` counts by part, with "total" (without critic) and "critic"; `seconds`
    is wall clock; `started` and `finished` are ISO 8601 in UTC. `per_image` holds one value per test image,
    in the unit of the metric it is named after (bits per dimension for "BPD"), in test order, at most 500;
    `curve` holds thinned learning curves, at most 60 [step, value] pairs each. `best_step`,
    `images_per_second` and `peak_memory_bytes` are None where nothing was trained or measured.
    """

    row: str
    status: str
    seed: int
    profile: str
    data: DataInfo
    metrics: dict[str, Metric]
    config: dict[str, Any]
    config_hash: str
    parameters: dict[str, int]
    steps: int
    best_step: int | None
    seconds: float
    images_per_second: float | None
    peak_memory_bytes: int | None
    device: str
    versions: dict[str, str]
    git: GitInfo
    started: str
    finished: str
    schema: int = SCHEMA
    per_image: dict[str, list[float]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    curve: dict[str, list[list[float]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if checks.whole(self.schema, "schema") != SCHEMA:
            raise ValueError(f"schema {self.schema!r} is not supported, only {SCHEMA}")
        for key in ("row", "profile", "config_hash", "device"):
            checks.text(getattr(self, key), key)
        if self.status not in STATUSES:
            raise ValueError(f"unknown status {self.status!r}, not one of {', '.join(STATUSES)}")
        for key in ("seed", "steps"):
            checks.put(self, key, checks.whole(getattr(self, key), key))
        for key in ("best_step", "peak_memory_bytes"):
            if getattr(self, key) is not None:
                checks.put(self, key, checks.whole(getattr(self, key), key))
        for key in ("seconds", "images_per_second"):
            if key == "seconds" or self.images_per_second is not None:
                checks.put(self, key, checks.real(getattr(self, key), key, low=0))
        for key, kind in (("data", DataInfo), ("git", GitInfo)):
            if not isinstance(getattr(self, key), kind):
                raise ValueError(f"'{key}' must be a {kind.__name__}")
        for name, metric in checks.table(self.metrics, "metrics").items():
            if not isinstance(metric, Metric):
                raise ValueError(f"metric {name!r} must be a Metric")
        checks.put(self, "config", checks.plain(checks.table(self.config, "config"), "config"))
        counts = checks.table(self.parameters, "parameters")
        checks.put(self, "parameters", {part: checks.whole(count, part) for part, count in counts.items()})
        for name, version in checks.table(self.versions, "versions").items():
            checks.text(version, f"versions.{name}")
        for key in ("started", "finished"):
            checks.utc(getattr(self, key), key)
        series = checks.table(self.per_image, "per_image")
        checks.put(self, "per_image", {name: _series(values, name) for name, values in series.items()})
        curves = checks.table(self.curve, "curve")
        checks.put(self, "curve", {name: _curve(points, name) for name, points in curves.items()})
        if not isinstance(self.notes, list) or not all(isinstance(note, str) for note in self.notes):
            raise ValueError("'notes' must be a list of texts")

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values in the order of the contract; optional keys only where they hold something."""
        values: dict[str, Any] = {"schema": self.schema}
        for name in _REQUIRED + _OPTIONAL:
            value = getattr(self, name)
            if name in _REQUIRED or value:
                values[name] = value
        values["data"] = {**vars(self.data), "shape": list(self.data.shape)}
        values["git"] = dict(vars(self.git))
        values["metrics"] = {name: dict(vars(metric)) for name, metric in self.metrics.items()}
        return copy.deepcopy(values)

    @classmethod
    def from_dict(cls, values: Any) -> Record:
        """The inverse of `to_dict`. ValueError, one sentence, on a missing, unknown or wrong key or value."""
        values = checks.keys(values, "the record", required=("schema", *_REQUIRED), optional=_OPTIONAL)
        data = checks.keys(values["data"], "'data'", required=_names(DataInfo))
        git = checks.keys(values["git"], "'git'", required=_names(GitInfo))
        metrics = {}
        for name, metric in checks.table(values["metrics"], "metrics").items():
            try:
                metrics[name] = Metric(**checks.keys(metric, "it", required=_names(Metric)))
            except ValueError as error:
                raise ValueError(f"metric {name!r}: {error}") from None
        return cls(**{**values, "data": DataInfo(**data), "git": GitInfo(**git), "metrics": metrics})


def file_name(row: str, data: str, profile: str, seed: int) -> str:
    """The record's file name: "table1_cq-f--photos10--quick--0.json"."""
    return slug(row, data, profile, seed) + ".json"


def slug(row: str, data: str, profile: str, seed: int) -> str:
    """A name for files and folders, one per run: "table1_cq-f--photos10--quick--0".

    A data set named by a path ("npz:/a/cats.npz") gives "npz-cats-" and eight hex digits of the full name's
    hash, so that two paths never share a run and no path shows in a file name.
    """
    return "--".join((row.replace("/", "_"), _data_slug(data), profile, str(seed)))


def _data_slug(name: str) -> str:
    if re.fullmatch(r"[a-z0-9]+([._-][a-z0-9]+)*", name):
        return name
    kind, _, path = name.partition(":")
    words = re.sub(r"[^a-z0-9]+", "-", f"{kind} {Path(path).stem}".lower()).strip("-")
    return f"{words[:40].rstrip('-')}-{sha256(name.encode())[:8]}"


def write_record(record: Record, folder: Path | str, name: str | None = None) -> Path:
    """Write `record` into `folder` as `name` (default: its `file_name`), whole or not at all."""
    name = name or file_name(record.row, record.data.name, record.profile, record.seed)
    return write_atomic(Path(folder) / name, dumps(record))


def dumps(record: Record) -> str:
    """The record's text: strict JSON, inner keys sorted, lists and small dictionaries on one line each."""
    lines = [f"  {json.dumps(key)}: {_render(value, 2)}" for key, value in record.to_dict().items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def read_record(path: Path | str) -> Record:
    """Read one record. ValueError, one sentence, when the file is not a record; OSError when unreadable."""
    path = Path(path)
    if path.exists() and not path.is_file():  # reading a pipe would wait for ever
        raise ValueError("not a file")
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"larger than a record can be ({MAX_BYTES // 2**20} MiB)")
    raw = path.read_bytes()
    if not raw.strip():
        raise ValueError("the file is empty")
    try:
        values = json.loads(raw.decode(), object_pairs_hook=checks.unique, parse_constant=checks.no_constant)
        json.dumps(values, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON, or cut short: {error}") from None
    except UnicodeDecodeError:
        raise ValueError("not a text file in UTF-8") from None
    except UnicodeEncodeError:  # "\\ud800"
        raise ValueError("holds half a character, which no page can show") from None
    except RecursionError:
        raise ValueError("not a record: nested too deeply") from None
    return Record.from_dict(values)


def load_records(folder: Path | str) -> tuple[list[Record], list[str]]:
    """All records of `folder`: its `*.json` and `*/record.json`, sorted by path, and one line per bad file.

    A missing folder holds no records. Nothing raises: (records, ["NAME: what is wrong with it", ...]).
    """
    folder = Path(folder)
    records, problems = [], []
    for path in sorted([*folder.glob("*.json"), *folder.glob("*/record.json")]):
        try:
            records.append(read_record(path))
        except (OSError, ValueError) as error:
            what = error.strerror or "cannot be read" if isinstance(error, OSError) else str(error)
            problems.append(one_line(f"{path.relative_to(folder)}: {what}"))
    return records, problems


def _render(value: Any, indent: int) -> str:
    """JSON text of `value`; a dictionary that is long or holds others gets one line per key."""
    line = json.dumps(value, sort_keys=True, allow_nan=False)
    nested = isinstance(value, dict) and any(isinstance(item, dict) for item in value.values())
    if not isinstance(value, dict) or (len(line) <= _LINE and not nested):
        return line
    space = " " * (indent + 2)
    lines = [f"{space}{json.dumps(key)}: {_render(value[key], indent + 2)}" for key in sorted(value)]
    return "{\n" + ",\n".join(lines) + "\n" + " " * indent + "}"


def _names(kind: type) -> tuple[str, ...]:
    return tuple(item.name for item in fields(kind))


def _series(values: Any, name: str) -> list[float]:
    if not isinstance(values, list | tuple) or len(values) > MAX_PER_IMAGE:
        raise ValueError(f"per_image {name!r} must be a list of at most {MAX_PER_IMAGE} numbers")
    return [checks.real(value, f"per_image.{name}") for value in values]


def _curve(points: Any, name: str) -> list[list[float]]:
    if not isinstance(points, list | tuple) or len(points) > MAX_CURVE:
        raise ValueError(f"curve {name!r} must be a list of at most {MAX_CURVE} [step, value] pairs")
    if not all(isinstance(point, list | tuple) and len(point) == 2 for point in points):
        raise ValueError(f"curve {name!r} must hold [step, value] pairs")
    return [[checks.whole(step, name), checks.real(value, name)] for step, value in points]


_OPTIONAL = ("per_image", "notes", "curve")
_REQUIRED = tuple(name for name in _names(Record) if name not in ("schema", *_OPTIONAL))
