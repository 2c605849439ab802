"""An executed notebook as one HTML page that needs no network: formulas as MathML, images embedded."""

import html
import re
from pathlib import Path
from typing import Any

import nbformat
from jinja2 import pass_context
from latex2mathml.converter import convert
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

from cqlib.data import WITH_PIP
from cqlib.data.photographs import CREDITS

TEMPLATE = Path(__file__).with_suffix(".html.j2")
FUNCTION = "<mi>(?:ln|exp|tanh|sin|cos)</mi>|<msub><mi>log</mi><mn>2</mn></msub>"
THIN = '<mspace width="0.167em"/>'


class _Renderer(IPythonRenderer):
    """Markdown to HTML with every formula as MathML, which browsers show by themselves."""

    def inline_html(self, html: str) -> str:
        return html  # one tag at a time, which nbconvert's own method would close at once

    def block_math(self, body: str) -> str:
        return mathml(body, "block")

    def latex_environment(self, name: str, body: str) -> str:
        return mathml(f"\\begin{{{name}}}{body}\\end{{{name}}}", "block")

    def inline_math(self, body: str) -> str:
        return mathml(body)


@pass_context
def _to_html(context: Any, source: str) -> str:
    """Markdown to HTML by `_Renderer`, in place of nbconvert's own filter."""
    attachments = context.get("cell", {}).get("attachments", {})
    path = context.get("resources", {}).get("metadata", {}).get("path", "")
    renderer = _Renderer(escape=False, attachments=attachments, embed_images=True, path=path, exclude_anchor_links=True)
    return MarkdownWithMath(renderer=renderer).render(source)


def mathml(latex: str, display: str = "inline") -> str:
    """`latex` as a MathML element; what cannot be converted stays as its source in <code>."""
    try:
        element = convert(latex, display=display)
    except Exception:  # the converter raises many kinds; a formula must never cost the page
        return f"<code>{html.escape(latex)}</code>"
    # TeX sets "D ln x" with thin spaces, which the converter leaves out
    element = re.sub(f"(</m(?!o)[a-z]+>)({FUNCTION})", rf"\1{THIN}\2", element)
    element = re.sub(f"({FUNCTION})(?=<m(?!o[ >]))", rf"\1{THIN}", element)
    # a wide formula scrolls, so the keyboard must reach it
    return element.replace("<math ", '<math tabindex="0" ', 1) if display == "block" else element


def notebook_page(notebook: nbformat.NotebookNode, folder: Path | str, name: str) -> str:
    """The page of an executed notebook; images that its Markdown names are in `folder`."""
    template = TEMPLATE.read_text(encoding="utf-8")
    exporter = HTMLExporter(embed_images=True, raw_template=template, filters={"markdown2html": _to_html})
    resources = {"metadata": {"path": str(folder), "name": name}, "credits": credits(notebook)}
    body, _ = exporter.from_notebook_node(notebook, resources)
    return body


def credits(notebook: nbformat.NotebookNode) -> tuple[str, ...]:
    """The credits of the photographs in photos10, for the page of a notebook that names a data set with crops of
    them; else none."""
    text = nbformat.writes(notebook)
    return CREDITS if any(name in text for name in WITH_PIP) else ()
