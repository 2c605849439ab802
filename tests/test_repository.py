"""tools/set_repository.py: after it, every address of the repository is the one that was named."""

import json
import re
import shutil
import tomllib

import pytest
import yaml
from scripts import script

from cqlib.util.paths import ROOT

TOOL = script("tools/set_repository.py")
FILES = TOOL.ADDRESSED


@pytest.fixture
def copy(tmp_path):
    for name in FILES:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(ROOT / name, tmp_path / name)
    return tmp_path


def test_every_address_is_the_named_one_whatever_it_was(copy):
    before = {name: (copy / name).read_text() for name in FILES}
    TOOL.main("first/try", copy)
    TOOL.main("someone/models", copy)
    texts = {name: (copy / name).read_text() for name in FILES}
    addresses = re.findall(r"(?:github\.com|\.com/github)/([\w-]+/[\w-]+)", " ".join(texts.values()))
    assert set(addresses) == {"someone/models"} and "placeholder" not in " ".join(texts.values()).lower()
    assert tomllib.loads(texts["pyproject.toml"])["project"]["urls"]["repository"].endswith("github.com/someone/models")
    assert yaml.safe_load(texts["CITATION.cff"])["repository-code"] == "https://github.com/someone/models"
    assert "git+https://github.com/someone/models" in str(json.loads(texts["notebooks/colab.ipynb"]))
    badges = [line for line in texts["README.md"].splitlines() if line.startswith("[![")]
    assert len(badges) == 2 and texts["README.md"].splitlines()[0] == before["README.md"].splitlines()[0]
    (home,) = TOOL.HOME.findall(before["pyproject.toml"])
    assert TOOL.LINES.sub("", texts["README.md"]) == before["README.md"].replace(home, "someone/models")


def test_no_other_file_has_the_address():
    (home,) = TOOL.HOME.findall((ROOT / "pyproject.toml").read_text())
    places = ("*.*", "docs/*", "notebooks/*", "cqlib/**/*", ".github/**/*")
    files = (file for place in places for file in ROOT.glob(place) if file.is_file())
    found = {file.relative_to(ROOT).as_posix() for file in files if home.encode() in file.read_bytes()}
    assert found == {*TOOL.ADDRESSED}


def test_a_name_that_is_none_changes_nothing(copy):
    before = {name: (copy / name).read_text() for name in FILES}
    for name in ("models", "https://github.com/a/b", "a/b\n# c"):
        with pytest.raises(SystemExit, match="is no OWNER/NAME"):
            TOOL.main(name, copy)
    assert before == {name: (copy / name).read_text() for name in FILES}
