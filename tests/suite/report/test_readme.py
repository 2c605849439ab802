"""README, docs and repository agree: rendered parts are up to date, links lead somewhere, commands can be typed."""

import re
import shlex
from dataclasses import replace
from pkgutil import resolve_name

import pytest
from fake_records import records

import cqlib
from cqlib.suite.cli import commands, options
from cqlib.suite.experiments.record import load_records
from cqlib.suite.report import answers, readme
from cqlib.suite.report.groups import groups
from cqlib.util.paths import RECORDS, ROOT

BESIDE = ("CONTRIBUTING.md", "CHANGELOG.md", "notebooks/README.md")
PAGES = (readme.README, *sorted(readme.DOCS.glob("*.md")), *(ROOT / name for name in BESIDE))
TEXT = {page: page.read_text() for page in PAGES}
README = TEXT[readme.README]
BENCHMARKS = {"ratios", "default"}
"""Parts that `python -m benchmarks --markdown` renders."""
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(text: str, language: str) -> list[str]:
    """The code blocks of a page in a language."""
    return [code for kind, code in FENCED.findall(text) if kind == language]


def shell_commands() -> list[str]:
    """Every command of this project that a page shows, as code within a line or in a block."""
    found = []
    for text in TEXT.values():
        lines = [line.split(" #")[0].strip() for block in blocks(text, "sh") for line in block.splitlines()]
        found += [*lines, *re.findall(r"`([^`\n]+)`", FENCED.sub("", text))]
    ours = re.compile(r"\./run_all\.sh\b|(\.venv/bin/)?python -m cqlib ")
    return sorted({line for line in found if ours.match(line)})


def anchors(text: str) -> set[str]:
    """The anchors that a code host makes of the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", FENCED.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_rendered_parts_are_those_of_the_published_records():
    published, problems = load_records(RECORDS)
    assert not problems and published
    for file, parts in readme.DOCUMENTS.items():
        assert readme.render(TEXT[file], parts, groups([], published)) == TEXT[file], "run: python -m cqlib readme"
        assert set(re.findall(r"<!-- ([\w-]+) -->", TEXT[file])) - BENCHMARKS == parts.keys()
        assert not re.search(r"^ *<!-- .* -->.", TEXT[file], re.MULTILINE)  # what follows would be raw HTML


def test_rendering_changes_when_a_number_does_and_works_without_records():
    before = records(2, data="photodigits")
    first = next(r for r in before if r.row == "table1/cq-f")
    bpd = replace(first.metrics["BPD"], value=first.metrics["BPD"].value + 1)
    after = [r if r is not first else replace(r, metrics={**r.metrics, "BPD": bpd}) for r in before]
    for part in (readme.profiles, readme.short_table, readme.findings, answers.questions, answers.claims):
        assert part(groups([], before)) != part(groups([], after))
        assert part([])


def test_a_step_is_that_of_the_fastest_run_of_its_size():
    config = {"recipe": {"training": {"batch_size": 16}}}
    first, *others = (replace(r, config=config, steps=600) for r in records(3, ("table1/cq-f",)))
    runs = [replace(first, images_per_second=160.0), *(replace(r, images_per_second=40.0) for r in others)]
    line = readme.speed(groups([], runs)).splitlines()[-1]
    assert line.startswith("| 16×16 | CQ-F | 0.100 | 600 steps: 60 s |")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for link in re.findall(r"\]\(([^)\s]+)\)", FENCED.sub("", TEXT[page])):
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert link.startswith("https://") or target.exists(), link
        if anchor and not link.startswith("https://"):
            assert anchor in anchors(target.read_text()), link


@pytest.mark.parametrize("command", shell_commands())
def test_every_command_can_be_typed(command, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for folder in ("data", "pictures"):
        (tmp_path / folder).mkdir()
    program, *words = shlex.split(command)
    if "--help" in words:
        return
    if program == "./run_all.sh":
        options.parse(words)
        return
    for name, (_, *rest) in commands.COMMANDS.items():
        monkeypatch.setitem(commands.COMMANDS, name, (lambda _: 0, *rest))
    assert commands.main(words[2:]) == 0


def test_readmes_python_does_what_it_says(tmp_path, monkeypatch):
    (own,) = blocks(README, "python")
    monkeypatch.chdir(tmp_path)
    exec(own.replace("steps=1000", "steps=1"), names := {})
    assert len(names["images"]) == 1797 and (tmp_path / "mine.png").stat().st_size
    assert cqlib.load("my-model").sample(2).shape == (2, 1, 8, 8)


def test_every_equation_is_where_the_map_says():
    line = r"^\| ((?:\(\d\),? )+).*\| \[`([\w.]+)`\]\(\.\./(\S+)\.py\) \|$"
    found = re.findall(line, TEXT[readme.DOCS / "code.md"], re.MULTILINE)
    told = [(int(number), f"{path.replace('/', '.')}:{name}") for numbers, name, path in found
            for number in re.findall(r"\d", numbers)]  # fmt: skip
    assert sorted(number for number, _ in told) == [*range(1, 9)]
    for number, where in told:
        docstring = resolve_name(where).__doc__
        ranges = [range(int(a), int(b) + 1) for a, b in re.findall(r"\((\d)\) to \((\d)\)", docstring)]
        assert f"({number})" in docstring or any(number in r for r in ranges), where
