"""Published records that a test sets itself."""

from __future__ import annotations

import pytest

from cqlib.suite.report import page, pictures


@pytest.fixture
def published(monkeypatch, tmp_path):
    """Sets the published records; at first there are none, and no published samples."""
    monkeypatch.setattr(pictures, "PUBLISHED", tmp_path / "published")

    def publish(*records):
        monkeypatch.setattr(page, "published_records", lambda: tuple(records))

    publish()
    return publish
