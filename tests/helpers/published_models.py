"""Untrained models in the place of published ones, so that no test depends on what is published."""

from __future__ import annotations

from pathlib import Path

import torch

from cqlib.models.frozen_decoder import FrozenDecoder
from cqlib.models.registry import build
from cqlib.suite.experiments.experiment import experiment
from cqlib.suite.experiments.load import ENCODER, WEIGHTS
from cqlib.suite.report import publish
from cqlib.util.checkpoint import save_checkpoint


def publish_untrained(folder: Path, monkeypatch, *rows: str, profile: str = "quick", data: str = "photos10") -> None:
    """From now on `folder`/published is the folder of what is published: the weights of `rows`, seed 0, alone."""
    monkeypatch.setattr("cqlib.suite.experiments.load.PUBLISHED", folder / "published")
    (folder / "published").mkdir()
    for row in rows:
        e = experiment(row, profile, data)
        torch.manual_seed(0)
        system = build(e.recipe.system)
        trained = {"status": "done", "steps": 1, "seconds": 1.0, "skipped": 0, "notes": [], "device": "cpu",
                   "git": {"commit": None, "dirty": None}, "training_hash": e.training_hash, "data": "d"}  # fmt: skip
        run = folder / "published" / "runs" / e.folder
        save_checkpoint(run / WEIGHTS, {**trained, "weights": dict(system.state_dict())})
        if e.recipe.frozen_decoder is not None:
            encoder = FrozenDecoder(e.recipe.frozen_decoder.config, system)
            save_checkpoint(run / ENCODER, {**trained, "weights": dict(encoder.state_dict())})
        publish._publish_model(run, e.folder)
