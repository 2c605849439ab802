"""The folders of the repository, of runs and of what is published."""

import os
from pathlib import Path

_ABOVE = Path(__file__).resolve().parent.parent.parent
ROOT = _ABOVE if (_ABOVE / "pyproject.toml").is_file() else Path.cwd()
"""The repository's folder, or the current folder if this package was installed without the repository."""
RUNS = Path(os.environ.get("CQLIB_RUNS") or ROOT / "runs").absolute()
"""The default folder of runs: $CQLIB_RUNS, or runs/ of the repository."""
PUBLISHED = ROOT / "reports" / "published"
"""The records, samples and small models that come with the repository."""
RECORDS = PUBLISHED / "records"
