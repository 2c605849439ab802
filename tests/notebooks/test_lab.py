"""A notebook in JupyterLab, in a real browser: it opens, runs, and a slider moves its picture."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
CELLS = (
    "import torch\nfrom ipywidgets import interact\nfrom cqlib.suite.cells import live, pixels",
    "grey = lambda k: pixels(torch.full((1, 3, 8, 8), k, dtype=torch.uint8), f'grey {k}')\ngrey(0)",
    "if live():\n    interact(grey, k=(0, 200))",
    "from matplotlib.figure import Figure\nfrom cqlib.suite.frames import frames\n"
    "frames(lambda k: Figure((k, 1)), {'width': [1, 2, 3]}, 'empty')",
)
"""The project's own notebooks make their sliders in these two ways; that they run is tested elsewhere."""
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
    """The address of a JupyterLab on a notebook of `CELLS`; of no user's settings."""
    root = tmp_path_factory.mktemp("lab")
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
    book.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(book, root / "sliders.ipynb")
    home = tmp_path_factory.mktemp("jupyter")
    environment = {**os.environ, "IPYTHONDIR": str(home), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
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
        for _ in range(1800):  # a busy machine takes its time
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
    page.goto(f"{lab}lab/tree/sliders.ipynb?reset")
    page.wait_for_selector(".jp-Notebook .jp-Cell")
    page.evaluate(RUN)
    page.wait_for_function("window.ran")
    cells = page.evaluate(f"{PANEL}.content.model.sharedModel.cells.map(cell => cell.toJSON())")
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert len(code) == len(CELLS) and all(cell["execution_count"] for cell in code)
    outputs = [output for cell in code for output in cell["outputs"]]
    assert not [output for output in outputs if output["output_type"] == "error"]
    assert [output for output in outputs if "text/html" in output.get("data", {})]
    # The slider moves by keys; the picture below it changes.
    handle = page.locator(SLIDER)
    handle.scroll_into_view_if_needed()
    before = page.wait_for_selector("img[alt='grey 100']").get_attribute("src")
    handle.focus()
    page.keyboard.press("ArrowRight")
    assert page.wait_for_selector("img[alt='grey 101']").get_attribute("src") != before
    # So does the one that needs no kernel; JupyterLab's own keys do not interfere.
    page.locator("input[type=range]").press("ArrowRight")
    assert page.locator(".frame p:visible").all_inner_texts() == ["width = 2"]
    page.close()
