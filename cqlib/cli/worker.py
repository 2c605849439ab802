"""One row in a process of its own: `python -m cqlib.cli.worker JSON`, where JSON holds the keywords of `run`.

`cqlib/cli/run_all.py` starts it; what it says on stdout is described in `cqlib/cli/tasks.py`.
"""

from __future__ import annotations

import json
import sys
import traceback

from cqlib.cli.tasks import say
from cqlib.util.errors import UserError
from cqlib.util.stop import interrupt_on_sigterm


def main(argument: str) -> int:
    """Run the row; its exit code: 0 done, 3 stopped and saved, 1 failed or diverged."""
    interrupt_on_sigterm()  # until `run` has its own handlers
    try:
        from cqlib.experiments.run import run

        record = run(
            **json.loads(argument),
            progress=lambda step, steps, left: say(progress=0.9 * step / max(steps, 1)),
            tell=lambda text: say(note=text),
        )
    except KeyboardInterrupt:
        return 3
    except UserError as error:
        say(message=str(error))
        return error.exit_code
    except Exception as error:
        traceback.print_exc()
        say(message=f"{type(error).__name__}: {' '.join(str(error).split())[:200]}")
        return 1
    if record.status == "done":
        return 0
    say(message=f"{record.status}: {'; '.join(record.notes)}; another seed may fare better")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
