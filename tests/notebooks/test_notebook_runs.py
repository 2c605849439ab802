"""Running notebooks: unknown parameters, failures, a stop, what counts as done, pages without a network."""

from __future__ import annotations

import re
import sys
from dataclasses import replace

import nbformat
import psutil
import pytest

from cqlib.suite.cli import notebooks
from cqlib.suite.cli.tasks import Outcome, Task, local_start, run_tasks
from cqlib.suite.notebook_page import mathml, notebook_page
from cqlib.util.errors import UserError
from cqlib.util.stop import StopRequest

TEXT = """# A title

The bound $\\mathcal{L}_C = -\\frac1n\\sum_i \\ln p(x_i)$, and $a < b$ with

$$\\mathrm{KL}(q\\,\\|\\,p) \\ge 0$$

| a | b |
|---|---|
| 1 | 2 |

[An example](../examples/one.py)
"""
CODE = """
import os, signal, sys, time
print(profile, sys.executable)
if profile == "fails":
    raise ValueError("no such thing")
if profile == "dies":
    os.kill(os.getpid(), signal.SIGKILL)
if profile == "waits":
    open(runs_dir + "/waiting", "w").write(str(os.getpid()))
    time.sleep(100)
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
    return notebooks.Job(tmp_path / "figure_x.ipynb", parameters, tmp_path / "out" / "figure_x", (runs,))


def run(job: notebooks.Job, stop: StopRequest | None = None) -> Outcome:
    task, logs = Task("figure_x", job.arguments(), "figure_x"), job.out.parent / "logs"
    (outcome,) = run_tasks([task], local_start([{}]), 1, stop=stop or StopRequest(), logs=logs)
    return outcome


@pytest.mark.slow
def test_a_run_is_done_until_an_input_changes(job):
    assert not job.done()
    assert run(job).status == "done" and job.done()
    executed = nbformat.read(job.target, as_version=4)
    assert not any("papermill" in part.metadata for part in (executed, *executed.cells))  # machine paths, times of day
    assert executed.cells[-1].outputs[0].text == f"smoke {sys.executable}\n"  # this interpreter's own kernel
    html = job.page.read_text()
    link = re.search(r'href="([^"]*one.py)"', html)[1]
    assert (job.page.parent / link).resolve() == (job.source.parent / "../examples/one.py").resolve()
    assert "<math" in html and not re.search(r"<script|<link|@import|src=.https?:", html)

    assert not replace(job, parameters={**job.parameters, "profile": "quick"}).done()
    record = job.records[0] / "one" / "record.json"
    record.write_text('{"a": 1}')
    assert not job.done()
    record.write_text("{}")
    assert job.done()
    source = job.source
    source.write_text(source.read_text().replace("A title", "Another title"))
    assert not job.done()


def test_inputs_are_files_and_all_that_is_in_folders(job, tmp_path):
    models, read = tmp_path / "models", tmp_path / "read.json"
    (models / "inner").mkdir(parents=True)
    reading = replace(job, files=(models, read))
    seen = [reading.inputs()]
    for file, text in ((read, "a"), (models / "inner" / "m", "a"), (models / "inner" / "m", "b"), (read, "bb")):
        file.write_text(text)
        seen.append(reading.inputs())
    assert len(set(seen)) == 5 and notebooks.job_of(reading.arguments()[-1]) == reading


@pytest.mark.slow
def test_a_failing_cell_is_named_and_not_done(job):
    failing = replace(job, parameters={**job.parameters, "profile": "fails"})
    outcome = run(failing)
    assert outcome.status == "failed" and outcome.message.startswith("figure_x.ipynb: ValueError: no such thing")
    assert not failing.done() and "ValueError" in failing.page.read_text()


@pytest.mark.slow
def test_a_kernel_that_dies_is_one_line_and_nothing_is_done(job):
    dies = replace(job, parameters={**job.parameters, "profile": "dies"})
    outcome = run(dies)
    message = "figure_x.ipynb: its kernel died; run it again to resume; see "
    assert outcome.status == "failed" and outcome.message.startswith(message) and "\n" not in outcome.message
    assert not dies.done() and not job.target.exists()


@pytest.mark.slow
def test_sigterm_ends_the_kernel_and_leaves_no_half_file(job):
    runs = job.records[0]

    class WhenItWaits(StopRequest):
        def reason(self) -> str | None:
            return "SIGTERM" if (runs / "waiting").exists() else None

    waiting = replace(job, parameters={**job.parameters, "profile": "waits"})
    assert run(waiting, WhenItWaits()).status == "stopped"
    assert not psutil.pid_exists(int((runs / "waiting").read_text()))
    assert not waiting.target.exists() and not waiting.page.exists()


def test_unknown_parameters_and_bad_files_are_refused(job, tmp_path):
    with pytest.raises(UserError, match=r"figure_x.ipynb has no parameter 'profil'"):
        notebooks.execute(replace(job, parameters={"profil": "smoke"}))
    (tmp_path / "bad.ipynb").write_text("no notebook")
    with pytest.raises(UserError, match="is not a notebook"):
        notebooks.parameter_names(tmp_path / "bad.ipynb")
    nbformat.write(nbformat.v4.new_notebook(), tmp_path / "plain.ipynb")
    assert notebooks.parameter_names(tmp_path / "plain.ipynb") == set()


def test_a_page_with_photographs_names_whose_they_are():
    for name, shown in (("photos10", True), ("cifar10", False)):
        cell = nbformat.v4.new_code_cell(f'data = ["{name}"]')
        html = notebook_page(nbformat.v4.new_notebook(cells=[cell]), ".", "x")
        assert ("a flower, by vultilion" in html) == shown


def test_formulas_are_mathml_and_never_cost_the_page(monkeypatch):
    assert mathml(r"\frac{a}{b}").startswith("<math") and "<mfrac>" in mathml(r"\frac{a}{b}")
    assert 'display="block"' in mathml("x", "block")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(TEXT)])
    html = notebook_page(notebook, ".", "x")
    body = html[html.index("<main>") :]
    assert body.count("<math") == 3 and "$" not in body and "<td>1</td>" in body
    monkeypatch.setattr("cqlib.suite.notebook_page.convert", lambda *a, **k: 1 / 0)
    assert mathml("a < b") == "<code>a &lt; b</code>"
