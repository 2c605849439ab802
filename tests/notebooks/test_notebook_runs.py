"""Running notebooks: unknown parameters, failures, a stop, what counts as done, pages without a network."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import nbformat
import pytest

from cqlib.cli import papermill as notebooks
from cqlib.cli.notebook_page import mathml, page
from cqlib.util.errors import UserError

TEXT = """# A title

The bound $\\mathcal{L}_C = -\\frac1n\\sum_i \\ln p(x_i)$, and $a < b$ with

$$\\mathrm{KL}(q\\,\\|\\,p) \\ge 0$$

| a | b |
|---|---|
| 1 | 2 |
"""
CODE = """
import sys, time
print(profile, sys.executable)
if profile == "fails":
    raise ValueError("no such thing")
if profile == "waits":
    open(runs_dir + "/waiting", "w").close()
    try:
        time.sleep(100)
    except KeyboardInterrupt:
        open(runs_dir + "/saved", "w").close()
        raise
"""


@pytest.fixture
def job(tmp_path) -> notebooks.Job:
    code = nbformat.v4.new_code_cell('profile = "quick"\nruns_dir = ""')
    code.metadata["tags"] = ["parameters"]
    notebook = nbformat.v4.new_notebook()
    notebook.cells = [nbformat.v4.new_markdown_cell(TEXT), code, nbformat.v4.new_code_cell(CODE)]
    nbformat.write(notebook, tmp_path / "figure_x.ipynb")
    runs = tmp_path / "runs"
    (runs / "one").mkdir(parents=True)
    (runs / "one" / "record.json").write_text("{}")
    parameters = {"profile": "smoke", "runs_dir": str(runs)}
    return notebooks.Job(str(tmp_path / "figure_x.ipynb"), parameters, str(tmp_path / "out" / "figure_x"), (str(runs),))


def start(job: notebooks.Job) -> subprocess.Popen:
    command = [sys.executable, "-m", "cqlib.cli.papermill", notebooks.encode(job)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_run_is_done_until_an_input_changes(job):
    assert not job.done()
    out, _ = (process := start(job)).communicate(timeout=120)
    assert process.returncode == 0 and out == ""
    assert job.done()
    executed = nbformat.read(job.target, as_version=4)
    assert executed.cells[-1].outputs[0].text == f"smoke {sys.executable}\n"  # this interpreter's own kernel
    html = job.page.read_text()
    assert "<math" in html and not re.search(r"<script|<link|@import|src=.https?:", html)

    assert not replace(job, parameters={**job.parameters, "profile": "quick"}).done()
    record = Path(job.records[0]) / "one" / "record.json"
    record.write_text('{"a": 1}')
    assert not job.done()
    record.write_text("{}")
    assert job.done()
    source = Path(job.source)
    source.write_text(source.read_text().replace("A title", "Another title"))
    assert not job.done()


def test_a_failing_cell_is_named_and_not_done(job):
    failing = replace(job, parameters={**job.parameters, "profile": "fails"})
    out, _ = (process := start(failing)).communicate(timeout=120)
    assert process.returncode == 1
    assert json.loads(out)["message"] == "figure_x.ipynb: ValueError: no such thing"
    assert not failing.done() and "ValueError" in failing.page.read_text()


def test_sigterm_reaches_the_kernel_and_leaves_no_half_file(job):
    waiting = replace(job, parameters={**job.parameters, "profile": "waits"})
    process, runs = start(waiting), Path(job.records[0])
    for _ in range(600):
        if (runs / "waiting").exists():
            break
        time.sleep(0.1)
    process.terminate()
    process.communicate(timeout=60)
    assert process.returncode == 3
    assert (runs / "saved").exists() and not waiting.target.exists() and not waiting.page.exists()


def test_unknown_parameters_and_bad_files_are_refused(job, tmp_path):
    notebooks.check_parameters(job.source, job.parameters)
    with pytest.raises(UserError, match=r"figure_x.ipynb has no parameter 'profil'"):
        notebooks.check_parameters(job.source, {"profil": "smoke"})
    (tmp_path / "bad.ipynb").write_text("no notebook")
    with pytest.raises(UserError, match="is not a notebook"):
        notebooks.declared(tmp_path / "bad.ipynb")
    nbformat.write(nbformat.v4.new_notebook(), tmp_path / "plain.ipynb")
    with pytest.raises(UserError, match="no cell tagged 'parameters'"):
        notebooks.declared(tmp_path / "plain.ipynb")


def test_formulas_are_mathml_and_never_cost_the_page(monkeypatch):
    assert mathml(r"\frac{a}{b}").startswith("<math") and "<mfrac>" in mathml(r"\frac{a}{b}")
    assert 'display="block"' in mathml("x", "block")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(TEXT)])
    html = page(notebook, ".", "x")
    body = html[html.index("<main>") :]
    assert body.count("<math") == 3 and "$" not in body and "<td>1</td>" in body
    monkeypatch.setattr("cqlib.cli.notebook_page.convert", lambda *a, **k: 1 / 0)
    assert mathml("a < b") == "<code>a &lt; b</code>"
