"""`python -m benchmarks [ROW …] [--json FILE] [--markdown]`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from benchmarks import page, results, steps
from cqlib.suite.cli.options import Parser
from cqlib.util.errors import one_line_errors

PROGRAM = "python -m benchmarks"
EXAMPLES = f"""examples:
  {PROGRAM} cqf-step --json results.json
  {PROGRAM} --markdown

rows: {", ".join(steps.ROWS)}

$CQLIB_DEVICE names the device, such as cpu or cuda:1."""


def parser() -> argparse.ArgumentParser:
    """The parser of the command."""
    made = Parser(prog=PROGRAM, epilog=EXAMPLES,
                  description="Time training steps, side by side with the textbook way.")  # fmt: skip
    made.add_argument("rows", nargs="*", metavar="ROW", help="default: all")
    made.add_argument("--json", type=Path, metavar="FILE", help="write results here; they replace those of the rows")
    made.add_argument("--markdown", action="store_true", help="measure nothing, render docs/performance.md")
    return made


def main(argv: Sequence[str] | None = None) -> None:
    """Measure rows, or render docs/performance.md from what has been published."""
    with one_line_errors(PROGRAM):
        options = parser().parse_args(argv)
        if options.markdown:
            page.write()
        else:
            results.measure(options.rows, options.json)


if __name__ == "__main__":
    main()
