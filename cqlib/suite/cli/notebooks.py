"""Notebooks by papermill, written as .ipynb and as a page. A notebook whose inputs have not changed is not run
again."""

import functools
import hashlib
import json
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import papermill
from nbclient.exceptions import DeadKernelError
from papermill.exceptions import PapermillExecutionError
from papermill.translators import PythonTranslator
from traitlets.config import Config

from cqlib.suite.cli.options import PROGRAM
from cqlib.suite.notebook_page import notebook_page
from cqlib.util import provenance
from cqlib.util.errors import UserError, one_line, one_line_errors
from cqlib.util.files import canonical_json, sha256, write_atomic
from cqlib.util.stop import interrupt_on_sigterm


@dataclass(frozen=True)
class Job:
    """A notebook to run: `source` with `parameters`, written to `out`.ipynb and `out`.html. It may read records of the
    folders `records`, and `files`, which are files and folders with all that is in them."""

    source: Path
    parameters: dict[str, Any]
    out: Path
    records: tuple[Path, ...]
    files: tuple[Path, ...] = ()

    target = property(lambda self: self.out.with_name(f"{self.out.name}.ipynb"))
    page = property(lambda self: self.out.with_name(f"{self.out.name}.html"))

    def inputs(self) -> str:
        """A hash of everything that the outputs depend on: the notebook, parameters, records, files and the code of
        cqlib."""
        files = [self.source]
        for folder in self.records:
            files += [*folder.glob("*.json"), *folder.glob("*/record.json")]
        for path in self.files:
            files += [file for file in (path, *path.rglob("*")) if file.is_file()]
        hashes = {str(file): _hash_of(file, file.stat().st_size, file.stat().st_mtime_ns) for file in files}
        return sha256(canonical_json([self.parameters, hashes, provenance.code_hash()]).encode())

    def done(self) -> bool:
        """Whether it has run to its end with the same inputs."""
        try:
            notebook = json.loads(self.target.read_bytes())
            return self.page.is_file() and notebook["metadata"]["cqlib"]["inputs"] == self.inputs()
        except (OSError, ValueError, KeyError):
            return False

    def arguments(self) -> tuple[str, ...]:
        """The words after "python" in the command that executes it; `job_of` reads the last one."""
        folders = [list(map(str, paths)) for paths in (self.records, self.files)]
        values = [str(self.source), self.parameters, str(self.out), *folders]
        return "-m", "cqlib.suite.cli.notebooks", json.dumps(values)


def job_of(words: str) -> Job:
    """The job of the last word of its `arguments`."""
    source, parameters, out, records, files = json.loads(words)
    return Job(Path(source), parameters, Path(out), tuple(map(Path, records)), tuple(map(Path, files)))


@functools.cache
def _hash_of(file: Path, size: int, changed: int) -> str:
    """The hash of a file's content, read once for all notebooks while its size and its time of change stay."""
    with open(file, "rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def parameter_names(source: Path) -> set[str]:
    """The names of the parameters in a notebook's parameters cell, if it has one. UserError if it is no notebook."""
    try:
        notebook = nbformat.read(source, as_version=4)
    except Exception as error:
        raise UserError(f"{source} is not a notebook: {one_line(error)}") from error
    tagged = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    return {parameter.name for cell in tagged for parameter in PythonTranslator.inspect(cell)}


def execute(job: Job) -> None:
    """Run the notebook and write its .ipynb and .html atomically. UserError if a cell fails; the notebook is written up
    to that cell, and does not count as done."""
    if unknown := sorted(set(job.parameters) - parameter_names(job.source)):  # papermill would only warn
        raise UserError(f"{job.source.name} has no parameter '{unknown[0]}'")
    failure = ""
    inputs = job.inputs()  # hashed before the run: records may be written while it runs
    # papermill writes to a temporary file, so that a kill never leaves half an output.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        running = Path(folder) / "notebook.ipynb"
        try:
            _papermill(job, running)
        except PapermillExecutionError as error:
            failure = f"{job.source.name}: {error.ename}: {one_line(error.evalue)}"
        except DeadKernelError as error:  # killed, perhaps for lack of memory
            raise UserError(f"{job.source.name}: its kernel died; run it again to resume") from error
        notebook = nbformat.read(running, as_version=4)
    for part in (notebook, *notebook.cells):
        part.metadata.pop("papermill", None)  # machine paths and clock times
    repository = Path(os.path.relpath(job.source.parent.parent, job.out.parent)).as_posix()
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = cell.source.replace("](../", f"]({repository}/")
    if not failure:
        notebook.metadata["cqlib"] = {**notebook.metadata.get("cqlib", {}), "inputs": inputs}
    write_atomic(job.page, notebook_page(notebook, job.source.parent, job.out.name))
    write_atomic(job.target, nbformat.writes(notebook) + "\n")
    if failure:
        raise UserError(failure)


def _papermill(job: Job, running: Path) -> None:
    """Execute by papermill, in a kernel of this Python environment without the user's start-up files."""
    os.environ["JUPYTER_PATH"] = str(Path(sys.prefix) / "share" / "jupyter")
    os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"
    os.environ["IPYTHONDIR"] = os.environ["JUPYTER_RUNTIME_DIR"] = str(running.parent)
    papermill.execute_notebook(
        str(job.source),
        str(running),
        parameters=job.parameters,
        kernel_name="python3",
        language="python",
        cwd=str(job.source.parent),
        progress_bar=False,
        start_timeout=120,
        # By sockets in the temporary folder, because another process could take a port first.
        config=Config({"KernelManager": {"transport": "ipc", "ip": str(running.parent / "kernel")}}),
    )


def main() -> None:
    """Execute the job on the command line."""
    with one_line_errors(PROGRAM):
        interrupt_on_sigterm()  # which ends the kernel; a training in it keeps its last checkpoint
        execute(job_of(sys.argv[1]))


if __name__ == "__main__":
    main()
