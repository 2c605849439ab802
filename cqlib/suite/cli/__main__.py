"""`python -m cqlib.suite.cli`, started by run_all.sh. Options are read before torch is loaded, which takes seconds."""

import sys
from collections.abc import Sequence

from cqlib.suite.cli import options
from cqlib.util.errors import one_line_errors
from cqlib.util.stop import interrupt_on_sigterm


def main(argv: Sequence[str] | None = None) -> int:
    """Do what the options of run_all.sh ask, and return the exit code."""
    with one_line_errors("run_all.sh"):
        interrupt_on_sigterm()  # until there is something to save
        opts = options.parse(sys.argv[1:] if argv is None else argv)
        options.set_environment(opts)
    with one_line_errors("run_all.sh", opts.runs_dir / "logs"):
        from cqlib.suite.cli import run_all

        if not opts.list:
            return run_all.reproduce(opts)
        print(*run_all.listing(opts), sep="\n")
        return 0
    raise AssertionError("unreachable")


if __name__ == "__main__":
    sys.exit(main())
