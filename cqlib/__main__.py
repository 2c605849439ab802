"""python -m cqlib."""

import sys

from cqlib.cli import main

sys.exit(main())
