"""python -m cqlib."""

import sys

from cqlib.cli.commands import main

sys.exit(main())
