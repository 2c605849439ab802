"""What it takes to fill a cell that is empty: the files of a data set, whether they are here, and the command."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cqlib.data.catalogue import entry_of
from cqlib.data.published import find, home
from cqlib.experiments.rows import DEVELOPMENT_DATA
from cqlib.util.errors import UserError
from cqlib.util.text import without_paths


@dataclass(frozen=True)
class Files:
    """`files` that a data set is read from, with sizes and source; `how` they come, a few words before any colon;
    whether they are `here`."""

    here: bool
    files: str
    how: str

    def __str__(self) -> str:
        return self.how if self.here else f"{self.files}; {self.how}"


def files(name: str, data_dir: Path | str | None = None) -> Files:
    """Of the data set `name`, looked for where `cqlib.data.load` would; nothing is fetched."""
    if name == DEVELOPMENT_DATA:
        return Files(True, "", "comes with pip")
    entry = entry_of(name)
    if entry is None:
        return Files(True, "", "your own files")
    try:
        if find(entry, home(data_dir and Path(data_dir))) is not None:
            return Files(True, entry.sources, "here")
    except UserError:  # no such folder: the command says so when it is run
        pass
    return Files(False, entry.sources, entry.how)


def command(only: str, profile: str, data: str = "", seed: int = 0) -> str:
    """What trains `only` (a row or a notebook) with `profile` on `data` (empty: the profile's own). An absolute path is
    told as PATH and its last part: pages that hold the command are passed on."""
    if data != without_paths(data):
        data = without_paths(data).replace(":", ":PATH/", 1)
    options = "" if profile == "quick" else f" --profile {profile}"
    wanted = (f" --data {data}" if data else "") + (f" --seeds {seed}," if seed else "")
    return f"./run_all.sh{options} --only {only}{wanted}"
