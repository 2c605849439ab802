"""Does this Python satisfy pyproject.toml? Used by tools/environment.sh; it starts without any installed package.

    python tools/satisfied.py [--installed] [--locked] [EXTRA …]

Exit 0 when it does. Else exit 1 and one line with the first requirement that is not met. `--installed` asks for the
project itself as well: pip installs it last, so an installation cut short is seen. `--locked` asks that whatever
requirements.lock names and is installed has the version named there.
"""

from __future__ import annotations

import sys
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).parent.parent


def version(name: str) -> str | None:
    """The installed version of a distribution, or None."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def first_unmet(extras: list[str], installed: bool, locked: bool) -> str | None:
    """The first requirement of the project (with `extras`) that this environment does not meet, or None."""
    try:
        import tomllib  # from Python 3.11 on

        from packaging.requirements import Requirement
    except ImportError as error:
        return str(error.name)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = list(project["dependencies"])
    for extra in extras:
        lines += project["optional-dependencies"][extra]
    if installed:
        lines.append(project["name"])
    for line in lines:  # grows: an extra may ask for another one of the project's own
        requirement = Requirement(line)
        if requirement.name == project["name"] and requirement.extras:
            for extra in requirement.extras:
                lines += project["optional-dependencies"][extra]
        elif version(requirement.name) is None:
            return line
    if locked:
        pins = (ROOT / "requirements.lock").read_text().splitlines()
        lines += [line for line in pins if not line.startswith("#")]
    for requirement in map(Requirement, lines):
        has = version(requirement.name)
        if requirement.marker is not None and not requirement.marker.evaluate():
            continue
        if has is not None and not requirement.specifier.contains(has, prereleases=True):
            return f"{requirement} (it has {has})"
    return None


if __name__ == "__main__":
    flags = {"--installed", "--locked"}
    arguments = sys.argv[1:]
    unmet = first_unmet([n for n in arguments if n not in flags], "--installed" in arguments, "--locked" in arguments)
    if unmet:
        print(unmet)
        sys.exit(1)
