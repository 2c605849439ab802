"""A machine without copies of the published data sets but those that a test makes."""

import pytest

from cqlib.data import published


@pytest.fixture(autouse=True)
def no_copies(monkeypatch, tmp_path):
    """Neither in $CQLIB_DATA nor in data/ of the repository."""
    monkeypatch.delenv("CQLIB_DATA", raising=False)
    monkeypatch.setattr(published, "ROOT", tmp_path / "repository")


@pytest.fixture
def home(tmp_path):
    (tmp_path / "data").mkdir()
    return tmp_path / "data"
