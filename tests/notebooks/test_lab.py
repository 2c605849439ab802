"""A notebook in JupyterLab, in a real browser: it opens, runs, and a slider moves its pictures."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest

FOLDER = Path(__file__).resolve().parent.parent.parent / "notebooks"
BOOK = FOLDER / "explore.ipynb"
"""Run up to its first slider; the other notebooks' sliders are made by the same code."""
pytestmark = [pytest.mark.browser, pytest.mark.slow]
PANEL = "window.jupyterapp.shell.currentWidget"
READY = f"(async () => {{ const p = {PANEL}; await p.context.ready; await p.revealed; await p.sessionContext.ready;"
RUN = f"{READY} await window.jupyterapp.commands.execute('notebook:run-all-cells'); window.ran = true }})(); 0"
SLIDER = ".widget-slider .noUi-handle"
SETTINGS = {
    "notebook-extension/tracker": {"windowingMode": "none"},
    "apputils-extension/notification": {"fetchNews": "false"},
}


@pytest.fixture(scope="module")
def lab(browser, tmp_path_factory):
    """The address of a JupyterLab on a copy of the notebook, set to `smoke`; of no user's settings."""
    root = tmp_path_factory.mktemp("lab")
    book = nbformat.read(BOOK, 4)
    cell = next(cell for cell in book.cells if "parameters" in cell.metadata.get("tags", []))
    cell.source += f'\nprofile, data, runs_dir = "smoke", ["photos10"], {str(root / "runs")!r}'
    first = next(i for i, cell in enumerate(book.cells) if "slider(" in cell.source)
    book.cells = book.cells[: first + 1]
    nbformat.write(book, root / BOOK.name)
    home = tmp_path_factory.mktemp("jupyter")
    environment = {**os.environ, "IPYTHONDIR": str(home), "PYTHONPATH": str(FOLDER.parent), "OMP_NUM_THREADS": "1"}
    environment |= {f"JUPYTER_{name}_DIR": str(home / name.lower()) for name in ("CONFIG", "DATA", "RUNTIME")}
    environment |= {f"JUPYTERLAB_{name.upper()}_DIR": str(home / name) for name in ("settings", "workspaces")}
    for name, values in SETTINGS.items():
        file = home / "settings/@jupyterlab" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps(values))
    command = [sys.executable, "-m", "jupyter", "lab", "--no-browser", "--allow-root", "--expose-app-in-browser",
               "--ServerApp.ip=127.0.0.1", "--ServerApp.port=0", "--IdentityProvider.token=",
               f"--ServerApp.root_dir={root}"]  # fmt: skip
    with open(home / "log", "w") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=root)
    try:
        for _ in range(600):
            found = list((home / "runtime").glob("jpserver-*.json"))
            if found or server.poll() is not None:
                break
            time.sleep(0.1)
        assert server.poll() is None and found, (home / "log").read_text()[-2000:]
        yield json.loads(found[0].read_text())["url"]
    finally:
        server.terminate()
        server.wait(30)


def test_it_runs_in_jupyterlab(lab, browser):
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    page.set_default_timeout(240_000)
    page.goto(f"{lab}lab/tree/{BOOK.name}?reset")
    page.wait_for_selector(".jp-Notebook .jp-Cell")
    page.evaluate(RUN)
    page.wait_for_function("window.ran")
    cells = page.evaluate(f"{PANEL}.content.model.sharedModel.cells.map(cell => cell.toJSON())")
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert code and all(cell["execution_count"] for cell in code)
    outputs = [output for cell in code for output in cell["outputs"]]
    assert not [output for output in outputs if output["output_type"] == "error"]
    assert [output for output in outputs if "text/html" in output.get("data", {})]
    # The first slider moves by keys; the pictures beside it change.
    handle = page.locator(SLIDER).first
    handle.scroll_into_view_if_needed()
    box = page.locator(".jp-OutputArea", has=handle).first
    pictures = "box => [...box.querySelectorAll('img, svg')].map(one => one.src ?? one.innerHTML).join()"
    before = box.evaluate(pictures)
    handle.focus()
    for key in ["ArrowLeft"] * 4 + ["ArrowRight"] * 2:  # also from the lower end
        page.keyboard.press(key)
    arg = [box.element_handle(), before]
    page.wait_for_function(f"([box, before]) => ({pictures})(box) !== before", arg=arg)
    page.close()
