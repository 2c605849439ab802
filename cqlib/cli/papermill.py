"""Notebooks through papermill: run once for the same inputs, written as .ipynb and as HTML that needs no network."""

from __future__ import annotations

import html
import json
import os
import signal
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
from jinja2 import pass_context
from latex2mathml.converter import convert
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from traitlets.config import Config

from cqlib.cli.tasks import say
from cqlib.util.errors import UserError, one_line
from cqlib.util.files import canonical_json, sha256, write_atomic
from cqlib.util.locks import held

PACKAGE = Path(__file__).parent.parent


@dataclass(frozen=True)
class Job:
    """One notebook to run: `source` with `parameters`, to `out`.ipynb and .html; `records`: folders it may read."""

    source: Path
    parameters: dict[str, Any]
    out: Path
    records: tuple[Path, ...]

    @property
    def target(self) -> Path:
        """Where the executed notebook goes."""
        return self.out.with_name(f"{self.out.name}.ipynb")

    @property
    def page(self) -> Path:
        """Where its HTML goes."""
        return self.out.with_name(f"{self.out.name}.html")

    def inputs(self) -> str:
        """A hash over all that the outputs depend on: text, parameters, records, cqlib's source."""
        files = [self.source, *sorted(PACKAGE.rglob("*.py")), *sorted(PACKAGE.glob("report/templates/**/*.*"))]
        for folder in self.records:
            files += sorted(folder.glob("*.json")) + sorted(folder.glob("*/record.json"))
        hashes = {str(file): sha256(file.read_bytes()) for file in files if file.is_file()}
        return sha256(canonical_json([self.parameters, hashes]).encode())

    def done(self) -> bool:
        """Whether it has run to its end with these very inputs."""
        try:
            notebook = json.loads(self.target.read_bytes())
            return self.page.is_file() and notebook["metadata"]["cqlib"]["inputs"] == self.inputs()
        except (OSError, ValueError, KeyError, TypeError):
            return False


def declared(source: Path) -> set[str]:
    """The names in the notebook's parameters cell. UserError if it cannot be read or has no such cell."""
    from papermill.translators import PythonTranslator

    try:
        notebook = nbformat.read(source, as_version=4)
    except Exception as error:
        raise UserError(f"{source} is not a notebook: {one_line(error)}") from error
    tagged = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    if not tagged:
        raise UserError(f"{source} has no cell tagged 'parameters'")
    return {parameter.name for parameter in PythonTranslator.inspect(tagged[0])}


def check_parameters(source: Path, parameters: dict[str, Any]) -> None:
    """UserError if the notebook does not declare one of `parameters`: papermill would only warn of it."""
    if unknown := sorted(set(parameters) - declared(source)):
        raise UserError(f"{source.name} has no parameter '{unknown[0]}'")


def execute(job: Job) -> None:
    """Run the notebook and write its .ipynb and .html, each whole or not at all. UserError if a cell fails,
    KeyboardInterrupt after SIGTERM.

    A failed run is written too, with its traceback, for the reader to see; it does not count as done. Where another
    process runs the same, its outputs are waited for.
    """
    check_parameters(job.source, job.parameters)
    lock = job.out.parent.parent / ".locks" / job.out.name
    lock.parent.mkdir(parents=True, exist_ok=True)
    with held(lock, job.out.name, say=lambda text: say(note=text)):
        if not job.done():
            _execute(job)


def _execute(job: Job) -> None:
    from papermill.exceptions import PapermillExecutionError

    failure: str | None = None
    stopped: list[int] = []

    def stop(number: int, frame: object) -> None:
        """SIGTERM becomes Ctrl-C for the kernel, for a training in it to save; papermill does not pass it on."""
        import psutil

        stopped.append(number)
        for kernel in psutil.Process().children():
            kernel.send_signal(signal.SIGINT)
        if len(stopped) == 1 and not psutil.Process().children():
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        # papermill saves as it goes, and in place: with a file of its own a kill never leaves half of one.
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            running = Path(folder) / "notebook.ipynb"
            try:
                _papermill(job, running)
            except PapermillExecutionError as error:
                failure = f"{job.source.name}: {error.ename}: {one_line(str(error.evalue).strip().split(chr(10))[0])}"
            except Exception:
                if stopped:
                    raise KeyboardInterrupt from None
                raise
            notebook = nbformat.read(running, as_version=4)
        if stopped:
            raise KeyboardInterrupt
    finally:
        signal.signal(signal.SIGTERM, before)
    for part in (notebook, *notebook.cells):
        part.metadata.pop("papermill", None)  # machine paths and clock times
    if failure is None:
        notebook.metadata["cqlib"] = {**notebook.metadata.get("cqlib", {}), "inputs": job.inputs()}
    write_atomic(job.page, page(notebook, job.source.parent, job.out.name))
    write_atomic(job.target, nbformat.writes(notebook) + "\n")
    if failure is not None:
        raise UserError(failure)


def _papermill(job: Job, running: Path) -> None:
    """papermill with this environment's own kernel, and none of the user's start-up files."""
    import papermill

    os.environ["JUPYTER_PATH"] = str(Path(sys.prefix) / "share" / "jupyter")
    os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"
    os.environ["IPYTHONDIR"] = os.environ["JUPYTER_RUNTIME_DIR"] = str(running.parent)
    papermill.execute_notebook(
        str(job.source),
        str(running),
        parameters=job.parameters,
        kernel_name="python3",
        language="python",
        cwd=str(job.source.parent),
        progress_bar=False,
        start_timeout=120,
        # Sockets in the temporary folder: no port that another process may take first.
        config=Config({"KernelManager": {"transport": "ipc", "ip": str(running.parent / "kernel")}}),
    )


# --- the page ------------------------------------------------------------------------------------------------

# nbconvert's own page without what it loads from elsewhere (require.js, MathJax, mermaid, widgets), with its
# dark theme for those whose system is dark.
_TEMPLATE = """
{%- extends 'lab/index.html.j2' -%}
{%- block html_head_js -%}{%- endblock -%}
{%- block jupyter_widgets -%}{%- endblock -%}
{%- block html_head_js_mathjax -%}{%- endblock -%}
{%- block html_head_js_mermaidjs -%}{%- endblock -%}
{%- block html_head_css -%}
{{ resources.include_css("static/theme-dark.css")
   | replace('<style type="text/css">', '<style media="(prefers-color-scheme: dark)">') }}
<style>
:root { color-scheme: light dark }
/* the theme's prompts, comments and operators are too pale to read (WCAG 2.2, 1.4.3) */
body.jp-Notebook { --jp-cell-prompt-not-active-opacity: 1; --jp-cell-prompt-not-active-font-color: #5f6368;
  --jp-mirror-editor-comment-color: #2b6a6a; --jp-mirror-editor-number-color: #006f00;
  --jp-mirror-editor-operator-color: #8a10dc }
@media (prefers-color-scheme: dark) {
  body.jp-Notebook { --jp-cell-prompt-not-active-font-color: #a0a4aa; --jp-mirror-editor-comment-color: #6fb5b5;
    --jp-mirror-editor-number-color: #6cbf6c; --jp-mirror-editor-operator-color: #cf8cff }
}
main { max-width: 60rem; margin: 0 auto }
math { font-size: 1.05em }
math[display=block] { overflow-x: auto; margin: 0; padding: .6em 0 }
.jp-RenderedHTMLCommon table { display: block; overflow-x: auto }
img, svg { max-width: 100%; height: auto }
.jp-InputArea-editor pre { white-space: pre-wrap; overflow-wrap: anywhere }
@media (max-width: 40rem) { .jp-InputPrompt, .jp-OutputPrompt { display: none } .jp-Notebook { padding: 0 } }
</style>
{%- endblock -%}
"""


class _Renderer(IPythonRenderer):
    """Markdown to HTML with every formula as MathML, which browsers show by themselves."""

    def block_math(self, body: str) -> str:
        """$$…$$"""
        return mathml(body, "block")

    def latex_environment(self, name: str, body: str) -> str:
        """\\begin{align}…\\end{align} and the like"""
        return mathml(f"\\begin{{{name}}}{body}\\end{{{name}}}", "block")

    def inline_math(self, body: str) -> str:
        """$…$"""
        return mathml(body, "inline")


class _Exporter(HTMLExporter):
    @pass_context
    def markdown2html(self, context: Any, source: str) -> str:
        """nbconvert's filter of this name, with `_Renderer`."""
        renderer = _Renderer(
            escape=False,
            attachments=context.get("cell", {}).get("attachments", {}),
            embed_images=True,
            path=context.get("resources", {}).get("metadata", {}).get("path", ""),
            exclude_anchor_links=True,
        )
        return MarkdownWithMath(renderer=renderer).render(source)


def mathml(latex: str, display: str = "inline") -> str:
    """`latex` as a MathML element; what cannot be converted stays as its source in <code>."""
    try:
        found = convert(latex, display=display)
    except Exception:  # the converter raises many kinds; a formula must never cost the page
        return f"<code>{html.escape(latex)}</code>"
    # a wide formula scrolls, so the keyboard must reach it
    return found.replace("<math ", '<math tabindex="0" ', 1) if display == "block" else found


def page(notebook: nbformat.NotebookNode, folder: Path | str, name: str) -> str:
    """The page of an executed notebook. `folder`: where the images that its Markdown names lie."""
    exporter = _Exporter(config=Config(HTMLExporter={"embed_images": True}), raw_template=_TEMPLATE)
    resources = {"metadata": {"path": str(folder), "name": name}}
    body, _ = exporter.from_notebook_node(notebook, resources)
    return body
