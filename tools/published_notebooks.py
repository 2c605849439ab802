"""Executed notebooks for a code host: `./run_all.sh --no-train`, then `python tools/published_notebooks.py`.

Copies reports/local/notebooks/*.ipynb to reports/published/notebooks/. Hosts show tables of HTML, but neither its style
nor SVG: pictures become PNG, as Chromium draws them. The parameters of the run are removed, since they name folders.
"""

import base64
import io
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import nbformat
from bs4 import BeautifulSoup
from nbformat.v4 import new_markdown_cell
from PIL import Image

from cqlib.suite.notebook_page import credits

ROOT = Path(__file__).resolve().parent.parent
EXECUTED, PUBLISHED = ROOT / "reports" / "local" / "notebooks", ROOT / "reports" / "published" / "notebooks"
INJECTED = "injected-parameters"
"""papermill's tag of the cell that it adds."""
CREDITS = "credits"
"""The id of the last cell of a notebook with photographs."""
WIDTH = 860
"""The width of the page on which pictures are drawn, in pixels."""
COLOURS, ROUNDS = 256, 4
"""Colours of a PNG, which makes it a third as large, and rounds of the k-means that fits them to the picture's own."""
OUTER = '<main style="display: inline-block; padding: 4px">{}</main>'
Shot = Callable[[str], bytes]
"""HTML -> the PNG of a picture of it."""


def published(notebook: nbformat.NotebookNode, shot: Shot) -> nbformat.NotebookNode:
    """A copy of an executed notebook with its pictures as PNG. ValueError where an output names a folder of this
    machine."""
    copy = nbformat.from_dict(notebook)
    copy.cells = [cell for cell in copy.cells if INJECTED not in cell.metadata.get("tags", [])]
    copy.metadata.pop("cqlib", None)
    if texts := credits(copy):
        copy.cells.append(new_markdown_cell(f"The photographs show {'; '.join(texts)}.", id=CREDITS))
    for cell in copy.cells:
        if cell.cell_type == "code":
            cell.metadata.pop("execution", None)  # times of day, which change when nothing else does
            cell.outputs = [new for output in cell.outputs for new in shown(output, shot)]
            if any(str(folder) in str(cell.outputs) for folder in (ROOT, Path.home())):
                raise ValueError(f"an output names a folder of this machine: {cell.source[:80]}")
    return copy


def shown(output: nbformat.NotebookNode, shot: Shot) -> list[nbformat.NotebookNode]:
    """An output as a host shows it: a picture as PNG; tables and texts without their style and their little drawings,
    with what hosts understand in the place of style."""
    data = output.get("data", {})
    if "image/png" in data:
        data["image/png"] = _png(base64.b64decode(data["image/png"]))
    html = data.get("text/html")
    if html is None:
        return [output]
    soup = BeautifulSoup(html, "html.parser")
    if soup.table or not soup.select("svg, img"):
        for part in soup.select("svg, style, .of-bars"):
            part.decompose()
        for part in soup.select("td .marks, td > .verdict:not([role]), caption .soft, th .soft"):
            part.insert_before(soup.new_tag("br"))
        for part in soup.select("th.text, td.text, tbody th"):
            part["align"] = "left"
        return [_output({"text/html": str(soup)})]
    for part in soup.select(".frame:not(.still), input:not([checked]) + .drawn, .how"):  # what a choice would show
        part.decompose()
    words = [part.get("aria-label") or part.get("alt") for part in soup.select("svg[aria-label], img[alt]")]
    return [_output({"image/png": _png(shot(str(soup))), "text/plain": " ".join(words)})]


def _png(picture: bytes) -> str:
    """An image file as a PNG of few colours, in base64."""
    colours = Image.open(io.BytesIO(picture)).convert("RGB").quantize(COLOURS, kmeans=ROUNDS)
    colours.save(buffer := io.BytesIO(), format="PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()


def _output(data: dict[str, str]) -> nbformat.NotebookNode:
    return nbformat.v4.new_output("display_data", data=data)


def main(folder: Path = EXECUTED, target: Path = PUBLISHED) -> None:
    """Publish every notebook of `folder`."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": 600}, java_script_enabled=False)  # as on a host

        def shot(html: str) -> bytes:
            page.set_content(f'<body style="margin: 0; background: #fff; font: 14px sans-serif">{OUTER.format(html)}')
            return page.locator("main").screenshot()

        target.mkdir(parents=True, exist_ok=True)
        for file in sorted(folder.glob("*.ipynb")):
            book = published(nbformat.read(file, as_version=4), shot)
            (target / file.name).write_text(nbformat.writes(book) + "\n", encoding="utf-8")
            print(target / file.name)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
