"""Notebooks through papermill: each in a process of its own, and not again while its inputs are the same.

`python -m cqlib.cli.papermill JOB` runs one (`cqlib/cli/run_all.py` starts it); JOB is the JSON of a `Job`.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import tempfile
import traceback
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cqlib.cli.tasks import say
from cqlib.util.errors import UserError
from cqlib.util.files import canonical_json, sha256, write_atomic
from cqlib.util.locks import held

PACKAGE = Path(__file__).parent.parent
TEMPORARY = "cqlib-notebook-"


@dataclass(frozen=True)
class Job:
    """One notebook to run: `source` with `parameters`, to `out`.ipynb and .html; `records`: folders it may read."""

    source: str
    parameters: dict[str, Any]
    out: str
    records: tuple[str, ...]

    @property
    def target(self) -> Path:
        """Where the executed notebook goes."""
        return Path(f"{self.out}.ipynb")

    @property
    def page(self) -> Path:
        """Where its HTML goes."""
        return Path(f"{self.out}.html")

    def inputs(self) -> str:
        """A hash over all that the outputs depend on: text, parameters, records, cqlib's source."""
        files = [Path(self.source), *sorted(PACKAGE.rglob("*.py")), *sorted(PACKAGE.glob("report/templates/**/*.*"))]
        for folder in map(Path, self.records):
            files += sorted(folder.glob("*.json")) + sorted(folder.glob("*/record.json"))
        hashes = {str(file): sha256(file.read_bytes()) for file in files if file.is_file()}
        return sha256(canonical_json([self.parameters, hashes]).encode())

    def done(self) -> bool:
        """Whether it has been run to its end with these very inputs."""
        try:
            notebook = json.loads(self.target.read_bytes())
            return self.page.is_file() and notebook["metadata"]["cqlib"]["inputs"] == self.inputs()
        except (OSError, ValueError, KeyError, TypeError):
            return False


def declared(source: Path | str) -> set[str]:
    """The names in the notebook's parameters cell. UserError if it cannot be read or has no such cell."""
    import nbformat
    from papermill.translators import PythonTranslator

    try:
        notebook = nbformat.read(source, as_version=4)
    except Exception as error:
        raise UserError(f"{source} is not a notebook: {_first_line(str(error))}") from error
    tagged = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    if not tagged:
        raise UserError(f"{source} has no cell tagged 'parameters'")
    return {parameter.name for parameter in PythonTranslator.inspect(tagged[0])}


def check_parameters(source: Path | str, parameters: dict[str, Any]) -> None:
    """UserError if the notebook does not declare one of `parameters`: papermill would only warn of it."""
    if unknown := sorted(set(parameters) - declared(source)):
        raise UserError(f"{Path(source).name} has no parameter '{unknown[0]}'")


def execute(job: Job) -> None:
    """Run the notebook and write its .ipynb and .html, each whole or not at all. UserError if a cell fails.

    A failed run is written too, with its traceback, for the reader to see; it does not count as done. Where another
    process runs the same, its outputs are waited for.
    """
    check_parameters(job.source, job.parameters)
    place = Path(job.out)
    lock = place.parent.parent / ".locks" / place.name
    lock.parent.mkdir(parents=True, exist_ok=True)
    with held(lock, place.name, say=lambda text: say(note=text), while_waiting=_give_up):
        if not job.done():
            _execute(job)


def _give_up() -> None:
    if _stopped:
        raise KeyboardInterrupt


def _execute(job: Job) -> None:
    import nbformat
    import papermill

    from cqlib.cli.notebook_page import page

    failure: str | None = None
    _remove_left()
    # papermill saves as it goes, and in place: with a file of its own a kill never leaves half of one.
    with tempfile.TemporaryDirectory(prefix=f"{TEMPORARY}{os.getpid()}-", ignore_cleanup_errors=True) as folder:
        running = str(Path(folder) / "notebook.ipynb")
        try:
            _papermill(job, running)
        except papermill.PapermillExecutionError as error:
            failure = f"{Path(job.source).name}: {error.ename}: {_first_line(error.evalue)}"
        notebook = nbformat.read(running, as_version=4)
    _give_up()
    notebook.metadata.pop("papermill", None)  # machine paths and clock times
    for cell in notebook.cells:
        cell.metadata.pop("papermill", None)
    if failure is None:
        notebook.metadata["cqlib"] = {**notebook.metadata.get("cqlib", {}), "inputs": job.inputs()}
    write_atomic(job.page, page(notebook, Path(job.source).parent, job.target.stem))
    write_atomic(job.target, nbformat.writes(notebook) + "\n")
    if failure is not None:
        raise UserError(failure)


def _remove_left() -> None:
    """The temporary folders of workers that were killed."""
    import psutil

    for folder in Path(tempfile.gettempdir()).glob(f"{TEMPORARY}*-*"):
        pid = folder.name.removeprefix(TEMPORARY).partition("-")[0]
        if pid.isdigit() and not psutil.pid_exists(int(pid)):
            shutil.rmtree(folder, ignore_errors=True)


def _papermill(job: Job, running: str) -> None:
    """papermill with the kernel of this interpreter; one more try if that kernel does not start."""
    import papermill
    from traitlets.config import Config

    # This environment's own python3 kernel, and none of the user's start-up files.
    os.environ["JUPYTER_PATH"] = str(Path(sys.prefix) / "share" / "jupyter")
    os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"
    os.environ["IPYTHONDIR"] = os.environ["JUPYTER_RUNTIME_DIR"] = str(Path(running).parent)
    for attempt in (1, 2):
        try:
            papermill.execute_notebook(
                job.source,
                running,
                parameters=job.parameters,
                kernel_name="python3",
                language="python",
                cwd=str(Path(job.source).parent),
                progress_bar=False,
                start_timeout=120,
                # Sockets in the temporary folder: no port that another process may take first.
                config=Config({"KernelManager": {"transport": "ipc", "ip": str(Path(running).parent / "kernel")}}),
            )
            return
        except papermill.PapermillExecutionError:
            raise
        except Exception as error:  # a kernel that died on its first breath
            if attempt == 2 or _stopped or _began(running):
                raise
            print(f"the kernel did not start, once more: {error!r}", file=sys.stderr)


def _began(running: str) -> bool:
    """Whether any cell has been executed."""
    try:
        cells = json.loads(Path(running).read_bytes())["cells"]
    except (OSError, ValueError, KeyError):
        return False
    return any(cell.get("execution_count") for cell in cells)


def _first_line(text: str) -> str:
    return str(text).strip().split("\n")[0]


_stopped: list[int] = []


def _stop(number: int, frame: object) -> None:
    """SIGTERM becomes Ctrl-C for the kernel, for a training in it to save; papermill does not pass it on. Before there
    is a kernel there is nothing to save."""
    import psutil

    _stopped.append(number)
    if len(_stopped) > 1:
        return
    kernels = psutil.Process().children()
    for kernel in kernels:
        kernel.send_signal(signal.SIGINT)
    if not kernels:
        raise KeyboardInterrupt


def main(argument: str) -> int:
    """Run the job; its exit code."""
    signal.signal(signal.SIGTERM, _stop)
    job = Job(**json.loads(argument))
    try:
        execute(job)
    except KeyboardInterrupt:
        return 3
    except UserError as error:
        say(message=str(error))
        return error.exit_code
    except Exception as error:
        traceback.print_exc()
        say(message=f"{Path(job.source).name}: {type(error).__name__}: {_first_line(str(error))}")
        return 3 if _stopped else 1
    return 0


def encode(job: Job) -> str:
    """The argument of `main` for `job`."""
    return json.dumps(asdict(job))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
