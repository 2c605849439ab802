"""The folder of a run: which experiment it belongs to, and what to remove from it."""

import json
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from cqlib.experiments.experiment import Experiment
from cqlib.util.files import move, remove_leftovers, write_atomic

LOCK = ".lock"
HOUR = 3600.0
KEPT_LOGS = 20
"""How many tracebacks, the newest, stay in the logs folder."""


def archive_stale_run(e: Experiment, data: str, folder: Path, runs_dir: Path, tell: Callable[[str], None]) -> None:
    """If the folder holds a run of another experiment (an older recipe), or on other data, move its content to
    `runs_dir`/stale and `tell` of it. Then mark the folder as that of `e`."""
    mark = folder / "experiment.json"
    identity = {"training_hash": e.training_hash, "data": data}
    content = json.dumps({**identity, "config": e.config}, indent=1)
    if mark.exists() and not _identity_is(mark, identity):
        stale = runs_dir / "stale"
        stale.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=f"{folder.name}-", dir=stale))
        # the mark goes last: a move that is cut short is taken up again
        for item in sorted(folder.iterdir(), key=lambda item: item == mark):
            if not item.name.startswith(LOCK):
                move(item, aside / item.name)
        tell(f"{e.title}: the run of an older recipe, or on other data, is kept in {aside}; training anew")
    write_atomic(mark, content)


def _identity_is(mark: Path, identity: dict[str, str]) -> bool:
    """Whether the mark of a run's folder can be read and holds this `identity`."""
    with suppress(ValueError, AttributeError):
        return identity.items() <= json.loads(mark.read_text()).items()
    return False


def tidy(folder: Path, runs_dir: Path) -> None:
    """Delete temporary files of interrupted writes in `folder`, whose lock the caller holds, and those older than an
    hour in shared folders. Delete old tracebacks."""
    remove_leftovers(folder)
    for shared in (runs_dir, runs_dir / "features"):
        remove_leftovers(shared, older=HOUR)
    for old in sorted((runs_dir / "logs").glob("error-*.log"))[:-KEPT_LOGS]:
        old.unlink(missing_ok=True)


TRAINING_FILES = ("*.checkpoint", "*.step-*")


def training_files(folder: Path) -> list[Path]:
    """The files in a run's folder that are of use in training alone."""
    return [path for pattern in TRAINING_FILES for path in folder.glob(pattern)]


def tidy_finished(folder: Path) -> None:
    """Remove what is of use in training alone, once the record is written."""
    for path in training_files(folder):
        path.unlink(missing_ok=True)
