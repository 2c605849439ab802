"""The command line: commands, run_all, its tasks, notebooks and cluster."""

import sys
from types import TracebackType


def _print_error(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """The excepthook: Ctrl-C while modules are still being imported prints one line, other errors their traceback."""
    if kind is KeyboardInterrupt:
        print("stopped before anything began; run it again", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


sys.excepthook = _print_error
