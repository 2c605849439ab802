"""What pyproject.toml cannot say: links for an index page, and published weights inside the wheel."""

import re
import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
PROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
# without tomllib: on a Python that is too old pip runs this before it says so
REPOSITORY = re.findall('^repository = "(.+)"$', PROJECT, re.MULTILINE)[0]
PUBLISHED = ("models", "records", "samples", "ablations", "nearest", "gpu_hours.json", "read_by_eye.json")
"""What load, sample, card, verify and report need of reports/published."""


def for_index_page() -> str:
    """README with links that lead to the repository: an index page has no files beside it."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    text = re.sub(r"(!\[[^]]*\]\()(?!https?:|#)", rf"\1{REPOSITORY}/raw/main/", text)
    return re.sub(r"(?<!!)(\[[^][]*\]\()(?!https?:|#)", rf"\1{REPOSITORY}/blob/main/", text)


class BuildWithPublished(build_py):
    """Copies reports/published into the package that is built; an editable install reads it where it lies."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        for source in (ROOT / "reports" / "published" / name for name in PUBLISHED):
            target = Path(self.build_lib) / "cqlib" / "published" / source.name
            if source.is_dir():
                shutil.copytree(source, target, dirs_exist_ok=True)
            elif source.is_file():
                shutil.copy2(source, target)


setup(
    cmdclass={"build_py": BuildWithPublished},
    long_description=for_index_page(),
    long_description_content_type="text/markdown",
)
