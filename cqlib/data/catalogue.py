"""The published data sets, found in the modules of `cqlib.data.sets`. Standard library only."""

from importlib import import_module
from pkgutil import iter_modules

from cqlib.data import sets
from cqlib.data.card import Entry

ENTRIES: dict[str, Entry] = {
    entry.name: entry
    for module in iter_modules(sets.__path__)
    for entry in import_module(f"{sets.__name__}.{module.name}").ENTRIES
}
"""Name -> its entry."""


def entry_of(name: str) -> Entry | None:
    """The published data set behind a name, as "tiny-imagenet:64"; None for photos10, toy2d and your own images."""
    return ENTRIES.get(name.partition(":")[0])
