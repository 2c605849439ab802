"""The data sets by name: `load("photodigits")`, `load("folder:~/cats", size=32)`, `load("folder:~/cats:64")`.

A published one is a file of `cqlib.data.sets`; any other is a module here with a function `load`, and an entry in
SOURCES.
Importing this package needs the standard library only.
"""

import re
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from cqlib.data.folders import find_local, local_folder
from cqlib.data.sets import ENTRIES, entry_of
from cqlib.util.errors import UsageError, unknown_name

if TYPE_CHECKING:
    from cqlib.data.dataset import Dataset

IMAGE_SIZES = (16, 32, 48, 64)
"""Side lengths in pixels that the nets support."""
WITH_PIP = ("photodigits", "photos10")
"""Data sets that any machine has: their images, crops of photographs, may be shown with the credits of `photos10`. The
first is the default."""

_LAMBDA_OF_DATA, _NATURAL_LAMBDA = {"photodigits": 100.0}, 25.0
"""Data set -> its lambda at every size, chosen on tuning seeds; and that of any other, natural images, at 16x16 in
colour. They are read through `usual_lambda` alone."""


class Source(NamedTuple):
    """An entry of the registry: one line about it, the sides in pixels that it can be asked for, and the module here
    whose `load(name, size, data_dir)` makes the Dataset; where `size` is None, of its own size. `mirrored`: whether a
    mirrored image is as plausible as the original, so that flips help in training."""

    about: str
    sizes: tuple[int, ...]
    module: str
    mirrored: bool = True


SOURCES: dict[str, Source] = {
    "photodigits": Source("digits 0 to 9 on crops of photographs; no download", (16, 32, 64), "photodigits", False),
    "photos10": Source("crops of ten photographs that come with the libraries it needs; no download", IMAGE_SIZES,
                       "photos10"),
    **{name: Source(entry.about, entry.sizes, "published") for name, entry in ENTRIES.items()},
    **{f"{name}:{size}": Source(f"{entry.title} at {size} x {size}", (size,), "published")
       for name, entry in ENTRIES.items() if len(entry.sizes) > 1 for size in entry.sizes},
    "npz:PATH": Source("your images: an .npz file, or a folder with train.npz and test.npz; npz:PATH:64 at 64 x 64",
                       IMAGE_SIZES, "files"),
    "folder:PATH": Source("your images: a folder of PNG or JPEG files, sub-folders are classes; folder:PATH:64 at "
                          "64 x 64", IMAGE_SIZES, "files"),
}  # fmt: skip


def _source(name: str) -> Source:
    """The entry of `name`; UsageError with the nearest valid name."""
    head, _, argument = name.partition(":")
    key = f"{head}:PATH"
    if key in SOURCES:
        path, size = split_size(argument)
        if not path or path == "PATH":
            raise UsageError(f"data set '{name}' lacks its path: write {key} with your path for PATH")
        return SOURCES[key] if size is None else SOURCES[key]._replace(sizes=(size,))
    if name in SOURCES:
        return SOURCES[name]
    if "/" in head:
        raise UsageError(f"data set '{name}' is a path: write folder:PATH for pictures, npz:PATH for arrays")
    raise unknown_name("data set", name, [valid.replace(":PATH", f":{argument or 'PATH'}") for valid in SOURCES])


def split_size(path: str) -> tuple[str, int | None]:
    """A path and the size behind it, one of `IMAGE_SIZES`: "~/cats:64" gives "~/cats" and 64. A path that ends in
    another number, as "runs/epoch:12", or that exists with its number, gives itself and None."""
    sized = re.fullmatch(rf"(.*):({'|'.join(map(str, IMAGE_SIZES))})", path, re.DOTALL)
    if sized is None or find_local(path, local_folder() or Path(), Path()):
        return path, None
    return sized[1], int(sized[2])


def own_path(name: str) -> str | None:
    """The path of your own images in a name ("npz:~/a.npz:64" gives "~/a.npz"); None for any other data set."""
    kind, _, argument = name.partition(":")
    return split_size(argument)[0] if f"{kind}:PATH" in SOURCES else None


def check(name: str, size: int | None = None) -> None:
    """UsageError, with the nearest valid value, for an unknown data set or size. No file is read."""
    valid = sizes(name)
    if size is not None and size not in valid:
        best, every = min(valid, key=lambda other: abs(other - size)), ", ".join(map(str, valid))
        raise UsageError(f"data set '{name}' has no size {size}: did you mean {best}? (valid: {every})")


def sizes(name: str) -> tuple[int, ...]:
    """Sides in pixels that `name` can be asked for; UsageError with the nearest valid name."""
    return _source(name).sizes


def mirrored(name: str) -> bool:
    """Whether a mirrored image of `name` is as plausible as the original; UsageError with the nearest valid name."""
    return _source(name).mirrored


def usual_lambda(name: str | None, size: int = 16, channels: int = 3) -> float:
    """lambda, the weight of L_Q in L_C + lambda L_Q, for images of `size` pixels a side of the data set `name`, or of
    natural images (None). That of natural images grows with the number of values, as L_C, in nats per image, does;
    digits need no more at 32x32 than at 16x16."""
    return _LAMBDA_OF_DATA.get(name or "", _NATURAL_LAMBDA * channels * size**2 / (3 * 16**2))


def load(name: str, *, size: int | None = None, data_dir: Path | str | None = None) -> "Dataset":
    """The data set `name` with images of `size` pixels a side (None: its own, for photodigits 16).

    `data_dir` (default: $CQLIB_DATA) is where relative paths and local copies are looked for first; published data sets
    that are missing are fetched to it (default: data/ of the repository) unless they are huge. UsageError for an
    unknown name or size; UserError, naming the file, for missing or damaged data.
    """
    check(name, size)
    dataset: Dataset = import_module(f"cqlib.data.{_source(name).module}").load(name, size, local_folder(data_dir))
    return dataset


def fetch(*names: str, data_dir: Path | None = None) -> Path:
    """Fetch published data sets that are missing in `data_dir` (default: $CQLIB_DATA, else data/ of the repository).
    Returns that folder. UsageError for an unknown name, or one that needs no download, before anything is fetched;
    UserError where one cannot be fetched."""
    from cqlib.data import published

    for name in names:
        check(name)
        if entry_of(name) is None:
            raise UsageError(f"{name} needs no download")
    folder = published.data_folder(data_dir)
    for entry in filter(None, map(entry_of, names)):
        if published.find_parts(entry, folder) is None:
            published.fetch(entry, folder)
    return folder
