"""Does this Python satisfy pyproject.toml? Used by tools/environment.sh; standard library first.

    python tools/satisfied.py [--installed] [EXTRA …]

Exit 0 when it does. Else exit 1 and one line with the first requirement that is not met. `--installed` asks
for the project itself as well: pip installs it last, so an installation cut short is seen.
"""

from __future__ import annotations

import sys
from importlib import metadata
from pathlib import Path


def first_unmet(extras: list[str], installed: bool) -> str | None:
    """The first requirement of the project (with `extras`) that this environment does not meet, or None."""
    try:
        import tomllib  # from Python 3.11 on

        from packaging.requirements import Requirement
    except ImportError as error:
        return str(error.name)
    project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())["project"]
    lines = list(project["dependencies"])
    for extra in extras:
        lines += project["optional-dependencies"][extra]
    if installed:
        lines.append(project["name"])
    for line in lines:  # grows: an extra may ask for another one of the project's own
        requirement = Requirement(line)
        for extra in requirement.extras if requirement.name == project["name"] else ():
            lines += project["optional-dependencies"][extra]
        if requirement.extras and requirement.name == project["name"]:
            continue
        try:
            version = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            return line
        if not requirement.specifier.contains(version, prereleases=True):
            return f"{line} (it has {version})"
    return None


if __name__ == "__main__":
    arguments = sys.argv[1:]
    unmet = first_unmet([name for name in arguments if name != "--installed"], "--installed" in arguments)
    if unmet:
        print(unmet)
        sys.exit(1)
