"""What tests of several folders need."""

from __future__ import annotations

import os
import shutil
import tempfile

import pytest

NO_RUNS = tempfile.TemporaryDirectory(prefix="cqlib-no-runs-")
os.environ["CQLIB_RUNS"] = NO_RUNS.name  # before cqlib is imported: no test sees, or adds to, the runs of a user

ARGUMENTS = (
    "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-quic"
).split()


@pytest.fixture(scope="module")
def browser():
    """Debian's Chromium, driven by playwright."""
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("there is no chromium on this machine (Debian: apt-get install chromium)")
    sync = pytest.importorskip("playwright.sync_api")
    with sync.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield chromium
        chromium.close()
