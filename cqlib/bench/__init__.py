"""python -m cqlib bench: what this project says is fast, against what it replaces, side by side in one run.

`measuring` says how two sides are compared; each of `steps`, `flow`, `images`, `sampling` and `memory` has one group of
rows, `plain` and `peers` the other sides: a textbook loop, and public libraries; `table` holds all rows and the command.
"""

from cqlib.bench.table import main

__all__ = ["main"]
