"""Rows with changes to their recipe: their names in records, file names and words.

`changes` is {path in the recipe: value}, with values as in JSON: {"system.quality_weight": 25.0}. A variant without
changes is the row itself. Standard library only.
"""

import json
import re
import shlex
from collections.abc import Mapping
from typing import Any

from cqlib.util.files import canonical_json, sha256
from cqlib.util.text import without_paths

Changes = Mapping[str, Any]

WORDS = {
    "system.quality_weight": "λ",
    "system.critic.penalty_weight": "gradient penalty",
    "system.critic_input": "critic input:",
    "system.critic.widths": "widths of the critic:",
    "system.critic.blocks": "blocks of the critic a resolution:",
    "system.flow_updated_by": "f updated by:",
    "system.flow.couplings": "couplings of f:",
    "system.flow.scales": "scales of f:",
    "system.flow.colours": "f’s colours",
    "system.sigma": "σ",
    "training.batch_size": "batches of",
    "system.flow.width": "width of f",
    "system.latent": "latent size:",
    "system.blocks": "layers a resolution:",
    "system.iaf_width": "width of the IAF posterior",
    "system.hidden": "units of an LSTM:",
    "system.layers": "LSTMs:",
    "system.pixel_scales": "a scale per pixel:",
    "system.log_scale": "ln s starts at",
    "system.widths": "widths:",
    "training.steps": "steps:",
    "training.precision": "precision:",
    "training.critic_gradient_clip": "critic’s gradient clipped at",
    "scores_of": "scores of",
}
"""Path in a recipe -> its name in words; a setting that is not listed goes by its path."""

LATER_FIELDS: dict[str, dict[str, Any]] = {
    "flow": {"colours": "apart"},
    "system": {"sigma": "of z"},
    "training": {"precision": "fp32", "critic_gradient_clip": None},
}
"""Config -> its fields that are younger than published records, with the value at which a recipe is as it was before
them: then they are left out of hashes, and the hash is what it was."""
FORMER_FIELDS = {"training": {"bf16": False}}
"""Config -> its fields that published records have and recipes no longer, at their value there: they stay in hashes."""


def as_hashed(config: dict[str, Any], name: str = "") -> dict[str, Any]:
    """Nested plain values of a config as hashes take them: without fields of `LATER_FIELDS` at their former value, and
    with `FORMER_FIELDS`."""
    later = LATER_FIELDS.get(name, {})
    kept = {key: value for key, value in config.items() if key not in later or later[key] != value}
    values = {key: as_hashed(value, key) if isinstance(value, dict) else value for key, value in kept.items()}
    return FORMER_FIELDS.get(name, {}) | values


def variant(row: str, changes: Changes) -> str:
    """The name of a row with changes: "table1/cq-f", "table1/cq-f system.quality_weight=25.0"."""
    return " ".join([row, *(f"{path}={canonical_json(changes[path])}" for path in sorted(changes))])


def row_and_changes(name: str) -> tuple[str, dict[str, Any]]:
    """The inverse of `variant`: row and changes. A name that `variant` cannot give is taken for a row."""
    row, *parts = re.split(r" (?=[a-z_][a-z0-9_]*(?:\.[a-z_][a-z0-9_]*)*=)", name)
    try:
        return row, {path: json.loads(value) for path, _, value in (part.partition("=") for part in parts)}
    except (ValueError, RecursionError):
        return name, {}


def as_options(changes: Changes) -> str:
    """The options that add changes to a command: " --set system.quality_weight=25.0"."""
    return "".join(f" --set {shlex.quote(f'{path}={canonical_json(value)}')}" for path, value in changes.items())


def file_part(changes: Changes) -> str:
    """The changes at the end of a run's file name, with a hash: "--quality-weight-25.0-1f0c2d3e"; "" without
    changes."""
    if not changes:
        return ""
    text = " ".join(f"{path.rpartition('.')[2]} {canonical_json(changes[path])}" for path in sorted(changes))
    words = re.sub(r"[^a-z0-9.]+", "-", text.lower())[:40].strip("-.")
    return f"--{words}-{sha256(canonical_json(dict(changes)).encode())[:8]}"


def value_in_words(value: Any) -> str:
    """A value of a recipe in words: "32-64-128", "3,000"."""
    if isinstance(value, list | tuple):
        return "-".join(map(value_in_words, value))
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return f"{value:,g}" if isinstance(value, float) else str(value)


def in_words(changes: Changes) -> str:
    """Changes in words, safe to show on a page: "λ 25, steps: 3,000"."""
    words = (f"{WORDS.get(path, path)} {value_in_words(value)}" for path, value in changes.items())
    return without_paths(", ".join(words))
