"""Records: what is written is read back; what is not a record is refused in one sentence."""

from __future__ import annotations

import json
import re
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cqlib.metrics.metric import Metric, Protocol
from cqlib.suite.experiments.record import (
    DataInfo,
    Record,
    dumps,
    load_records,
    read_record,
    slug,
    undamaged_records,
    write_record,
)
from cqlib.util.errors import UserError
from cqlib.util.provenance import GitInfo

FIELDS = {
    "row": "table1/cq-f",
    "status": "done",
    "seed": 0,
    "profile": "quick",
    "data": DataInfo("photos10", "test", "0123456789abcdef", (3, 16, 16)),
    "metrics": {
        "BPD": Metric(4.83, None, 2000, Protocol(bound="ELBO", split="test")),
        "FD-lite0": Metric(1720.5, 3.0, 1000, Protocol(n_real=1000, n_fake=1000)),
    },
    "config": {"model": {"width": 24, "flow": None}, "lr": 1e-3, "betas": [0.5, 0.99], "ema": True},
    "config_hash": "abc123",
    "parameters": {"encoder": 10, "total": 30, "critic": 20},
    "steps": 3000,
    "seconds": 660.5,
    "images_per_second": 290.0,
    "peak_memory_bytes": 10**9,
    "device": "cpu",
    "precision": "fp32",
    "versions": {"torch": "2.13.0"},
    "git": GitInfo("0" * 40, False),
    "started": "2025-01-31T12:00:00+00:00",
    "finished": "2025-01-31T12:11:00Z",
}
EXTRAS = {
    "notes": ["a note"],
    "curve": {"L_C": [[0, 9000.0], [100, 7000.5]]},
}
ORDER = (
    "schema row status seed profile data metrics config config_hash parameters steps seconds "
    "images_per_second peak_memory_bytes device precision versions git started finished"
).split()


def make(**changes) -> Record:
    return Record(**{**FIELDS, **changes})


words = st.text(min_size=1, max_size=12)
finite = st.floats(-1e38, 1e38)
protocol = st.builds(Protocol, bound=st.none() | words, starred=st.booleans())
metric = st.builds(Metric, finite, st.none() | st.floats(0, 1e6), st.integers(0, 10**6), protocol)
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | finite | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
record = st.builds(
    make,
    row=words,
    seed=st.integers(0, 2**32),
    status=st.sampled_from(["done", "diverged"]),
    data=st.builds(DataInfo, words, words, words, st.lists(st.integers(1, 9), min_size=3, max_size=4)),
    metrics=st.dictionaries(words, metric, max_size=4),
    config=st.dictionaries(words, plain, max_size=4),
    git=st.builds(GitInfo, st.none() | words, st.none() | st.booleans()),
    curve=st.dictionaries(words, st.lists(st.tuples(st.integers(0, 9), finite), max_size=3), max_size=2),
    notes=st.lists(st.text(max_size=9), max_size=2),
)


@given(record)
@settings(max_examples=60, deadline=None)
def test_round_trip(record):
    again = Record.from_json(dumps(record))
    assert again == record
    assert dumps(again) == dumps(record)


def test_keys_are_those_of_the_contract_in_order():
    assert list(make().to_dict()) == ORDER
    assert list(make(**EXTRAS).to_dict()) == [*ORDER, "notes", "curve"]
    assert list(json.loads(dumps(make(**EXTRAS)))) == [*ORDER, "notes", "curve"]


def test_an_infinite_metric_has_no_value_and_others_no_status():
    infinite = Metric(None, None, 2000, Protocol(), "infinite")
    values = json.loads(dumps(make(metrics={"BPD": infinite, "KL": Metric(1.0, None, 9, Protocol())})))["metrics"]
    assert values["BPD"] == {"n": 2000, "protocol": {}, "status": "infinite", "std": None, "value": None}
    assert values["KL"] == {"n": 9, "protocol": {}, "std": None, "value": 1.0}
    assert Record.from_json(dumps(make(metrics={"BPD": infinite}))).metrics["BPD"] == infinite
    for value, status in ((None, None), (1.0, "infinite")):
        with pytest.raises(ValueError):
            Metric(value, None, 9, Protocol(), status)


def broken(path: str, value) -> dict:
    """The plain record with the key at `path` ("a.b") set to `value`, or removed where that is `...`."""
    values = make(**EXTRAS).to_dict()
    *parents, key = path.split(".")
    inner = values
    for parent in parents:
        inner = inner[parent]
    if value is ...:
        del inner[key]
    else:
        inner[key] = value
    return values


@pytest.mark.parametrize(
    "path, value",
    [
        *((key, ...) for key in (*ORDER[1:], "metrics.BPD.std", "git.dirty")),
        *((key, 1) for key in ("colour", "data.path", "metrics.BPD.unit", "row", "metrics")),
        *(("metrics.BPD.value", value) for value in ("4.8", float("nan"), True)),
        *(("curve.L_C", value) for value in ([[0, 1.0]] * 61, [[0, float("nan")]])),
        ("status", "finished"),
        ("data.shape", [16, 16]),
    ],
)
def test_wrong_values_are_refused_in_one_sentence_that_names_the_place(path, value):
    with pytest.raises(ValueError) as caught:
        Record.from_json(json.dumps(broken(path, value)))
    message = str(caught.value)
    assert message.startswith(path) and "\n" not in message


def test_a_record_of_another_version_says_what_to_do():
    for version, told in ((1, "older than this code: run it again"), (3, "newer than this code: update it")):
        with pytest.raises(ValueError, match=rf"schema: {version} is {told} \(it reads 2\)"):
            Record.from_json(json.dumps({"schema": version, "a field of another day": 1}))


DAMAGED = {
    "empty.json": (b"", "Invalid JSON"),
    "truncated.json": (dumps(make()).encode()[:-200], "Invalid JSON"),
    "foreign.json": (b'{"name": "package", "version": 1}', "Field required"),
    "list.json": (b"[1, 2]", "should be an object"),
    "nan.json": (dumps(make()).replace("4.83", "NaN").encode(), "finite number"),
    "binary.json": (b"\x89PNG\r\n\xff\xfe", "Invalid JSON"),
}


def test_load_records_reports_damaged_files_and_keeps_the_others(tmp_path):
    for name, (content, _) in DAMAGED.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "folder.json").mkdir()
    (tmp_path / "readme.txt").write_text("not looked at")
    for seed in (1, 0):
        write_record(make(seed=seed), tmp_path)
    write_record(make(seed=2), tmp_path / "a-run", "record.json")
    (tmp_path / "b-run").mkdir()
    (tmp_path / "b-run" / "record.json").write_text("{")

    records, problems = load_records(tmp_path)
    assert sorted(record.seed for record in records) == [0, 1, 2]
    assert len(problems) == len(DAMAGED) + 2
    for name, (_, message) in DAMAGED.items():
        (line,) = [line for line in problems if line.startswith(f"{name}: ")]
        assert message in line
    assert any(line.startswith("folder.json: ") for line in problems)
    assert any(line.startswith("b-run/record.json: ") for line in problems)
    assert not any("\n" in line or str(tmp_path) in line for line in problems)


def test_a_damaged_record_is_told_with_its_file_however_it_is_looked_up(tmp_path):
    file = tmp_path / "record.json"
    file.write_bytes(b"[1, 2]")
    with pytest.raises(UserError, match=f"^{file}: .*should be an object"):
        read_record(file)
    with pytest.raises(UserError, match=f"^{tmp_path}: record.json: .*should be an object"):
        undamaged_records(tmp_path)


def test_file_names():
    assert slug("table1/cq-f", "photos10", "quick", 0) == "table1_cq-f--photos10--quick--0"
    changed = slug("table1/cq-f", "photos10", "quick", 0, {"system.quality_weight": 25.0, "training.steps": 7})
    assert re.fullmatch("table1_cq-f--photos10--quick--0--quality-weight-25.0-steps-7-[0-9a-f]{8}", changed)
    one, other = (slug("table1/vae", f"npz:/home/{who}/cats.npz", "quick", 0) for who in ("a", "b"))
    assert one != other and "home" not in one
    assert one.startswith("table1_vae--npz-cats-") and one.endswith("--quick--0")
    for data in ("folder:/a b/Ünïcode 'dir'", "npz:" + "x" * 400 + ".npz", "folder:/", "npz:../../x"):
        name = slug("table1/vae", data, "quick", 0, {f"a.{letter * 50}": [0.5] for letter in "bc"})
        assert set(name) <= set(string.ascii_lowercase + string.digits + "-_.") and len(name) < 160


@pytest.mark.parametrize(
    "states, dirty", [((False, False), False), ((False, True), True), ((None, False), None), ((None, True), True)]
)
def test_code_is_dirty_if_any_was_and_unknown_if_one_is_not_known(states, dirty):
    here, before = (GitInfo(letter * 40, state) for letter, state in zip("ab", states, strict=True))
    assert here.after(before) == GitInfo("a" * 40, dirty)
    assert before.after(here) == GitInfo("b" * 40, dirty)
