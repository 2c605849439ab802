"""The project as a web site: `./run_all.sh --no-train`, then `python tools/pages.py FOLDER`.

README, docs and the other texts become pages with a menu, at their places in the repository, README the first; so do
the package's modules, with docstrings and source, by pdoc. Report and notebooks are those of reports/local. A link to
any other file of the repository leads to its host.
"""

import pkgutil
import re
import shutil
import sys
import tomllib
import warnings
from pathlib import Path, PurePosixPath

import pdoc
from nbformat.v4 import new_markdown_cell, new_notebook

import cqlib
from cqlib.suite.notebook_page import notebook_page

ROOT = Path(__file__).resolve().parent.parent
REPOSITORY = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]["repository"]
LOCAL, PUBLISHED = "reports/local", "reports/published"
LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#)([^)#\s]+)")
"""The path of a link to a file, in Markdown."""
COMMANDS = "cqlib.suite.cli", "cqlib.__main__"
"""Modules that get no page, since docs/running.md describes the commands."""
MODULES = ["cqlib", *(module.name for module in pkgutil.walk_packages(cqlib.__path__, "cqlib.")
                      if not module.name.startswith(COMMANDS))]  # fmt: skip
HEADING = re.compile(r"<h([1-6])>(.*?)</h\1>")
MENU = {
    "Home": "index.html", "Results": "docs/results.html", "Report": f"{PUBLISHED}/index.html",
    "Notebooks": "notebooks/index.html", "Running": "docs/running.html", "Library": "docs/library.html",
    "Data": "docs/data.html", "Code": "docs/code.html", "Modules": "cqlib.html", "Glossary": "docs/glossary.html",
}  # fmt: skip
"""What stands on top of every text -> its page."""
FILE_OF_NOTEBOOK = re.compile(r'(?<=href=")(?:\.\./)+([^"#]+\.py)(?=")')
"""A link of a notebook's page to a source file."""


def target(text: Path, link: str) -> str:
    """Where `link` of the file `text` leads on the site."""
    path = (text.parent / link).resolve().relative_to(ROOT)
    if path.suffix == ".md":
        return link.replace("README.md", "index.html").replace(".md", ".html")
    if path.parent == Path(PUBLISHED, "notebooks"):
        return link.replace(".ipynb", ".html")
    if ".".join(path.with_suffix("").parts) in MODULES:
        return link.rstrip("/").removesuffix(".py") + ".html"
    if path == Path(PUBLISHED, "index.html") or path.suffix in (".webp", ".svg"):  # on the site, or embedded
        return link
    kind = "tree" if (ROOT / path).is_dir() else "blob"
    return f"{REPOSITORY}/{kind}/main/{PurePosixPath(path)}"


def rendered(text: Path) -> str:
    """The page of a Markdown file, with anchors as code hosts name them."""
    source = LINK.sub(lambda link: target(text, link[1]), text.read_text(encoding="utf-8"))
    title = source.partition("\n")[0].lstrip("# ")
    body = notebook_page(new_notebook(cells=[new_markdown_cell(source)]), text.parent, title)
    up = "../" * (len(text.relative_to(ROOT).parts) - 1)
    links = "".join(f'<a style="padding: .3rem .6rem" href="{up}{page}">{name}</a> ' for name, page in MENU.items())
    menu = f'<nav style="max-width: 60rem; margin: .5rem auto; font: .9rem/2 sans-serif">{links}</nav>'
    body = body.replace("<main>", f"{menu}<main>", 1)
    return HEADING.sub(lambda h: f'<h{h[1]} id="{anchor(h[2])}">{h[2]}</h{h[1]}>', body)


def anchor(heading: str) -> str:
    """The name of a heading (HTML) in links."""
    return re.sub(r"<[^>]+>|[^\w\- ]", "", heading.lower()).replace(" ", "-")


def main(out: Path) -> None:
    """Write the site into the new folder `out`."""
    vars(cqlib).update({name: getattr(cqlib, name) for name in cqlib.__all__})  # which are loaded when first used
    with warnings.catch_warnings(action="ignore"):  # warnings of types that only type checkers import
        pdoc.pdoc(*MODULES, output_directory=out)
    shutil.copytree(ROOT / LOCAL, out / PUBLISHED, ignore=shutil.ignore_patterns(".*"))
    for file in (out / PUBLISHED / "notebooks").glob("*.html"):
        file.write_text(FILE_OF_NOTEBOOK.sub(rf"{REPOSITORY}/blob/main/\1", file.read_text(encoding="utf-8")))
    for text in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("notebooks/*.md")]:
        file = out / text.relative_to(ROOT).with_name(text.name.replace("README.md", "index.html")).with_suffix(".html")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(rendered(text), encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 2 or not (ROOT / LOCAL).is_dir():
        sys.exit("usage: python tools/pages.py NEW_FOLDER, after ./run_all.sh --no-train")
    main(Path(sys.argv[1]))
