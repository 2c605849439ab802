"""Errors, files, locks, checkpoints, provenance: what every other package may use."""

VERSION = "1.0.0"
"""The version of cqlib; pyproject.toml takes it from here."""
