"""What is built from the project: a wheel that works outside the repository, with the weights of Table 1 and the lines
of docs/library.md, and an sdist that has all but what is made."""

import os
import re
import subprocess
import sys
import tarfile
import zipfile
from email.parser import BytesParser
from pathlib import Path

import pytest

from cqlib.data.grids import unscaled
from cqlib.util.provenance import git_info

ROOT = Path(__file__).parent.parent
BUILD = "import sys, setuptools.build_meta as build; getattr(build, 'build_' + sys.argv[1])(sys.argv[2])"


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A function that builds "wheel" or "sdist" from a copy of the files that git knows, and returns its path."""
    if git_info().commit is None:
        pytest.skip("not a git checkout")
    place = tmp_path_factory.mktemp("built")
    listed = subprocess.run(["git", "ls-files", "-z", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True,
                            text=True, check=True)  # fmt: skip
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            copy = place / "source" / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes((ROOT / name).read_bytes())

    def build(kind: str) -> Path:
        out = place / kind
        if not out.exists():
            command = [sys.executable, "-c", BUILD, kind, str(out)]
            done = subprocess.run(command, cwd=place / "source", capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
        (file,) = out.iterdir()
        return file

    return build


@pytest.fixture(scope="module")
def outside(built, tmp_path_factory):
    """A function that runs Python with the wheel alone, in a folder of its own; it returns what was printed."""
    site, here = (tmp_path_factory.mktemp(name) for name in ("site", "here"))
    with zipfile.ZipFile(built("wheel")) as wheel:
        wheel.extractall(site)  # all that an installer does with a wheel of pure Python, beside the command `cqlib`
    environment = os.environ | {"PYTHONPATH": str(site), "CQLIB_RUNS": "", "OMP_NUM_THREADS": "1"}

    def run(*arguments: str) -> str:
        command = [sys.executable, "-P", *arguments]
        done = subprocess.run(command, cwd=here, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    run.folder = here
    where = run("-c", "import cqlib, cqlib.util.paths as p; print(cqlib.__file__, p.PUBLISHED, p.RUNS, sep='\\n')")
    assert where.split() == [f"{site}/cqlib/__init__.py", f"{site}/cqlib/published", f"{here}/runs"]
    return run


@pytest.mark.slow
def test_published_weights_are_inside(outside):
    rows = ("vae", "vae-f", "cq", "cq-f", "gan")
    lines = f"import cqlib\nfor row in {rows}: print(*cqlib.load(f'table1/{{row}}').sample(64).shape)"
    assert outside("-c", lines).split("\n") == ["64 3 16 16"] * len(rows) + [""]


@pytest.mark.slow
def test_commands_work_outside_the_repository(outside):
    outside("-m", "cqlib", "sample", "table1/cq-f", "--out", "samples.png")
    assert unscaled((outside.folder / "samples.png").read_bytes(), 16).shape[2] == 3
    outside("-m", "cqlib", "card", "table1/gan", "card")
    outside("-c", "import cqlib; print(cqlib.load('card').sample(2).shape)")
    outside("-m", "cqlib", "report", "--out", "report")
    page = (outside.folder / "report" / "index.html").read_text()
    with pytest.raises(AssertionError, match="start in a clone of it"):
        outside("-m", "cqlib", "publish", ".")
    assert "5.71" in page and page.count("data:image") >= 5  # CQ-F's BPD, and published grids of samples


@pytest.mark.slow
def test_published_weights_are_verified_outside_the_repository(outside):
    assert "table1_vae--photodigits--quick--0: as recorded" in outside("-m", "cqlib", "verify", "table1/vae")


@pytest.mark.slow
def test_the_lines_of_the_page_on_the_library_run(outside):
    """With fewer steps."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "library.md").read_text(), re.DOTALL)
    lines = re.sub(r"(steps=|range\()\d+", r"\g<1>3", "\n".join(blocks))
    assert len(blocks) == 7 and lines.count("steps=3") == 5
    printed = outside("-c", lines)
    assert "Coverage-lite0" in printed and (outside.folder / "my-model" / "model.safetensors").is_file()
    assert all((outside.folder / file).is_file() for file in ("samples.png", "history.png", "paths.png"))


@pytest.mark.slow
def test_metadata_are_those_of_an_index_page(built):
    with zipfile.ZipFile(built("wheel")) as wheel:
        (name,) = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
        metadata = BytesParser().parsebytes(wheel.read(name))
        weights = [n for n in wheel.namelist() if re.match(r"cqlib/published/models/table1_[\w-]+\.safetensors", n)]
    assert len(weights) == 5
    assert metadata["Keywords"] and metadata.get_all("Classifier") and metadata["License-File"] == "LICENSE"
    text = metadata.get_payload()
    links = re.findall(r"\]\(([^)\s]+)", text)
    assert links and [link for link in links if not re.match("https?://|#", link)] == []
    assert re.search(r"!\[[^]]*\]\(https://[\w./-]+/raw/main/reports/published/table1.webp\)", text)


@pytest.mark.slow
def test_the_sdist_is_whole(built):
    with tarfile.open(built("sdist")) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    left_out = {name for name in listed.stdout.splitlines() if name not in names and (ROOT / name).exists()}
    assert {name for name in left_out if not name.startswith(".")} == set()
