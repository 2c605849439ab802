"""The drawings: files that a browser can read, with words for those who cannot see them."""

from xml.etree import ElementTree

import pytest
from bs4 import BeautifulSoup

from cqlib.suite.lessons.drawings import drawing
from cqlib.util.paths import ROOT

FILES = sorted((ROOT / "docs" / "pictures").glob("*.svg"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_cell_shows_the_drawing_with_its_words(file):
    image = BeautifulSoup(drawing(file.stem).data, "html.parser").img
    parts = ElementTree.parse(file).getroot()
    title, description = (parts.findtext(f"{{http://www.w3.org/2000/svg}}{part}") for part in ("title", "desc"))
    assert image["src"].startswith("data:image/svg+xml;base64,")
    assert image["alt"] == f"{title}. {' '.join(description.split())}"


def test_there_are_drawings():
    assert {"model", "coupling"} <= {file.stem for file in FILES}
