"""Where the repository is."""

from pathlib import Path

_ABOVE = Path(__file__).resolve().parent.parent.parent
ROOT = _ABOVE if (_ABOVE / "pyproject.toml").is_file() else Path.cwd()
"""The repository's folder, or the current folder if this package was installed without the repository."""
PUBLISHED = ROOT / "reports" / "published"
"""The records, samples and small models that come with the repository."""
RECORDS = PUBLISHED / "records"
CONTRIBUTED = ROOT / "reports" / "contributed"
"""Records and samples from others (`cqlib.report.contributed`)."""
