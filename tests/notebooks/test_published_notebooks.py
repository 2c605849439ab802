"""The executed notebooks that are published: the text of notebooks/, and outputs that a code host can show."""

from __future__ import annotations

import base64
import io
import json
import re
from pathlib import Path

import nbformat
import pytest
from matplotlib.figure import Figure
from PIL import Image
from scripts import script

from cqlib.data import WITH_PIP
from cqlib.suite.experiments.rows import notebooks
from cqlib.suite.frames import frames

ROOT = Path(__file__).resolve().parent.parent.parent
PUBLISHED = sorted((ROOT / "reports" / "published" / "notebooks").glob("*.ipynb"))
PICTURE = '<div class="cqlib"><style>p {}</style><svg aria-label="two lines"></svg></div>'


@pytest.fixture(scope="module")
def tool():
    return script("tools/published_notebooks.py")


def html(text: str) -> nbformat.NotebookNode:
    return nbformat.v4.new_output("display_data", data={"text/html": text, "text/plain": "<HTML object>"})


def png() -> bytes:
    """A picture of two colours, as large a file as if it had many."""
    picture = Image.new("RGBA", (40, 40), "red")
    picture.paste("green", (0, 0, 20, 20))
    picture.save(file := io.BytesIO(), "PNG", compress_level=0)
    return file.getvalue()


def test_a_picture_becomes_png(tool):
    (picture,) = tool.shown(html(PICTURE), lambda drawn: png())
    assert picture.data["text/plain"] == "two lines" and set(picture.data) == {"image/png", "text/plain"}


def test_of_a_slider_its_stills_are_left(tool):
    slider = frames(lambda k: Figure((0.1, 0.1)), {"k": [*range(9)]}, "a square")
    (picture,) = tool.shown(html(slider.data), lambda drawn: png())
    assert picture.data["text/plain"] == "a square: k = 0 a square: k = 2 a square: k = 5 a square: k = 8"


def test_a_png_becomes_smaller_and_looks_the_same(tool):
    output = nbformat.v4.new_output("display_data", data={"image/png": base64.b64encode(png()).decode()})
    (small,) = tool.shown(output, None)
    file = base64.b64decode(small.data["image/png"])
    before, after = (Image.open(io.BytesIO(each)).convert("RGB") for each in (png(), file))
    assert len(file) < len(png()) / 4 and before.tobytes() == after.tobytes()


def test_parameters_of_the_run_times_and_folders_of_a_machine_stay_out(tool):
    own, injected = nbformat.v4.new_code_cell("seeds = [0]"), nbformat.v4.new_code_cell('runs_dir = "/a"')
    injected.metadata["tags"], own.metadata["tags"] = [tool.INJECTED], ["parameters"]
    own.metadata["execution"] = {"iopub.execute_input": "2026-11-28T19:13:45.090402Z"}
    book = nbformat.v4.new_notebook(cells=[own, injected])
    (cell,) = tool.published(book, None).cells
    assert cell.source == "seeds = [0]" and cell.metadata == {"tags": ["parameters"]}
    own.outputs = [nbformat.v4.new_output("stream", text=f"see {ROOT}/runs")]
    with pytest.raises(ValueError, match="a folder of this machine: seeds"):
        tool.published(book, None)


def test_each_notebook_is_published():
    assert [file.name for file in PUBLISHED] == sorted(file.name for file in notebooks().values())


def deeper(cell):
    """Its source, with links from a folder two levels deeper."""
    return cell.source.replace("](../", "](../../../") if cell.cell_type == "markdown" else cell.source


@pytest.mark.parametrize("file", PUBLISHED, ids=lambda file: file.stem)
def test_it_has_the_text_of_its_source_and_outputs_that_a_host_shows(file):
    """`./run_all.sh --no-train && python tools/published_notebooks.py` renews it."""
    book, source = nbformat.read(file, 4), nbformat.read(ROOT / "notebooks" / file.name, 4)
    cells, added = book.cells[: len(source.cells)], book.cells[len(source.cells) :]
    assert [cell.source for cell in cells] == [deeper(cell) for cell in source.cells]
    shows_photographs = any(name in str(cells) for name in WITH_PIP)
    assert ["a flower, by vultilion" in cell.source for cell in added] == [True] * shows_photographs
    texts = [cell.source for cell in book.cells if cell.cell_type == "markdown"]
    links = [link for text in texts for link in re.findall(r"\]\((?!https?:|#)([^)#]+)", text)]
    assert all((file.parent / link).exists() for link in links)
    outputs = [output for cell in book.cells if cell.cell_type == "code" for output in cell.outputs]
    assert outputs and all(output.output_type != "error" for output in outputs)
    for data in (output.get("data", {}) for output in outputs):
        assert "image/png" not in data or "text/html" not in data
        assert not re.search("<(svg|img|style)", data.get("text/html", ""))
    assert not re.search(r"(?<![\w.])/(home|root|Users|tmp)/", json.dumps(book))
