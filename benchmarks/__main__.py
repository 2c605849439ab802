"""`python -m benchmarks [ROW …] [--json FILE] [--markdown]`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from cqlib.util.errors import one_line_errors


def main(argv: Sequence[str] | None = None) -> int:
    """Measure rows, or render docs/performance.md from what has been published; the exit code."""
    from benchmarks import page, table
    from cqlib.cli.options import Parser

    parser = Parser(prog="python -m benchmarks", description="Time what this project says is fast, side by side with "
                    "what it replaces.", epilog="rows: " + ", ".join(table.ROWS))  # fmt: skip
    parser.add_argument("rows", nargs="*", metavar="ROW", help="default: all that this kind of device has")
    parser.add_argument("--json", type=Path, metavar="FILE",
                        help="put results here; rows there of this commit are not measured again")  # fmt: skip
    parser.add_argument("--markdown", action="store_true",
                        help="measure nothing, render docs/performance.md and its pictures")  # fmt: skip
    with one_line_errors("python -m benchmarks"):
        options = parser.parse_args(argv)
        if options.markdown:
            page.write()
            return 0
        return table.measure_rows(options.rows, options.json)
    raise AssertionError("unreachable")


if __name__ == "__main__":
    sys.exit(main())
