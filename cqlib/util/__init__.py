"""Errors, files, locks, checkpoints, provenance: what every room may use."""

VERSION = "1.0.0"
"""Of this package; pyproject.toml takes it from here."""
