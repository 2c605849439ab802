"""An executed notebook as one HTML file that opens without a network: formulas as MathML, images embedded,
no script. Readable in light and dark, on a phone and on paper."""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any

import nbformat
from jinja2 import pass_context
from latex2mathml.converter import convert
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from traitlets.config import Config

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
