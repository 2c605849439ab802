"""The report's smaller tables, from run sets: costs, baselines, protocols."""

import itertools
import re
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from cqlib.experiments.record import Record
from cqlib.experiments.rows import short_label
from cqlib.metrics.protocols import PROTOCOLS, protocol_of
from cqlib.metrics.quantities import QUANTITIES
from cqlib.models.adversarial import CriticConfig, critic_net
from cqlib.report import comparable
from cqlib.report.run_sets import RunSet, most_common

COUNT = re.compile(r"(?:(?<=[nlet] = )|(?<=subsets of ))\d{1,18}\b")
"""A number of images in the words of a protocol: n = 250, n_real = n_fake = 1000, subsets of 500."""
ANY = "\0"


def _rows_with_runs(sets: Sequence[RunSet], rows: Collection[str] | None) -> Iterator[tuple[RunSet, str]]:
    """(run set, row) for every one of `rows`, or of the run set's own, that has a finished run in it."""
    return ((runs, row) for runs in sets for row in rows or runs.rows if runs.done(row))


def costs(sets: Sequence[RunSet], rows: Collection[str] | None = None) -> list[dict[str, Any]]:
    """What each of `rows`, by default all that ran, costs, by run set: the finished runs on their most common device,
    the numbers of parameters, and the critic's multiply-adds for one image."""
    lines = []
    for runs, row in _rows_with_runs(sets, rows):
        device = most_common(run.device for run in runs.done(row))
        done = [run for run in runs.done(row) if run.device == device]
        lines.append({"label": short_label(row), "runs": runs.title, "device": device, "done": done,
                      "counts": done[0].parameters, "critic": critic_multiply_adds(done[0])})  # fmt: skip
    return lines


def critic_multiply_adds(record: Record) -> int | None:
    """Multiply-adds of the record's critic for one image; None where it has none, or one of another kind."""
    widths, blocks = (record.setting("recipe", "system", "critic", name) for name in ("widths", "blocks"))
    channels, size = (record.setting("recipe", "system", name) for name in ("image_channels", "size"))
    if not isinstance(widths, list) or len(widths) > 10 or (blocks or 0) not in range(100):
        return None
    config = CriticConfig(tuple(widths), blocks=blocks or 0)
    try:
        with torch.random.fork_rng(devices=[]), torch.device("meta"), torch.no_grad():
            net = critic_net(config, size, channels)
            with FlopCounterMode(display=False) as counter:
                net(torch.empty(1, channels, size, size))
    except Exception:  # a foreign record may have anything in the place of numbers, and a net may raise anything for it
        return None
    return counter.get_total_flops() // 2


def baselines(sets: Sequence[RunSet], rows: Collection[str]) -> list[dict[str, Any]]:
    """For each of `rows`, by run set and kind of features: the Fréchet distance at T = 1 at the last and at the best
    step, that of an untrained copy and of independent Gaussian pixels; the BPD and that of a histogram per pixel; and
    whether the model beats these baselines."""
    lines = []
    for (runs, row), distance in itertools.product(_rows_with_runs(sets, rows), QUANTITIES["fid"].names):
        names = [f"{distance}@T1", *(f"{distance}-{bar}@T1" for bar in ("best", "untrained", "gaussian")), "BPD",
                 "BPD-histogram"]  # fmt: skip
        last, _, untrained, gaussian, bpd, histogram = (runs.mean(row, name) for name in names)
        if last and (untrained or gaussian or histogram):
            races = ((last, untrained), (last, gaussian), (bpd, histogram))
            steps = {run.best_step for run in runs.done(row) if names[1] in run.metrics}
            lines.append({
                "label": short_label(row), "runs": runs.title, "distance": distance, "seeds": len(runs.done(row)),
                "beats": all(a.value < b.value for a, b in races if a and b),
                "cells": [runs.cell(row, name) for name in names],
                "steps": ", ".join(f"{step:,}" for step in sorted(steps)) or "—",
            })  # fmt: skip
    return lines


def protocols(sets: Sequence[RunSet]) -> list[tuple[str, str]]:
    """(metrics, protocol) for every protocol, where those that differ only in numbers of images or in the step chosen
    are one; then the protocols of the literature, where any was used, and those that a data set was too small for."""
    merged: dict[str, tuple[dict[str, None], list[list[int]]]] = {}
    for run in (run for runs in sets for run in runs.records):
        for name, metric in run.metrics.items():
            text = comparable.protocol_key(metric)
            metrics, counts = merged.setdefault(COUNT.sub(ANY, text), ({}, []))
            metrics[name] = None
            counts.append([int(count) for count in COUNT.findall(text)])
    texts = []
    for words, (metrics, counts) in merged.items():
        for column in zip(*counts, strict=True):
            words = words.replace(ANY, " or ".join(f"{n:,}" for n in sorted({*column})), 1)
        texts.append((", ".join(metrics), words))
    used = {protocol_of(name) for metrics, _ in merged.values() for name in metrics} - {""}
    texts += [(name, protocol.about) for name, protocol in PROTOCOLS.items() if used and name in {"paper", *used}]
    left_out = ((runs.label, note) for runs in sets for run in runs.finished for note in run.notes)
    return texts + list(dict.fromkeys(pair for pair in left_out if pair[1].startswith("protocol ")))
