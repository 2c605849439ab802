"""`python -m benchmarks [ROW …] [--json FILE] [--device NAME] [--markdown]`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from cqlib.cli.options import OPTIONS, Parser, examples, set_environment
from cqlib.util.errors import one_line_errors

PROGRAM = "python -m benchmarks"
EXAMPLES = (PROGRAM, f"{PROGRAM} cqf-step --json results.json --device cpu", f"{PROGRAM} --markdown")


def parser() -> Parser:
    """The parser of the command."""
    from benchmarks import table

    made = Parser(prog=PROGRAM, description="Time what this project says is fast, side by side with what it replaces.",
                  epilog=f"{examples(*EXAMPLES)}rows: {', '.join(table.ROWS)}")  # fmt: skip
    made.add_argument("rows", nargs="*", metavar="ROW", help="default: all that this kind of device has")
    made.add_argument("--json", type=Path, metavar="FILE",
                      help="put results here; rows there of this commit are not measured again")  # fmt: skip
    made.add_argument("--device", **OPTIONS["--device"])
    made.add_argument("--markdown", action="store_true",
                      help="measure nothing, render docs/performance.md and its pictures")  # fmt: skip
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Measure rows, or render docs/performance.md from what has been published; the exit code."""
    from benchmarks import page, table

    with one_line_errors(PROGRAM):
        options = parser().parse_args(argv)
        set_environment(options)
        if options.markdown:
            page.write()
            return 0
        return table.measure_rows(options.rows, options.json)
    raise AssertionError("unreachable")


if __name__ == "__main__":
    sys.exit(main())
