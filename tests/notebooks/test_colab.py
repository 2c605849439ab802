"""The notebook for Colab: valid, without outputs, and its cells do what they say, on a folder of pictures."""

import re

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pytest
from PIL import Image
from published_models import publish_untrained

from cqlib.suite.experiments.rows import COLAB
from cqlib.util.paths import ROOT

BOOK = nbformat.read(ROOT / "notebooks" / COLAB, 4)


@pytest.mark.slow
def test_its_cells_run(tmp_path, monkeypatch, capsys):
    """With few steps and pictures, after the project is installed."""
    nbformat.validate(BOOK)
    install, *cells = (cell for cell in BOOK.cells if cell.cell_type == "code")
    assert len(cells) == 4 and not any(cell.outputs or cell.execution_count for cell in cells)
    assert re.search(r"^%pip install .*git\+https://\S+/cq-companion$", install.source, re.MULTILINE)
    pictures, rng = tmp_path / "pictures", np.random.default_rng(0)
    pictures.mkdir()
    for i in range(70):
        Image.fromarray(rng.integers(256, size=(40, 40, 3), dtype=np.uint8)).save(pictures / f"{i}.png")
    publish_untrained(tmp_path, monkeypatch, "table1/cq-f", data="photodigits")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(plt, "show", lambda: None)
    names = {}
    for cell in cells:
        source = cell.source.replace('folder = ""', f'folder = "{pictures}"').replace("steps=4000", "steps=1")
        exec(source, names)
    plt.close("all")
    assert len(names["images"].train.images) == 63 and names["mine"].sample(2).shape == (2, 3, 32, 32)
    assert re.search(r"\d\.\d\d bits per dimension\n.*Coverage-lite0", capsys.readouterr().out)
