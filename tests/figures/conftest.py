"""Published records that a test sets itself, and the rows of a picture instead of the picture."""

from __future__ import annotations

import pytest

from cqlib.report import page, pictures


@pytest.fixture
def published(monkeypatch, tmp_path):
    """Sets the published records; at first there are none, and no published samples."""
    monkeypatch.setattr(pictures, "PUBLISHED", tmp_path / "published")

    def publish(*records):
        monkeypatch.setattr(page, "published_records", lambda: tuple(records))

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
