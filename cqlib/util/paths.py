"""Where the repository is."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent  # the repository, where this is a checkout
PUBLISHED = ROOT / "reports" / "published"
"""The records, samples and small models that come with the project."""
