"""The process of one side: `python -m benchmarks.side_process NAME K` prepares side K of the row NAME, and answers each
line that it reads (`sides.answer`)."""

import sys

from benchmarks.sides import answer
from benchmarks.table import ROWS
from cqlib.training.device import select_device

if __name__ == "__main__":
    answer(ROWS[sys.argv[1]].sides()[int(sys.argv[2])], select_device())
