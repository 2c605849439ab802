"""Where numbers come from: the commit, and whether the code was another."""

import os
import re
import shlex
import subprocess

import pytest
import torch

from cqlib.util import provenance
from cqlib.util.paths import ROOT
from cqlib.util.provenance import GitInfo


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A repository with one commit, of a package and a page of documentation; its folder and a function for git."""
    monkeypatch.setattr(provenance, "ROOT", tmp_path)

    def git(*words):
        who = ("-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "commit.gpgsign=false")
        done = subprocess.run(["git", *who, *words], cwd=tmp_path, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    (tmp_path / "cqlib").mkdir()
    for name in ("cqlib/__init__.py", "pyproject.toml", "page.md"):
        (tmp_path / name).write_text("1\n")
    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "first")
    return tmp_path, git


def test_the_commit_is_named_and_only_changed_code_makes_it_dirty(repository):
    folder, git = repository
    commit = git("rev-parse", "HEAD")
    assert provenance.git_info() == GitInfo(commit, False)
    (folder / "page.md").write_text("2\n")
    assert provenance.git_info() == GitInfo(commit, False) and provenance.git_info("page.md") == GitInfo(commit, True)
    for name in ("pyproject.toml", "cqlib/__init__.py", "cqlib/new.py"):
        (folder / name).write_text("2\n")
        assert provenance.git_info() == GitInfo(commit, True), name
        git("stash", "-qu")


def test_a_package_that_lies_in_no_repository_has_no_commit(tmp_path, monkeypatch):
    monkeypatch.setattr(provenance, "ROOT", tmp_path)
    monkeypatch.delenv("CQLIB_COMMIT", raising=False)
    assert provenance.git_info() == GitInfo(None, None)


def test_an_image_has_the_commit_that_it_was_built_from(repository, monkeypatch):
    """As git itself describes it in the command at the top of the Dockerfile; a repository knows better."""
    folder, git = repository
    commit = git("rev-parse", "HEAD")
    (command,) = re.findall(r"\$\(git (describe .*?)\)", (ROOT / "Dockerfile").read_text())
    git("tag", "v1")
    for dirty in (False, True):
        (folder / "page.md").write_text(f"{1 + dirty}\n")
        monkeypatch.setenv("CQLIB_COMMIT", git(*shlex.split(command)))
        monkeypatch.setattr(provenance, "ROOT", folder.parent)
        assert provenance.git_info() == GitInfo(commit, dirty)
    monkeypatch.setattr(provenance, "ROOT", folder)
    assert provenance.git_info() == GitInfo(commit, False)


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="the peak cannot be reset here")
def test_the_peak_of_memory_is_that_since_the_reset():
    """What was used and freed before, as by an earlier run in the same notebook, does not count."""
    cpu, megabytes = torch.device("cpu"), 10**6
    provenance.reset_peak_memory(cpu)
    start = provenance.peak_memory_bytes(cpu)
    earlier = torch.ones(100 * megabytes)  # 400 MB
    assert provenance.peak_memory_bytes(cpu) > start + 390 * megabytes
    del earlier
    provenance.reset_peak_memory(cpu)
    torch.ones(25 * megabytes)
    assert 90 * megabytes < provenance.peak_memory_bytes(cpu) - start < 200 * megabytes


@pytest.mark.parametrize(
    "name", ["models/cq.py", "suite/experiments/templates/card.md.j2", "metrics/digits.safetensors"]
)
def test_the_code_is_another_with_any_file_that_numbers_depend_on(tmp_path, monkeypatch, name):
    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "util" / "provenance.py"))
    file, hashes = tmp_path / name, set()
    file.parent.mkdir(parents=True)
    for content in ("1", "2"):
        file.write_text(content)
        hashes.add(provenance.code_hash.__wrapped__())
    assert len(hashes) == 2


def test_the_peak_of_a_card_that_nothing_has_used_yet_is_reset(monkeypatch):
    begun = []

    def reset(device):
        if not begun:  # what PyTorch says of "cuda:0"; for "cuda" it asks for the current card, which begins
            raise RuntimeError("invalid argument to reset_peak_memory_stats")

    monkeypatch.setattr(torch.cuda, "init", lambda: begun.append(True))
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", reset)
    provenance.reset_peak_memory(torch.device("cuda:0"))
    assert begun
