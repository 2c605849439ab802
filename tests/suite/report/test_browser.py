"""The report in a real browser: accessible, fitting a phone, quiet, and loading nothing from elsewhere."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from fake_records import draw_samples, record, records, rendered_page

from cqlib.suite.notebook_page import notebook_page

pytestmark = [pytest.mark.browser, pytest.mark.slow]
FOLDER = Path(__file__).resolve().parents[3] / "notebooks"
PHONE, DESK = {"width": 390, "height": 844}, {"width": 1440, "height": 900}


@pytest.fixture(scope="module")
def index(tmp_path_factory) -> str:
    """The address of a report with everything on it: long names, failures, pictures, every kind of verdict."""
    out = tmp_path_factory.mktemp("report")
    local, published = records(1), records(3)
    local.append(record("table1/gan", 1, status="diverged", notes=["non-finite " * 20]))
    local.append(record("table1/vae", data="folder:/somewhere/" + "very-long-name-" * 8))
    draw_samples(local, out / "runs")
    (out / "notebooks").mkdir()
    (out / "notebooks" / "table1_objectives.html").touch()
    path = rendered_page(out, local, published, plots=True, failures=["a/very/long/message" * 12])
    return path.as_uri()


@pytest.fixture
def visit(browser, index):
    """Opens a page, the report: visit(viewport, address) -> it, light, with .said and .asked (console, requests)."""
    contexts = []

    def open_page(viewport: dict = DESK, address: str = index):
        context = browser.new_context(color_scheme="light", viewport=viewport)
        contexts.append(context)
        page = context.new_page()
        page.said, page.asked = [], []
        page.on("console", lambda message: page.said.append(message.text))
        page.on("pageerror", lambda error: page.said.append(str(error)))
        page.on("request", lambda request: page.asked.append(request.url))
        page.goto(address, timeout=120_000)
        return page

    yield open_page
    for context in contexts:
        context.close()


def test_axe_finds_nothing_serious(visit):
    assert not faults(visit())


def faults(page) -> list:
    """What axe-core finds serious on a page whose hidden parts are opened, contrast in light and in dark included."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page.evaluate("document.querySelectorAll('details').forEach(item => item.open = true)")
    found = []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        violations = axe.run(page, options={"resultTypes": ["violations"]}).response["violations"]
        found += [(scheme, item["id"], [node["html"][:200] for node in item["nodes"][:3]])
                  for item in violations if item["impact"] in ("serious", "critical")]  # fmt: skip
    return found


@pytest.mark.parametrize("viewport", [PHONE, DESK], ids=["phone", "desk"])
def test_the_page_never_scrolls_sideways(visit, viewport):
    assert fits(visit(viewport=viewport))


def test_on_a_phone_table_1_is_whole(visit):
    """No cell of it is cut, or has to be scrolled to."""
    page = visit(PHONE)
    edges = page.evaluate("""[...document.querySelectorAll('#table1 .paper-table td')]
        .filter(cell => cell.offsetWidth).map(cell => cell.getBoundingClientRect().right)""")
    assert len(edges) > 40 and max(edges) <= PHONE["width"]


def fits(page) -> bool:
    """Is a page whose hidden parts are opened no wider than its window?"""
    page.evaluate("document.querySelectorAll('details').forEach(item => item.open = true)")
    return page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


def test_the_page_of_a_notebook_is_as_good(visit, tmp_path):
    stem = "04_nvp_in_a_nutshell"
    file = tmp_path / f"{stem}.html"
    file.write_text(notebook_page(nbformat.read(FOLDER / f"{stem}.ipynb", 4), FOLDER, stem))
    for viewport in (DESK, PHONE):
        page = visit(viewport, file.as_uri())
        assert fits(page)
        assert page.said == [] and all(url.startswith(("file:", "data:")) for url in page.asked)
        assert viewport is PHONE or not faults(page)


def test_nothing_is_said_on_the_console_and_nothing_asked_of_the_network(visit, index):
    page = visit()
    page.wait_for_load_state("networkidle")
    assert page.said == []
    assert page.asked[0] == index and all(url.startswith(("file:", "data:")) for url in page.asked)
