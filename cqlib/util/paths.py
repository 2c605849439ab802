"""Where the repository is."""

import os
from pathlib import Path

_ABOVE = Path(__file__).resolve().parent.parent.parent
ROOT = _ABOVE if (_ABOVE / "pyproject.toml").is_file() else Path.cwd()
"""The repository's folder, or the current folder if this package was installed without the repository."""
RUNS = Path(os.environ.get("CQLIB_RUNS") or ROOT / "runs").absolute()
"""Where runs are kept if no other folder is named: $CQLIB_RUNS, or the repository's."""
PUBLISHED = ROOT / "reports" / "published"
"""The records, samples and small models that come with the repository."""
RECORDS = PUBLISHED / "records"
