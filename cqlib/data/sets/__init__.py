"""A file for each published data set, with its description and its reader; all files here are found automatically.

A new one is a file here with `ENTRIES`, each a `PublishedDataset` whose `read` is a function of that file. What it
imports beyond the standard library and `cqlib.data.catalogue`, it imports within the function: names are listed before
anything is installed.
"""

from importlib import import_module
from pkgutil import iter_modules

from cqlib.data.catalogue import PublishedDataset

ENTRIES: dict[str, PublishedDataset] = {
    entry.name: entry
    for module in iter_modules(__path__)
    for entry in import_module(f"{__name__}.{module.name}").ENTRIES
}
"""Name -> its entry."""


def entry_of(name: str) -> PublishedDataset | None:
    """The published data set behind a name, as "tiny-imagenet:64"; None for photos10 and your own images."""
    return ENTRIES.get(name.partition(":")[0])
