"""Errors, files, locks, checkpoints, provenance: what every other package may use."""

VERSION = "2.0.0.dev0"
"""The version of cqlib; pyproject.toml takes it from here."""
