"""What becomes of a command line that is given something bad: a result, one clear line, or a fault of ours.

`prepared` is a place without a network where nothing is trained: `cqlib.experiments.run._run` gives a record as soon
as the images have been read and accepted, and the estimates of cost and the subprocesses of run_all.sh are left out.
All else is the real thing.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import re
import signal
import stat
import tempfile
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from unittest import mock

import fake_records

from cqlib.cli import cluster_nodes, commands, costs, run_all
from cqlib.cli.options import OPTIONS
from cqlib.cli.tasks import Outcome as TaskOutcome
from cqlib.data import published
from cqlib.experiments import load, rows, run
from cqlib.metrics import features
from cqlib.report import page as report
from cqlib.util.errors import UserError
from cqlib.util.paths import ROOT

SECONDS = 60
"""A call that takes longer hangs."""
RESULT, LINE = "result", "one line"
FAULTS = ("traceback", "hang", "not one line", "left something behind")
LONGEST = 2_000
"""Characters that a line may have and still be clear."""


@dataclass(frozen=True)
class Outcome:
    """How a call ended: RESULT, LINE or one of FAULTS; what was said, for whoever has to mend it."""

    kind: str
    said: str
    code: int | None = None

    @property
    def bad(self) -> bool:
        """Whether the fault is ours."""
        return self.kind in FAULTS


class Hang(BaseException):
    """Raised by the alarm; no `except Exception` stops it."""


@dataclass(frozen=True)
class Place:
    """Folders of a test: `root` is the working folder and home of all; `runs` and `out` are what may not change."""

    root: Path

    @property
    def runs(self) -> Path:
        """For --runs-dir."""
        return self.root / "runs"

    @property
    def out(self) -> Path:
        """For --out."""
        return self.root / "out"

    def state(self) -> dict[str, str]:
        """Path -> type and content of all that lies in the runs folder and the report folder."""
        found = {}
        for top in (self.runs, self.out):
            for folder, folders, files in os.walk(top):
                for name in (*folders, *files):
                    path = os.path.join(folder, name)
                    found[path] = _content(path)
        return found

    def logs(self) -> list[Path]:
        """Tracebacks that `cqlib.util.errors` has written for what is a bug."""
        return [*self.root.glob("tmp/error-*.log"), *self.root.glob("**/logs/error-*.log")]


def _content(path: str) -> str:
    mode = os.lstat(path).st_mode
    if not stat.S_ISREG(mode):
        return str(stat.S_IFMT(mode))
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


@contextlib.contextmanager
def prepared(root: Path) -> Iterator[Place]:
    """A place at `root` (an empty folder); inside, all defaults lead there, too."""
    place = Place(root)
    for folder in (place.runs, place.out, root / "tmp", root / "home", root / "published"):
        folder.mkdir()
    (root / "notebooks").symlink_to(ROOT / "notebooks")
    (root / "published/models").symlink_to(ROOT / "reports/published/models")
    before = os.getcwd()
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    offline = {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9", "NO_PROXY": "", "no_proxy": ""}
    environment = {"HOME": str(root / "home"), "TORCH_HOME": str(root / "home"), **offline}
    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.dict(os.environ, environment))
        os.environ.pop("CQLIB_DATA", None)
        for target, name, value in (
            (run, "_run", lambda stages, *_: replace(fake_records.record("table1/vae"), row=stages.e.row)),
            (run_all, "work", lambda tasks, *_: [TaskOutcome(task, "done", "", 0.0) for task in tasks]),
            (costs, "lines", lambda *_, **__: []),
            (cluster_nodes, "connected", _no_cluster),
            (rows, "ROOT", root),
            (published, "ROOT", root),
            (features, "ROOT", root),
            (load, "PUBLISHED", root / "published"),
            (report, "PUBLISHED", root / "published"),
            (tempfile, "tempdir", str(root / "tmp")),
        ):
            stack.enter_context(mock.patch.object(target, name, value))
        for settings, folder in (
            (OPTIONS["--runs-dir"], place.runs),
            (commands.COMMANDS["report"][1]["--from"], place.runs),
            (OPTIONS["--out"], place.out),
        ):
            stack.enter_context(mock.patch.dict(settings, default=folder))
        os.chdir(root)
        try:
            yield place
        finally:
            os.chdir(before)
            for number, handler in handlers.items():
                signal.signal(number, handler)


def _no_cluster(address: str) -> None:
    raise UserError(f"--cluster {address}: nothing answers there")


def call(place: Place, main: Callable[[Sequence[str]], int | None], argv: Sequence[str]) -> Outcome:
    """`main(argv)` as a user meets it. Where it refuses, runs and report are as they were."""
    before, logs = place.state(), set(place.logs())
    with mock.patch.dict(os.environ):  # which --device sets
        outcome = judged(lambda: main(list(argv)))
    if new := set(place.logs()) - logs:
        return Outcome("traceback", f"{outcome.said}\n{new.pop().read_text()}", outcome.code)
    if outcome.kind == LINE and place.state() != before:
        changed = sorted(set(place.state().items()) ^ set(before.items()))
        return Outcome("left something behind", f"{outcome.said}\n{changed}", outcome.code)
    return outcome


def judged(what: Callable[[], object]) -> Outcome:
    """How a call ends that prints and returns an exit code (None: 0), raises SystemExit, or UserError where it is no
    command."""
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", errors) for errors in ("strict", "backslashreplace"))
    alarm = signal.signal(signal.SIGALRM, _ring)
    signal.alarm(SECONDS)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = what() or 0
    except SystemExit as error:
        code = error.code or 0
    except UserError as error:
        code = error.exit_code
        print(f"direct: {error}", file=err)
    except Hang:
        return Outcome("hang", traceback.format_exc())
    except BaseException:
        return Outcome("traceback", traceback.format_exc())
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, alarm)
    err.flush()
    return of_process(code if isinstance(code, int) else 0, err.buffer.getvalue().decode())


def of_process(code: int, said: str) -> Outcome:
    """The outcome of a command by its exit code and stderr."""
    if "Traceback" in said or "(details: " in said or code < 0:
        return Outcome("traceback", said, code)
    if code == 0 or (code == 1 and not said):
        return Outcome(RESULT, said, code)
    said = re.sub("^fetching .* to .*\n", "", said)  # what a download is, before it fails
    whole = said.endswith("\n") and said.count("\n") == 1 and len(said) <= LONGEST
    shown = all(character.isprintable() for character in said.rstrip("\n"))
    clear = code in (1, 2) and whole and shown and len(said.split()) > 2
    return Outcome(LINE if clear else "not one line", said, code)


def _ring(*_: object) -> None:
    raise Hang(f"longer than {SECONDS} s")
