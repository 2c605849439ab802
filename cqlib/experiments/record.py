"""Records: what one run measured, as one small JSON file, read strictly; tables are rendered from them alone."""

import datetime
import json
import re
from dataclasses import field
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from cqlib.experiments.variants import Changes, file_part, variant
from cqlib.metrics.metric import Metric
from cqlib.util.errors import UserError, cause_of, one_line
from cqlib.util.files import canonical_json, sha256, write_atomic
from cqlib.util.provenance import GitInfo
from cqlib.util.schema import STRICT, Count, NonNegative, Number, Text, first_error
from cqlib.util.text import without_paths

SCHEMA = 2
"""The version of records that this code writes and reads."""
Status = Literal["done", "diverged"]
MAX_CURVE = 60
OPTIONAL = ("changes", "notes", "curve")
MAX_BYTES = 16 * 2**20
"""Size limit of a record's file; the largest ones written are below 1 MiB."""
_LINE = 160  # a small dictionary that fits in this many characters is written on one line


def _utc(value: str) -> str:
    """`value`, if it is a time in UTC as ISO 8601."""
    try:
        offset = datetime.datetime.fromisoformat(value).utcoffset()
    except ValueError:
        offset = None
    if offset != datetime.timedelta(0):
        raise ValueError("must be a time in UTC such as 2025-01-31T12:00:00+00:00")
    return value


def _as_json(value: Any) -> Any:
    """`value` as JSON gives it back: tuples become lists."""
    try:
        return json.loads(canonical_json(value))
    except (TypeError, ValueError, RecursionError):
        raise ValueError("must be plain JSON with finite numbers") from None


Time = Annotated[Text, AfterValidator(_utc)]


@dataclass(frozen=True, config=STRICT)
class DataInfo:
    """The images a record is about: `split` is the one evaluated, `shape` its (N, C, H, W) or (C, H, W)."""

    name: Text
    split: Text
    fingerprint: Text
    shape: Annotated[tuple[Count, ...], Field(min_length=3, max_length=4)]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Record:
    """Everything a table, a verdict or a reader needs of one run. A wrong value is a ValueError.

    `changes` are those to the row's recipe; `config` is plain JSON; `parameters` counts by part, with "total" (without
    critic) and "critic"; `seconds` is wall clock; `precision` is that of convolutions in training; `started` and
    `finished` are ISO 8601 in UTC; `curve` holds thinned learning curves, at most 60 (step, value) pairs each.
    """

    schema: Annotated[Count, Field(ge=SCHEMA, le=SCHEMA)] = SCHEMA
    row: Text
    status: Status
    seed: Count
    profile: Text
    data: DataInfo
    changes: Annotated[dict[Text, Any], AfterValidator(_as_json)] = field(default_factory=dict)
    metrics: dict[Text, Metric]
    config: Annotated[dict[Text, Any], AfterValidator(_as_json)]
    config_hash: Text
    parameters: dict[Text, Count]
    steps: Count
    seconds: NonNegative
    images_per_second: NonNegative
    peak_memory_bytes: Count
    device: Text
    precision: Literal["fp32", "bf16"]
    versions: dict[Text, Text]
    git: GitInfo
    started: Time
    finished: Time
    notes: list[str] = field(default_factory=list)
    curve: dict[Text, Annotated[list[tuple[Count, Number]], Field(max_length=MAX_CURVE)]] = field(default_factory=dict)

    @property
    def done(self) -> bool:
        """Whether it was trained to its end and measured."""
        return self.status == "done"

    @property
    def ending(self) -> str:
        """How a run ended that was not trained to its end, in words; empty where it was."""
        return "" if self.done else f"{self.status} at step {self.steps:,}"

    @property
    def variant(self) -> str:
        """The row with its changes: "table1/cq-f", "table1/cq-f system.quality_weight=25.0"."""
        return variant(self.row, self.changes)

    @property
    def title(self) -> str:
        """ "table1/cq-f · photos10 · quick · seed 0"."""
        return f"{self.variant} · {self.data.name} · {self.profile} · seed {self.seed}"

    @property
    def machine(self) -> str:
        """ "CPU …, 1 thread, fp32": device and precision."""
        return f"{self.device}, {self.precision}"

    def setting(self, *path: str) -> Any:
        """`setting("evaluation", "side")`: a value of `config`, which may hold anything; None where it is not there."""
        value: Any = self.config
        for name in path:
            value = value.get(name) if isinstance(value, dict) else None
        return value

    @property
    def n_train(self) -> int | None:
        """How many training images there were; None where its config does not say."""
        n = self.setting("n_train")
        return n if isinstance(n, int) else None

    @property
    def folder(self) -> str:
        """Name of the run's folder and files."""
        return slug(self.row, self.data.name, self.profile, self.seed, self.changes)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values in the order of the fields; those of `OPTIONAL` only where not empty."""
        values = _ADAPTER.dump_python(self, mode="json")
        return {key: value for key, value in values.items() if value or key not in OPTIONAL}

    @classmethod
    def from_dict(cls, values: Any) -> "Record":
        """The inverse of `to_dict`. ValueError, one sentence, on a missing, unknown or wrong key or value."""
        version = values.get("schema") if isinstance(values, dict) else None
        if type(version) is int and version != SCHEMA:
            remedy = "newer than this code: update it" if version > SCHEMA else "older than this code: run it again"
            raise ValueError(f"schema: {version} is {remedy} (it reads {SCHEMA})")
        try:
            return _ADAPTER.validate_python(values)
        except ValidationError as error:
            raise ValueError(first_error(error)) from None


_ADAPTER, _OBJECT = TypeAdapter(Record), TypeAdapter(dict[str, Any])


def slug(row: str, data: str, profile: str, seed: int, changes: Changes = MappingProxyType({})) -> str:
    """A name for files and folders, one per run: "table1_cq-f--photos10--quick--0", and with changes
    "table1_cq-f--photos10--quick--0--quality-weight-25.0-1f0c2d3e". A data set named by a path ("npz:/a/cats.npz")
    gives "npz-cats-" and eight hex digits of the full name's hash."""
    return "--".join((row.replace("/", "_"), file_name(data), profile, str(seed))) + file_part(changes)


def file_name(name: str) -> str:
    """A name for a file or folder, a different one for every `name`."""
    if re.fullmatch(r"[a-z0-9]+([._-][a-z0-9]+)*", name):
        return name
    kind, _, path = name.partition(":")
    words = re.sub(r"[^a-z0-9]+", "-", f"{kind} {Path(path).stem}".lower()).strip("-")
    return f"{words[:40].rstrip('-')}-{sha256(name.encode())[:8]}"


def write_record(record: Record, folder: Path | str, name: str | None = None) -> Path:
    """Write `record` into `folder` as `name` (default: that of its run), whole or not at all."""
    return write_atomic(Path(folder) / (name or f"{record.folder}.json"), dumps(record))


def dumps(record: Record) -> str:
    """The record's text: strict JSON, inner keys sorted, lists and small dictionaries on one line each."""
    lines = [f"  {json.dumps(key)}: {_render(value, 2)}" for key, value in record.to_dict().items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def machine_path(record: Record) -> str:
    """The first text of a record that holds an absolute path of some machine, or ""."""
    texts = dumps(record).replace("\\\\", "\\").split('"')
    return next((text for text in texts if text != without_paths(text)), "")


def _render(value: Any, indent: int) -> str:
    """JSON text of `value`; a dictionary that is long gets one line per key."""
    line = json.dumps(value, sort_keys=True, allow_nan=False)
    if not isinstance(value, dict) or len(line) <= _LINE:
        return line
    space = " " * (indent + 2)
    lines = [f"{space}{json.dumps(key)}: {_render(value[key], indent + 2)}" for key in sorted(value)]
    return "{\n" + ",\n".join(lines) + "\n" + " " * indent + "}"


def read_record(path: Path | str) -> Record:
    """Read one record. ValueError, one sentence, when the file is not a record; OSError when unreadable."""
    path = Path(path)
    if path.exists() and not path.is_file():  # reading a pipe would block
        raise ValueError("not a file")
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"larger than a record can be ({MAX_BYTES // 2**20} MiB)")
    try:
        return Record.from_dict(_OBJECT.validate_json(path.read_bytes()))
    except ValidationError as error:
        raise ValueError(error.errors()[0]["msg"]) from None


def load_records(folder: Path | str) -> tuple[list[Record], list[str]]:
    """All records of `folder`, its `*.json` and `*/record.json` by path; "NAME: what is wrong" for each bad file."""
    folder = Path(folder)
    records, problems = [], []
    for path in sorted([*folder.glob("*.json"), *folder.glob("*/record.json")]):
        try:
            records.append(read_record(path))
        except (OSError, ValueError) as error:
            problems.append(one_line(f"{path.relative_to(folder)}: {cause_of(error)}"))
    return records, problems


def undamaged_record(file: Path) -> Record:
    """`read_record`, with a UserError that names the file for a bad one."""
    try:
        return read_record(file)
    except ValueError as error:
        raise UserError(f"{file}: {error}") from error


def undamaged_records(folder: Path | str) -> list[Record]:
    """All records of `folder`; UserError for a bad file."""
    records, problems = load_records(folder)
    if problems:
        raise UserError(f"{folder}: {problems[0]}")
    return records
