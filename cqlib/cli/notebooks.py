"""Notebooks through papermill: run once for the same inputs, written as .ipynb and as a page."""

import json
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import papermill
import psutil
from nbclient.exceptions import DeadKernelError
from papermill.engines import NBClientEngine, papermill_engines
from papermill.exceptions import PapermillExecutionError
from papermill.translators import PythonTranslator
from traitlets.config import Config

from cqlib.cli.options import PROGRAM
from cqlib.report.notebook_page import notebook_page
from cqlib.util import provenance
from cqlib.util.errors import StoppedEarly, UserError, one_line, one_line_errors, to_stderr
from cqlib.util.files import canonical_json, sha256, write_atomic


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
        """A hash of all that the outputs depend on: the notebook, parameters, records, the code of cqlib."""
        files = [self.source]
        for folder in self.records:
            files += sorted(folder.glob("*.json")) + sorted(folder.glob("*/record.json"))
        hashes = {str(file): sha256(file.read_bytes()) for file in files}
        return sha256(canonical_json([self.parameters, hashes, provenance.code_hash()]).encode())

    def done(self) -> bool:
        """Whether it has run to its end with these very inputs."""
        try:
            notebook = json.loads(self.target.read_bytes())
            return self.page.is_file() and notebook["metadata"]["cqlib"]["inputs"] == self.inputs()
        except (OSError, ValueError, KeyError):
            return False

    def arguments(self) -> tuple[str, ...]:
        """The Python command that executes it, as in `main`."""
        values = [str(self.source), self.parameters, str(self.out), [str(folder) for folder in self.records]]
        return "-m", "cqlib.cli.notebooks", json.dumps(values)


def declared(source: Path) -> set[str]:
    """The names in the notebook's parameters cell. UserError if it cannot be read or has no such cell."""
    try:
        notebook = nbformat.read(source, as_version=4)
    except Exception as error:
        raise UserError(f"{source} is not a notebook: {one_line(error)}") from error
    tagged = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    if not tagged:
        raise UserError(f"{source} has no cell tagged 'parameters'")
    return {parameter.name for parameter in PythonTranslator.inspect(tagged[0])}


def execute(job: Job) -> None:
    """Run the notebook and write its .ipynb and .html, each whole or not at all. UserError if a cell fails: that run is
    written too, but does not count as done."""
    if unknown := sorted(set(job.parameters) - declared(job.source)):  # papermill would only warn
        raise UserError(f"{job.source.name} has no parameter '{unknown[0]}'")
    failure = ""
    inputs = job.inputs()  # hashed before the run, which may not see what other processes write meanwhile
    # papermill saves its file in place as it goes. It gets a temporary one: a kill never leaves half an output.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        running = Path(folder) / "notebook.ipynb"
        try:
            with _signals_passed_on():
                _papermill(job, running)
        except PapermillExecutionError as error:
            failure = f"{job.source.name}: {error.ename}: {one_line(error.evalue)}"
        except DeadKernelError as error:  # killed, perhaps for want of memory: there is no page to write
            raise UserError(f"{job.source.name}: its kernel died; run it again to resume") from error
        notebook = nbformat.read(running, as_version=4)
    for part in (notebook, *notebook.cells):
        part.metadata.pop("papermill", None)  # machine paths and clock times
    if not failure:
        notebook.metadata["cqlib"] = {**notebook.metadata.get("cqlib", {}), "inputs": inputs}
    write_atomic(job.page, notebook_page(notebook, job.source.parent, job.out.name))
    write_atomic(job.target, nbformat.writes(notebook) + "\n")
    if failure:
        raise UserError(failure)


@contextmanager
def _signals_passed_on() -> Iterator[None]:
    """Inside, the first SIGINT or SIGTERM is passed on to the kernel as Ctrl-C, so that a training in it saves its
    state; papermill would not. StoppedEarly at the end where one came."""
    stopped = False

    def stop(number: int, frame: object) -> None:
        nonlocal stopped
        kernels = psutil.Process().children()
        for kernel in [] if stopped else kernels:
            kernel.send_signal(signal.SIGINT)
        stopped = True
        if not kernels:
            raise KeyboardInterrupt

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if stopped:
            raise StoppedEarly("stopped")


class _ReportingEngine(NBClientEngine):
    """papermill's engine; says on stderr how many cells have run."""

    @classmethod
    def execute_managed_notebook(cls, manager: Any, kernel_name: str, **options: Any) -> Any:
        complete, cells = manager.cell_complete, len(manager.nb.cells)

        def report(cell: Any, cell_index: int, **more: Any) -> None:
            complete(cell, cell_index, **more)
            to_stderr(f"cell {cell_index + 1} of {cells}")

        manager.cell_complete = report
        return super().execute_managed_notebook(manager, kernel_name, **options)


def _papermill(job: Job, running: Path) -> None:
    """papermill with this environment's own kernel, and none of the user's start-up files."""
    os.environ["JUPYTER_PATH"] = str(Path(sys.prefix) / "share" / "jupyter")
    os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"
    os.environ["IPYTHONDIR"] = os.environ["JUPYTER_RUNTIME_DIR"] = str(running.parent)
    papermill_engines.register("reporting", _ReportingEngine)
    papermill.execute_notebook(
        str(job.source),
        str(running),
        parameters=job.parameters,
        engine_name="reporting",
        kernel_name="python3",
        language="python",
        cwd=str(job.source.parent),
        progress_bar=False,
        start_timeout=120,
        # Sockets in the temporary folder: no port that another process may take first.
        config=Config({"KernelManager": {"transport": "ipc", "ip": str(running.parent / "kernel")}}),
    )


def main(words: str) -> None:
    """Execute the job whose `arguments` end with `words`."""
    source, parameters, out, records = json.loads(words)
    with one_line_errors(PROGRAM):
        execute(Job(Path(source), parameters, Path(out), tuple(map(Path, records))))


if __name__ == "__main__":
    main(sys.argv[1])
