"""Say where the repository is: writes its addresses, and badges at the top of README.

    python tools/set_repository.py OWNER/NAME

Until then they have a placeholder. It can be called again, with another name.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
README = "README.md"
ADDRESSED = ("pyproject.toml", "CITATION.cff", "notebooks/colab.ipynb", README)
"""The files that have the repository's address."""
HOME = re.compile(r'^repository = "https://github.com/(.+)"$', re.MULTILINE)
"""Where pyproject.toml says what the address is now."""
PLACEHOLDER = re.compile(r"^# A placeholder: .*\n| # a placeholder\b.*$", re.MULTILINE)
BADGES = """\
[![tests](https://github.com/{0}/actions/workflows/tests.yml/badge.svg)](https://github.com/{0}/actions/workflows/tests.yml)
[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/{0}/blob/main/notebooks/colab.ipynb)

"""
LINES = re.compile(r"(?:^\[!\[.*\n)+\n", re.MULTILINE)
"""The badges of README."""


def main(name: str, root: Path = ROOT) -> None:
    """Write the addresses of `name`, OWNER/NAME on GitHub, into the files below `root`."""
    if not re.fullmatch(r"[A-Za-z0-9-]+/[\w.-]+", name):
        sys.exit(f"'{name}' is no OWNER/NAME of a repository on GitHub")
    texts = {file: (root / file).read_text(encoding="utf-8") for file in ADDRESSED}
    (before,) = HOME.findall(texts["pyproject.toml"])
    for file in ADDRESSED:
        texts[file] = PLACEHOLDER.sub("", texts[file]).replace(f"github.com/{before}", f"github.com/{name}")
    title, text = LINES.sub("", texts[README], count=1).split("\n\n", 1)
    texts[README] = f"{title}\n\n{BADGES.format(name)}{text}"
    for file, text in texts.items():
        (root / file).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python tools/set_repository.py OWNER/NAME")
    main(sys.argv[1])
