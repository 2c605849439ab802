"""The web site: every link of its pages leads somewhere."""

import re
from pathlib import Path
from urllib.parse import unquote

import pytest
from bs4 import BeautifulSoup
from scripts import script

from cqlib.util.paths import ROOT

pages = script("tools/pages.py")
MODULES = ["cqlib", "cqlib.losses", "cqlib.training", "cqlib.training.loop"]
"""Stand for all, which take long."""


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The site around a report without content, of notebooks without content."""
    out, local = tmp_path_factory.mktemp("pages") / "site", tmp_path_factory.mktemp("local")
    (local / "notebooks").mkdir()
    (local / ".locks").mkdir()
    (local / "index.html").write_text("the report")
    for book in (ROOT / "notebooks").glob("*.ipynb"):
        (local / "notebooks" / f"{book.stem}.html").write_text("a notebook")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pages, "LOCAL", local)  # an absolute path takes the place of ROOT / LOCAL
        patch.setattr(pages, "MODULES", MODULES)
        pages.main(out)
    return out


def test_every_link_leads_to_a_page_and_a_heading_of_the_site_or_to_a_file_of_the_repository(site):
    modules = {site / "cqlib.html", *(site / "cqlib").rglob("*.html")}
    files = {file: BeautifulSoup(file.read_text(), "html.parser") for file in {*site.rglob("*.html")} - modules}
    assert {"index.html", "docs/running.html", "notebooks/index.html"} <= {str(f.relative_to(site)) for f in files}
    inside = 0
    for file, page in files.items():
        for link in [anchor["href"] for anchor in page.find_all("a", href=True)]:
            path, _, heading = link.partition("#")
            if match := re.fullmatch(f"{re.escape(pages.REPOSITORY)}/(blob|tree)/main/(.+)", path):
                assert (ROOT / match[2]).is_dir() if match[1] == "tree" else (ROOT / match[2]).is_file(), link
            elif not re.match("[a-z]+:", link):
                target = (file.parent / path).resolve() if path else file
                assert target in {*files, *modules}, f"{file.relative_to(site)}: {link}"
                assert not heading or files[target].find(id=unquote(heading)), f"{file.relative_to(site)}: {link}"
                inside += 1
    assert inside >= 30
