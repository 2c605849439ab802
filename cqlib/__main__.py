"""python -m cqlib."""

import sys

from cqlib.suite.cli.commands import main

sys.exit(main())
