"""Where the repository is, and what comes with the project."""

import os
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent.parent
IN_REPOSITORY = (_PACKAGE.parent / "pyproject.toml").is_file()
ROOT = _PACKAGE.parent if IN_REPOSITORY else Path.cwd()
"""The repository's folder, or the current folder if this package was installed without the repository."""
RUNS = Path(os.environ.get("CQLIB_RUNS") or ROOT / "runs").absolute()
"""Where runs are kept if no other folder is named: $CQLIB_RUNS, or the repository's."""
PUBLISHED = ROOT / "reports" / "published" if IN_REPOSITORY else _PACKAGE / "published"
"""The records, samples and small models that come with the repository, and with an installed package."""
RECORDS = PUBLISHED / "records"
