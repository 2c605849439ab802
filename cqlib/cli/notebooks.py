"""Notebooks through papermill: run once for the same inputs, written as .ipynb and as a page."""

import json
import os
import signal
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
from traitlets.config import Config

from cqlib.cli.tasks import send_message
from cqlib.report.notebook_page import TEMPLATES, notebook_page
from cqlib.util.errors import UserError, one_line
from cqlib.util.files import canonical_json, sha256, write_atomic
from cqlib.util.locks import file_lock

PACKAGE = Path(__file__).parent.parent

LONGEST = 75
"""Bytes of the path of the folder for temporary files with which that of a socket in it can still be used."""


@dataclass(frozen=True)
class Job:
    """One notebook to run: `source` with `parameters`, written to `out`.ipynb and `out`.html; `records`: the folders of
    records that it may read."""

    source: Path
    parameters: dict[str, Any]
    out: Path
    records: tuple[Path, ...]

    target = property(lambda self: self.out.with_name(f"{self.out.name}.ipynb"))
    page = property(lambda self: self.out.with_name(f"{self.out.name}.html"))

    def inputs(self) -> str:
        """A hash of all that the outputs depend on: the notebook, parameters, records, cqlib's code and templates."""
        files = [self.source, *sorted(PACKAGE.rglob("*.py")), *sorted(TEMPLATES.glob("**/*.*"))]
        for folder in self.records:
            files += sorted(folder.glob("*.json")) + sorted(folder.glob("*/record.json"))
        hashes = {str(file): sha256(file.read_bytes()) for file in files if file.is_file()}
        return sha256(canonical_json([self.parameters, hashes]).encode())

    def done(self) -> bool:
        """Whether it has run to its end with these very inputs."""
        try:
            notebook = json.loads(self.target.read_bytes())
            return self.page.is_file() and notebook["metadata"]["cqlib"]["inputs"] == self.inputs()
        except (OSError, ValueError, KeyError, TypeError):
            return False


def declared(source: Path) -> set[str]:
    """The names in the notebook's parameters cell. UserError if it cannot be read or has no such cell."""
    from papermill.translators import PythonTranslator

    try:
        notebook = nbformat.read(source, as_version=4)
    except Exception as error:
        raise UserError(f"{source} is not a notebook: {one_line(error)}") from error
    tagged = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    if not tagged:
        raise UserError(f"{source} has no cell tagged 'parameters'")
    return {parameter.name for parameter in PythonTranslator.inspect(tagged[0])}


def execute(job: Job) -> None:
    """Run the notebook, in one process at a time, and write its .ipynb and .html, each whole or not at all. UserError
    if a cell fails: that run is written too, but does not count as done. KeyboardInterrupt after SIGTERM."""
    if unknown := sorted(set(job.parameters) - declared(job.source)):  # papermill would only warn
        raise UserError(f"{job.source.name} has no parameter '{unknown[0]}'")
    lock = job.out.parent.parent / ".locks" / job.out.name
    lock.parent.mkdir(parents=True, exist_ok=True)
    with file_lock(lock, job.out.name, say=lambda text: send_message(note=text)):
        if not job.done():
            _execute(job)


def _execute(job: Job) -> None:
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    failure: str | None = None
    stopped: list[int] = []

    def stop(number: int, frame: object) -> None:
        """Pass SIGTERM on to the kernel as Ctrl-C, so that a training in it saves its state; papermill would not."""
        import psutil

        stopped.append(number)
        for kernel in psutil.Process().children():
            kernel.send_signal(signal.SIGINT)
        if len(stopped) == 1 and not psutil.Process().children():
            raise KeyboardInterrupt

    inputs = job.inputs()  # hashed before the run, which may not see what other processes write meanwhile
    before = signal.signal(signal.SIGTERM, stop)
    # papermill saves its file in place as it goes. It gets a temporary one: a kill never leaves half an output.
    long = len(os.fsencode(tempfile.gettempdir())) > LONGEST  # the kernel's sockets are in this folder
    with tempfile.TemporaryDirectory(dir="/tmp" if long else None, ignore_cleanup_errors=True) as folder:
        running = Path(folder) / "notebook.ipynb"
        try:
            _papermill(job, running)
        except PapermillExecutionError as error:
            failure = f"{job.source.name}: {error.ename}: {one_line(str(error.evalue).strip().split(chr(10))[0])}"
        except DeadKernelError as error:  # killed, perhaps for want of memory: there is no page to write
            raise UserError(f"{job.source.name}: its kernel died; run it again to resume") from error
        finally:
            signal.signal(signal.SIGTERM, before)
            if stopped:
                raise KeyboardInterrupt
        notebook = nbformat.read(running, as_version=4)
    for part in (notebook, *notebook.cells):
        part.metadata.pop("papermill", None)  # machine paths and clock times
    if failure is None:
        notebook.metadata["cqlib"] = {**notebook.metadata.get("cqlib", {}), "inputs": inputs}
    write_atomic(job.page, notebook_page(notebook, job.source.parent, job.out.name))
    write_atomic(job.target, nbformat.writes(notebook) + "\n")
    if failure is not None:
        raise UserError(failure)


def _papermill(job: Job, running: Path) -> None:
    """papermill with this environment's own kernel, and none of the user's start-up files."""
    import papermill
    from papermill.engines import NBClientEngine, papermill_engines

    class Telling(NBClientEngine):
        """Tells the share of the cells that have been run."""

        @classmethod
        def execute_managed_notebook(cls, manager: Any, kernel_name: str, **options: Any) -> Any:
            complete, cells = manager.cell_complete, len(manager.nb.cells)

            def tell(cell: Any, cell_index: int, **more: Any) -> None:
                complete(cell, cell_index, **more)
                send_message(progress=(cell_index + 1) / cells)

            manager.cell_complete = tell
            return super().execute_managed_notebook(manager, kernel_name, **options)

    papermill_engines.register("telling", Telling)

    os.environ["JUPYTER_PATH"] = str(Path(sys.prefix) / "share" / "jupyter")
    os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"
    os.environ["IPYTHONDIR"] = os.environ["JUPYTER_RUNTIME_DIR"] = str(running.parent)
    papermill.execute_notebook(
        str(job.source),
        str(running),
        parameters=job.parameters,
        engine_name="telling",
        kernel_name="python3",
        language="python",
        cwd=str(job.source.parent),
        progress_bar=False,
        start_timeout=120,
        # Sockets in the temporary folder: no port that another process may take first.
        config=Config({"KernelManager": {"transport": "ipc", "ip": str(running.parent / "kernel")}}),
    )
