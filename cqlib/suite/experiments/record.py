"""Records: what one run measured, as one small JSON file. Tables are rendered from records alone."""

import json
import re
from dataclasses import field
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from cqlib.metrics.metric import Metric
from cqlib.suite.experiments.variants import LATER_FIELDS, Changes, as_hashed, file_part, variant
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
_LINE = 160  # a dictionary that fits in this many characters is written on one line


def _as_json(value: Any) -> Any:
    """`value` as it is after a round trip through JSON, which turns tuples into lists."""
    try:
        return json.loads(canonical_json(value))
    except (TypeError, ValueError, RecursionError):
        raise ValueError("must be plain JSON with finite numbers") from None


@dataclass(frozen=True, config=STRICT)
class DataInfo:
    """The images of a record: `split` is the one evaluated on, `shape` its (N, C, H, W) or (C, H, W)."""

    name: Text
    split: Text
    fingerprint: Text
    shape: Annotated[tuple[Count, ...], Field(min_length=3, max_length=4)]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Record:
    """Everything that a table, a verdict or a reader needs of one run. ValueError for a wrong value.

    `changes` are those to the row's recipe; `config` is plain JSON; `parameters` counts those of each net, with "total"
    (without the critic) and "critic"; `seconds` is wall clock time; `precision` is that of convolutions in training;
    `started` and `finished` are ISO 8601 in UTC; `curve` holds learning curves of at most 60 (step, value) pairs each.
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
    precision: Literal["fp32", "tf32", "bf16"]
    versions: dict[Text, Text]
    git: GitInfo
    started: Text
    finished: Text
    notes: list[str] = field(default_factory=list)
    curve: dict[Text, Annotated[list[tuple[Count, Number]], Field(max_length=MAX_CURVE)]] = field(default_factory=dict)

    @property
    def done(self) -> bool:
        """Whether the training reached its last step and samples are finite; else the run diverged."""
        return self.status == "done"

    @property
    def ending(self) -> str:
        """How the run ended if it is not `done`: "diverged at step 3,000"; else ""."""
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
        """A value of `config`, such as `setting("evaluation", "side")`; None if there is none."""
        value: Any = self.config
        for name in path:
            value = value.get(name) if isinstance(value, dict) else None
        return value

    def has_setting(self, path: str) -> bool:
        """Whether its recipe, if known, has the setting at a `path`: no row without f has "system.flow.couplings"."""
        *folders, name = path.split(".")
        folder = self.setting("recipe", *folders)
        known = isinstance(folder, dict) and (name in folder or name in LATER_FIELDS.get(".".join(folders[-1:]), {}))
        return known or self.setting("recipe") is None

    @property
    def n_train(self) -> int | None:
        """The number of training images; None if the config does not say."""
        n = self.setting("n_train")
        return n if isinstance(n, int) else None

    @property
    def recipe(self) -> str:
        """Eight hex digits, equal for runs that differ in their seed alone, or in how they were scored."""
        config = {key: value for key, value in self.config.items() if key not in ("seed", "evaluation")}
        return sha256(canonical_json(as_hashed(config)).encode())[:8]

    @property
    def folder(self) -> str:
        """Name of the run's folder and files."""
        return slug(self.row, self.data.name, self.profile, self.seed, self.changes)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values in the order of the fields; fields of `OPTIONAL` are left out if empty."""
        values = _ADAPTER.dump_python(self, mode="json")
        return {key: value for key, value in values.items() if value or key not in OPTIONAL}

    @classmethod
    def from_json(cls, text: bytes | str) -> "Record":
        """The inverse of `dumps`. ValueError, one sentence, for a text that is no JSON object, for another version, and
        for a missing, unknown or wrong key or value."""
        try:
            values = _OBJECT.validate_json(text)
            version = values.get("schema")
            if type(version) is int and version != SCHEMA:
                remedy = "newer than this code: update it" if version > SCHEMA else "older than this code: run it again"
                raise ValueError(f"schema: {version} is {remedy} (it reads {SCHEMA})")
            return _ADAPTER.validate_python(values)
        except ValidationError as error:
            raise ValueError(first_error(error)) from None


_ADAPTER, _OBJECT = TypeAdapter(Record), TypeAdapter(dict[str, Any])


def slug(row: str, data: str, profile: str, seed: int, changes: Changes = MappingProxyType({})) -> str:
    """The name of a run's folder and files: "table1_cq-f--photos10--quick--0", with changes
    "table1_cq-f--photos10--quick--0--quality-weight-25.0-1f0c2d3e". A data set named by a path ("npz:/a/cats.npz")
    becomes "npz-cats-" and eight hex digits of the hash of its name."""
    return "--".join((row.replace("/", "_"), file_name(data), profile, str(seed))) + file_part(changes)


def file_name(name: str) -> str:
    """`name` as a part of a file's name; different names give different parts."""
    if re.fullmatch(r"[a-z0-9]+([._-][a-z0-9]+)*", name):
        return name
    kind, _, path = name.partition(":")
    words = re.sub(r"[^a-z0-9]+", "-", f"{kind} {Path(path).stem}".lower()).strip("-")
    return f"{words[:40].rstrip('-')}-{sha256(name.encode())[:8]}"


def write_record(record: Record, folder: Path | str, name: str | None = None) -> Path:
    """Write `record` to the file `name` (default: that of its run) in `folder`, atomically."""
    return write_atomic(Path(folder) / (name or f"{record.folder}.json"), dumps(record))


def dumps(record: Record) -> str:
    """The record as JSON text with inner keys sorted, and with each list and small dictionary on one line."""
    lines = [f"  {json.dumps(key)}: {_render(value, 2)}" for key, value in record.to_dict().items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def machine_path(record: Record) -> str:
    """The first text of a record that contains an absolute path of some machine, or ""."""
    texts = dumps(record).replace("\\\\", "\\").split('"')
    return next((text for text in texts if text != without_paths(text)), "")


def _render(value: Any, indent: int) -> str:
    """JSON text of `value`; a long dictionary gets one line per key."""
    line = json.dumps(value, sort_keys=True, allow_nan=False)
    if not isinstance(value, dict) or len(line) <= _LINE:
        return line
    space = " " * (indent + 2)
    lines = [f"{space}{json.dumps(key)}: {_render(value[key], indent + 2)}" for key in sorted(value)]
    return "{\n" + ",\n".join(lines) + "\n" + " " * indent + "}"


def read_record(path: Path | str) -> Record:
    """The record in a file. UserError, which names the file, if it is not a record; OSError if it cannot be read."""
    try:
        return Record.from_json(Path(path).read_bytes())
    except ValueError as error:
        raise UserError(f"{path}: {error}") from error


def load_records(folder: Path | str) -> tuple[list[Record], list[str]]:
    """All records of `folder`, in its files `*.json` and `*/record.json`, sorted by path; and "NAME: what is wrong" for
    each bad file."""
    folder = Path(folder)
    records, problems = [], []
    for path in sorted([*folder.glob("*.json"), *folder.glob("*/record.json")]):
        try:
            records.append(Record.from_json(path.read_bytes()))
        except (OSError, ValueError) as error:
            problems.append(one_line(f"{path.relative_to(folder)}: {cause_of(error)}"))
    return records, problems


def undamaged_records(folder: Path | str) -> list[Record]:
    """All records of `folder`, as `load_records` finds them; UserError, which names the first bad file, if any is."""
    records, problems = load_records(folder)
    if problems:
        raise UserError(f"{folder}: {problems[0]}")
    return records
