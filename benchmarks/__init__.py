"""python -m cqlib bench: what this project says is fast, against what it replaces, side by side in one run.

`measuring` says how two sides are compared, `apart` runs each in its own process, `machine` what the machine could do
at best. `steps`, `flow`, `images`, `sampling`, `memory` and `two_workers` have a group of rows each; `plain`,
`torchflows_nvp` and `sngan_example` the other sides: a textbook loop, and public libraries. `table` holds all rows and
the command.
"""

from benchmarks.table import main

__all__ = ["main"]
