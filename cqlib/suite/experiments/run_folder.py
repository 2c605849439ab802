"""The folder of a run: the experiment that it belongs to, and the files to remove from it."""

import json
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from cqlib.suite.experiments.experiment import Experiment
from cqlib.util.files import move, write_atomic

LOCK = ".lock"


def archive_stale_run(e: Experiment, data: str, folder: Path, runs_dir: Path, tell: Callable[[str], None]) -> None:
    """If the folder contains a run of another experiment (an older recipe), or on other data, move its content to
    `runs_dir`/stale and report that by `tell`. Then mark the folder as that of `e`: its file experiment.json says
    so."""
    mark = folder / "experiment.json"
    identity = {"training_hash": e.training_hash, "data": data}
    content = json.dumps({**identity, "config": e.config}, indent=1)
    if mark.exists() and not _identity_is(mark, identity):
        stale = runs_dir / "stale"
        stale.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=f"{folder.name}-", dir=stale))
        # the mark goes last, so that an interrupted move is completed by the next call
        for item in sorted(folder.iterdir(), key=lambda item: item == mark):
            if not item.name.startswith(LOCK):
                move(item, aside / item.name)
        tell(f"{e.title}: the run of an older recipe, or on other data, is kept in {aside}; training again")
    write_atomic(mark, content)


def _identity_is(mark: Path, identity: dict[str, str]) -> bool:
    """Whether the mark of a run's folder is that of this `identity`; False if it is damaged."""
    with suppress(ValueError, AttributeError):
        return identity.items() <= json.loads(mark.read_text()).items()
    return False


TEMPORARY_FILES = ("*.checkpoint", "*.step-*", ".*.tmp")
"""Files of a training, and those that a killed process was writing."""


def temporary_files(folder: Path) -> list[Path]:
    """The files in a run's folder that a finished run does not need."""
    return [path for pattern in TEMPORARY_FILES for path in folder.glob(pattern)]


def remove_temporary_files(folder: Path) -> None:
    """Delete what a finished run does not need, once its record is written. The caller holds the folder's lock."""
    for path in temporary_files(folder):
        path.unlink(missing_ok=True)
