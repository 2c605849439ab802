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
SIZED: dict[str, tuple[Entry, int]] = {
    f"{name}:{size}": (entry, size) for name, entry in ENTRIES.items() for size in entry.sizes if len(entry.sizes) > 1
}
"""Names that keep one of a data set's sizes under every profile ("tiny-imagenet:64") -> its entry and that size."""


def entry_of(name: str) -> Entry | None:
    """The published data set behind a name, of any size or of one; None for photos10, toy2d and your own images."""
    return ENTRIES.get(name) or SIZED.get(name, (None,))[0]
