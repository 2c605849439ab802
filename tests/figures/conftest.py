"""Published records that a test sets itself, and a front end that shows widgets."""

from __future__ import annotations

import pytest
import torch
from fake_records import draw_samples

from cqlib.data.grids import grid_png
from cqlib.figures.explore import out_of_distribution
from cqlib.report import cells, pictures
from cqlib.report import page as report


@pytest.fixture
def published(monkeypatch, tmp_path):
    """Sets the published records; at first there are none, and no published samples."""
    monkeypatch.setattr(pictures, "PUBLISHED", tmp_path / "published")

    def publish(*records):
        monkeypatch.setattr(report, "published_records", lambda: tuple(records))

    publish()
    return publish


@pytest.fixture
def rows_shown(monkeypatch):
    """rows_shown(module): from now on, the rows of its pictures of strips by name, instead of a picture."""

    def watch(module):
        rows = {}
        monkeypatch.setattr(module, "strips", lambda of, **_: rows.update(of))
        monkeypatch.setattr(module, "picture", lambda *_: None)
        return rows

    return watch


@pytest.fixture
def published_samples(published, tmp_path):
    """The same, with sample grids."""

    def publish(*records):
        published(*records)
        draw_samples(list(records), tmp_path / "published" / "samples")

    return publish


@pytest.fixture
def small_real_images(monkeypatch):
    """One real image in the place of 128: compressing those takes seconds."""
    image = grid_png(torch.zeros(1, 3, 16, 16, dtype=torch.uint8))
    monkeypatch.setattr(pictures, "real_images", lambda *_: image)


@pytest.fixture
def live(monkeypatch):
    """Sets whether widgets can be moved."""

    def set_live(value: bool) -> None:
        for module in (cells, out_of_distribution):
            monkeypatch.setattr(module, "live", lambda: value)

    set_live(False)
    return set_live
