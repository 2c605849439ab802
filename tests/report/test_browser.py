"""The report in a real browser: accessible, fitting a phone, quiet, and loading nothing from elsewhere."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from fake_records import draw_samples, record, records, rendered_page

from cqlib.report.notebook_page import notebook_page

pytestmark = [pytest.mark.browser, pytest.mark.slow]
FOLDER = Path(__file__).resolve().parent.parent.parent / "notebooks"
STEMS = sorted(file.stem for file in FOLDER.glob("*.ipynb"))
PHONE, DESK = {"width": 390, "height": 844}, {"width": 1440, "height": 900}
SCHEMES = ("light", "dark")
ONE_OF_EACH_KIND = """() => {
  const seen = new Set();
  const path = ({tagName, className, style, parentElement: above}) =>
    [tagName, className, style.cssText, above ? path(above) : ""].join();
  for (const leaf of document.querySelectorAll("pre span:not(:has(*)), math :not(:has(*))")) {
    const text = leaf.textContent.trim(), kind = (text.length > 1) + path(leaf);
    if (text) seen.has(kind) ? leaf.remove() : seen.add(kind);
  }
  for (const block of document.querySelectorAll("p, li, pre, h1, h2, h3")) {
    const kinds = [block, ...block.querySelectorAll("*")].map(path);
    kinds.every(kind => seen.has(kind)) ? block.remove() : kinds.forEach(kind => seen.add(kind));
  }
}"""
"""Of words of code, of symbols in formulas and of blocks of text, which are thousands, one stays of each path of tags,
classes and styles: all others have its colours. Single letters are apart, for axe does not judge them."""


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
    page = visit()
    assert not in_either_scheme(page) and not faint(page)


def faults(page, **rules) -> list:
    """What axe-core finds serious on a page whose hidden parts are opened: by all rules but that of colours, or by
    these."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page.evaluate("document.querySelectorAll('details').forEach(item => item.open = true)")
    rules = rules or {"rules": {"color-contrast": {"enabled": False}}}
    found = axe.run(page, options={"resultTypes": ["violations"], **rules}).response["violations"]
    serious = [item for item in found if item["impact"] in ("serious", "critical")]
    return [(item["id"], [node["html"][:200] for node in item["nodes"][:3]]) for item in serious]


def in_either_scheme(page, **rules) -> list:
    """`faults` in light and in dark, which is one page: its colours follow the scheme."""
    found = []
    for scheme in SCHEMES:
        page.emulate_media(color_scheme=scheme)
        found += [(scheme, *fault) for fault in faults(page, **rules)]
    return found


def faint(page) -> list:
    """What has too little contrast in light or in dark; `ONE_OF_EACH_KIND` stays on the page."""
    page.evaluate(ONE_OF_EACH_KIND)
    return in_either_scheme(page, runOnly=["color-contrast"])


@pytest.mark.parametrize("viewport", [PHONE, {"width": 320, "height": 640}, DESK], ids=["390", "320", "1440"])
def test_the_page_never_scrolls_sideways(visit, viewport):
    assert fits(visit(viewport=viewport))


def fits(page) -> bool:
    """Is a page whose hidden parts are opened no wider than its window?"""
    page.evaluate("document.querySelectorAll('details').forEach(item => item.open = true)")
    return page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


def executed(stem: str) -> nbformat.NotebookNode:
    """A notebook whose cells all show a number, and have names that no other notebook's have."""
    notebook = nbformat.read(FOLDER / f"{stem}.ipynb", 4)
    for cell in notebook.cells:
        cell.id = f"{stem}-{cell.id}"
        if cell.cell_type == "code":
            cell.execution_count = 1
            cell.outputs = [nbformat.v4.new_output("execute_result", {"text/plain": "1"}, execution_count=1)]
    return notebook


@pytest.mark.parametrize("stem", STEMS)
def test_the_page_of_a_notebook_is_as_good(visit, tmp_path, stem):
    file = tmp_path / f"{stem}.html"
    file.write_text(notebook_page(executed(stem), FOLDER, stem))
    for viewport in (DESK, PHONE):
        page = visit(viewport, file.as_uri())
        assert fits(page)
        assert page.said == [] and all(url.startswith(("file:", "data:")) for url in page.asked)
        assert viewport is PHONE or not faults(page)


def test_all_that_notebooks_say_has_contrast(visit, tmp_path):
    """The cells of all of them on one page, for they share their colours."""
    notebook = executed(STEMS[0])
    notebook.cells += [cell for stem in STEMS[1:] for cell in executed(stem).cells]
    file = tmp_path / "all.html"
    file.write_text(notebook_page(notebook, FOLDER, "all"))
    assert not faint(visit(DESK, file.as_uri()))


def test_nothing_is_said_on_the_console_and_nothing_asked_of_the_network(visit, index):
    page = visit()
    page.wait_for_load_state("networkidle")
    assert page.said == []
    assert page.asked[0] == index and all(url.startswith(("file:", "data:")) for url in page.asked)


def test_the_keyboard_reaches_the_content_and_the_tables(visit):
    page = visit(viewport=PHONE)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.getAttribute('href')") == "#main"
    page.keyboard.press("Enter")
    assert page.evaluate("location.hash") == "#main"
    page.locator("#tables .scroll").first.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function("document.activeElement.scrollLeft > 0")


def test_dark_and_light_differ_and_plots_follow(visit):
    page = visit()

    def colours(scheme):
        page.emulate_media(color_scheme=scheme)
        return page.evaluate(
            "['body', '.plots svg text'].map(name => getComputedStyle(document.querySelector(name)))"
            ".map((style, i) => i ? style.fill : style.backgroundColor)"
        )

    light, dark = map(colours, SCHEMES)
    assert light[0] != dark[0] and light[1] != dark[1]


@pytest.mark.parametrize("viewport", [PHONE, DESK], ids=["390", "1440"])
@pytest.mark.parametrize("kind", ["#table1 .strip figure", ".plots figure"])
def test_a_picture_opens_large_and_closes_where_it_was(visit, viewport, kind):
    page = visit(viewport=viewport)
    figure = page.locator(kind).first
    small = figure.locator("img, svg").first.bounding_box()
    figure.locator("a.open").focus()
    page.keyboard.press("Enter")
    box, large = figure.bounding_box(), figure.locator("img, svg").first.bounding_box()
    assert (box["x"], box["y"], box["width"], box["height"]) == (0, 0, viewport["width"], viewport["height"])
    assert large["width"] > (1.05 if kind.startswith(".") else 1.5) * small["width"] or viewport is PHONE
    assert 0 <= large["x"] and large["x"] + large["width"] <= viewport["width"]
    figure.locator("a.close").click()
    assert figure.bounding_box()["width"] < viewport["width"]
    caption = figure.locator("figcaption").get_attribute("id")
    where = "id => document.getElementById(id).getBoundingClientRect().y"
    page.wait_for_function(f"id => -5 <= ({where})(id) && ({where})(id) < innerHeight", arg=caption)
