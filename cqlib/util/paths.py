"""The folders of the repository, of runs and of what is published."""

import os
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent.parent
IN_REPOSITORY = (_PACKAGE.parent / "pyproject.toml").is_file()
ROOT = _PACKAGE.parent if IN_REPOSITORY else Path.cwd()
"""The repository's folder, or the current folder if this package was installed without the repository."""
RUNS = Path(os.environ.get("CQLIB_RUNS") or ROOT / "runs").absolute()
"""The default folder of runs: $CQLIB_RUNS, or runs/ of the repository."""
PUBLISHED = ROOT / "reports" / "published" if IN_REPOSITORY else _PACKAGE / "published"
"""The records, samples and small models that come with the repository, and with an installed package."""
RECORDS = PUBLISHED / "records"
