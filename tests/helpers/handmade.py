"""Handmade records for tests of verdicts, metrics given one by one and all else alike, and the claims they test."""

from __future__ import annotations

from dataclasses import replace

from todays import of_today

from cqlib.metrics.metric import Metric, Protocol
from cqlib.suite.experiments.claims import BY_ID
from cqlib.suite.experiments.record import DataInfo, Record
from cqlib.util.provenance import GitInfo

F_BPD = BY_ID["table1/f-bpd"]  # VAE-F is lower than VAE
EQUAL_BPD = BY_ID["table1/quality-loss-bpd"]  # CQ equals VAE
COST = BY_ID["table1/quality-loss-f-bpd"]  # CQ-F costs bpd against VAE-F
FID = BY_ID["table1/f-quality-fid"]  # CQ-F is lower than CQ
IS = BY_ID["table1/f-quality-is"]
LARGE = DataInfo("photos10", "test", "89abcdef01234567", (5000, 3, 32, 32))
"""Other images than those of `record`, of 32 pixels."""
SHAPES = {"photos10": (2000, 3, 16, 16), "cifar10": (10_000, 3, 32, 32), "stl10": (8_000, 3, 48, 48)}


def at_32(runs: list[Record]) -> list[Record]:
    """The same runs, on `LARGE`."""
    return [replace(run, data=LARGE) for run in runs]


def record(row: str, seed: int = 0, *, data="photos10", profile="quick", n=None, **more) -> Record:
    """A record with metrics as keywords: BPD=4.8, FD=1700.0 (on lite0), metrics={name: value}."""
    values = dict(more.pop("metrics", {}))
    short = {"BPD": "BPD", "FD": "FD-lite0", "IS": "IS-lite0"}
    values |= {name: more.pop(key) for key, name in short.items() if key in more}
    n = n or (SHAPES[data][0] if data in SHAPES else 1000)
    fields = {
        "row": row, "status": "done", "seed": seed, "profile": profile,
        "data": DataInfo(data, "test", "0123456789abcdef", SHAPES.get(data, (3, 16, 16))),
        "metrics": {name: Metric(value, None, n, Protocol(split="test")) for name, value in values.items()},
        "config": {}, "config_hash": "c", "parameters": {"total": 1}, "steps": 1,
        "seconds": 1.0, "images_per_second": 1.0, "peak_memory_bytes": 1, "device": "cpu",
        "precision": "fp32", "versions": {},
        "git": GitInfo(None, None), "started": "2025-01-31T12:00:00Z", "finished": "2025-01-31T12:00:00Z",
    }  # fmt: skip
    made = Record(**{**fields, **more})
    return made if "config_hash" in more else of_today(made)


def runs(a: str, b: str, values_a, values_b, key="BPD", **more) -> list[Record]:
    """Records of rows `a` and `b`, one per value, seeds from 0."""
    side_a = [record(a, seed, **{key: value}, **more) for seed, value in enumerate(values_a)]
    return side_a + [record(b, seed, **{key: value}, **more) for seed, value in enumerate(values_b)]
