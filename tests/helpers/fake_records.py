"""Handmade records for the tests of the report: every number here is invented and stays in temporary folders."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from todays import of_today

from cqlib.data.grids import grid_png
from cqlib.metrics.metric import Metric, Protocol
from cqlib.suite.experiments.record import DataInfo, Record, write_record
from cqlib.suite.report import page, table
from cqlib.util.provenance import GitInfo

SCORES = {  # row: BPD, IS, FD
    "table1/vae": (5.97, 2.1, 2390.0),
    "table1/vae-f": (4.76, 2.4, 2350.0),
    "table1/cq": (6.18, 3.0, 2060.0),
    "table1/cq-f": (4.88, 3.1, 2000.0),
    "table1/gan": (7.41, 3.6, 1620.0),
}
TABLE2 = {
    "table2/gan-residual": (7.2, 3.7, 1500.0),
    "table2/cqf-residual": (4.80, 3.2, 1900.0),
    "table2/cqf-iaf-residual": (4.78, 3.3, 1880.0),
    "table2/cqf-iaf-residual-large-d": (4.79, 3.4, 1850.0),
    "table3/cqf-2-scales": (4.60, 3.0, 2050.0),
}
TABLE3 = {
    "table3/dcgan": (7.3, 3.1, 1900.0),
    "table3/sngan": (7.1, 3.3, 1700.0),
    "table3/pixelcnnpp": (4.5, 2.6, 2100.0),
}
DEVICE = "cpu (2 cores, 1 thread)"
BPD = Protocol(split="test", bound="ELBO", k=1, dequantised=True)
BPD_IW = Protocol(split="test", bound="importance-weighted bound", k=64, dequantised=True)
FIDELITY = Protocol(features="lite0", side=224, dimensions=1280, n_real=1000, n_fake=1000, split="test",
                    torch_fidelity="0.4.0")  # fmt: skip


def record(row: str = "table1/cq-f", seed: int = 0, *, data: str = "photos10", profile: str = "quick", **more):
    """One record with invented numbers that differ a little from seed to seed."""
    rng = np.random.default_rng([seed, sum(row.encode())])
    invented = {**SCORES, **TABLE2, **TABLE3}[row]
    bpd, inception, distance = (value * (1 + 0.01 * rng.standard_normal()) for value in invented)
    values = {
        "BPD": Metric(bpd, None, 2000, BPD),
        "BPD-IW": Metric(bpd - 0.03, None, 500, BPD_IW),
        "FD-lite0-floor": Metric(310.0, None, 1000, FIDELITY),
        "KD-lite0-floor": Metric(0.4, None, 1000, FIDELITY),
    }
    values |= {
        "IS-lite0": Metric(inception, 0.05, 1000, FIDELITY),
        "FD-lite0": Metric(distance, None, 1000, FIDELITY),
        "KD-lite0": Metric(distance / 100, 0.2, 1000, FIDELITY),
        "Coverage-lite0": Metric(0.22, None, 1000, FIDELITY),
        "IS-lite0-real": Metric(6.5, 0.1, 1000, FIDELITY),
        "Coverage-lite0-real": Metric(0.95, None, 1000, FIDELITY),
    }
    if row in TABLE3:
        bars = {"untrained": 4000.0, "gaussian": 2500.0}
        values |= {f"FD-lite0-{name}": Metric(value, None, 1000, FIDELITY) for name, value in bars.items()}
    steps = np.arange(100, 3001, 100)
    curve = {"L_C (bits/dim)": [[int(s), float(bpd + 3 * np.exp(-s / 500))] for s in steps]}
    if row not in ("table1/vae", "table1/vae-f"):
        curve["discriminator"] = [[int(s), float(rng.normal(1, 0.1))] for s in steps]
        curve["L_Q"] = [[int(s), float(rng.normal(-1, 0.2))] for s in steps]
    fields = {
        "row": row, "status": "done", "seed": seed, "profile": profile,
        "data": DataInfo(data, "test", "0123456789abcdef", (2000, 3, 16, 16)), "metrics": values,
        "config": {"width": 24, "steps": 3000}, "config_hash": "0123456789ab",
        "parameters": {"generator": 310_000, "encoder": 200_000, "flow": 41_000 * row.endswith("-f"),
                       "total": 551_000, "critic": 250_000},
        "steps": 3000, "seconds": 412.5, "images_per_second": 465.0,
        "peak_memory_bytes": 610_000_000, "device": DEVICE, "precision": "fp32",
        "versions": {"python": "3.11.9", "torch": "2.13.0"},
        "git": GitInfo("0123456789abcdef0123456789abcdef01234567", False), "started": "2025-01-31T12:00:00+00:00",
        "finished": "2025-01-31T12:06:52+00:00",
        "curve": curve,
    }  # fmt: skip
    made = Record(**{**fields, **more})
    return made if "config_hash" in more else of_today(made)


def records(seeds: int = 5, rows: tuple[str, ...] = tuple(SCORES), **more) -> list[Record]:
    """Records of `rows` for seeds 0 to `seeds` - 1."""
    return [record(row, seed, **more) for row in rows for seed in range(seeds)]


def draw_samples(runs: list[Record], folder: Path) -> None:
    """Noise in the place of samples: `folder`/SLUG/samples.png for every record."""
    for i, run in enumerate(runs):
        place = folder / run.folder
        place.mkdir(parents=True, exist_ok=True)
        size = run.data.shape[-1]
        noise = np.random.default_rng(i).integers(0, 256, (16, 3, size, size), dtype=np.uint8)
        (place / "samples.png").write_bytes(grid_png(torch.from_numpy(noise), scale=2))


def rendered_page(out: Path, local, published=(), plots=False, tried=(), **more) -> Path:
    """`out`/index.html of these records alone; plots, which take seconds, where they are wanted."""
    for folder, records in (("runs", local), ("published/records", published), ("published/ablations", tried)):
        for i, run in enumerate(records):
            write_record(run, out / folder / f"{i:02d}", "record.json")
    with ExitStack() as patched:
        for module in (page, page.pictures, table):
            patched.enter_context(patch.object(module, "PUBLISHED", out / "published"))
        if not plots:
            patched.enter_context(patch.object(page.pictures, "plots_of", return_value=[]))
            patched.enter_context(patch.object(page.trade_off, "figures", return_value=[]))
        return page.render(out, runs_dir=out / "runs", **more)
