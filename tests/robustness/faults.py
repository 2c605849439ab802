"""The fault table: `python tests/robustness/faults.py [--kills 200] [--times 8] [--only NAME] [--json FILE]`.

Every fault many times at random, seeded moments: what it leaves, what is said, which exit code, and that the same
command afterwards ends as if nothing had been. `--kills` counts the signals to a training, `--times` the trials of each
other fault. Exit code 1 when an expectation fails.
"""

from __future__ import annotations

import argparse
import functools
import json
import random
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[2])]

import fault_commands  # noqa: E402
import fault_files  # noqa: E402
from fault_ground import Fault, Ground, struck_until_done  # noqa: E402

from cqlib.util.files import write_atomic  # noqa: E402

TRAINER = {
    f"{name} to a training": Fault(
        "every finished row; of training at most the time between two checkpoints",
        "nothing" if name == "SIGKILL" else "at which step, and that the state is saved",
        "-9" if name == "SIGKILL" else "3",
        functools.partial(struck_until_done, number=number),
    )
    for name, number in fault_commands.BY_SIGNAL.items()
}
TABLE: dict[str, Fault] = {**TRAINER, **fault_files.FAULTS, **fault_commands.FAULTS}


@dataclass
class Tally:
    """What came of a fault: `struck` times, by outcome; for signals to a training the stages they came in; and what
    was not as expected."""

    struck: int = 0
    outcomes: Counter = field(default_factory=Counter)
    stages: Counter = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


def tally(name: str, ground: Ground, times: int, seed: int = 0) -> Tally:
    """Try a fault until it has struck `times`."""
    fault, found = TABLE[name], Tally()
    if why := fault.skip():
        found.outcomes[f"skipped: {why}"] = 1
        return found
    for k in range(10 * times):
        try:
            came = fault.trial(ground, random.Random(f"{seed} {name} {k}"))
        except Exception as error:
            found.struck += 1
            found.wrong.append(f"trial {k}: {' '.join(str(error).split())[:2000] or type(error).__name__}")
            traceback.print_exc()
        else:
            stages = came if isinstance(came, Counter) else Counter()
            found.struck += stages.total() if name in TRAINER else 1
            found.stages += stages
            found.outcomes["went on, same result" if name in TRAINER else came] += 1
        if found.struck >= times:
            break
    return found


def lines(name: str, found: Tally) -> Iterator[str]:
    """A fault's part of the table."""
    fault = TABLE[name]
    outcomes = ", ".join(f"{n} {outcome}" for outcome, n in found.outcomes.items())
    yield f"{name}: {found.struck} times; kept: {fault.kept}; said: {fault.said}; exit code {fault.code}"
    yield f"    {outcomes or 'none as expected'}; {len(found.wrong)} not as expected"
    if found.stages:
        yield f"    while in: {', '.join(f'{stage} {n}' for stage, n in found.stages.items())}"
    yield from (f"    {wrong}" for wrong in found.wrong)


def summary(found: dict[str, Tally], commit: str | None) -> dict:
    """The figures, for reports/published/robustness_faults.json."""
    faults = {}
    for name, one in found.items():
        fault = TABLE[name]
        expected = {"kept": fault.kept, "said": fault.said, "exit_code": fault.code}
        came = {"struck": one.struck, "outcomes": dict(one.outcomes), "not_as_expected": len(one.wrong)}
        faults[name] = {**expected, **came} | ({"stages": dict(one.stages)} if one.stages else {})
    words = "\n".join(line for one in found.values() for line in one.wrong)
    signals = [one.struck for name, one in found.items() if name.startswith("SIG")]
    return {
        "commit": commit,
        "kills": sum(signals),
        "lost_finished_rows": words.count("finished row was lost"),
        "differing_records": words.count("differs in") + words.count("another result"),
        "not_as_expected": sum(len(one.wrong) for one in found.values()),
        "faults": faults,
    }


def main(argv: list[str] | None = None) -> int:
    """Run the table; the exit code."""
    p = argparse.ArgumentParser(description="Faults at random moments: what is kept, said and returned.")
    p.add_argument("--kills", type=int, default=200, help="signals to a training, in all (default: 200)")
    p.add_argument("--times", type=int, default=8, help="trials of each other fault (default: 8)")
    p.add_argument("--only", action="append", choices=TABLE, metavar="NAME", help=f"of: {', '.join(TABLE)}")
    p.add_argument("--seed", type=int, default=0, help="of the moments (default: 0)")
    p.add_argument("--json", type=Path, metavar="FILE", help="write the figures to this file")
    given = p.parse_args(argv)
    from cqlib.util import provenance

    found, began, commit = {}, time.monotonic(), provenance.git_info().commit
    with tempfile.TemporaryDirectory() as folder:
        ground = Ground(Path(folder))
        for name in given.only or TABLE:
            times = -(-given.kills // len(TRAINER)) if name in TRAINER else given.times
            found[name] = tally(name, ground, times, given.seed)
            for line in lines(name, found[name]):
                print(line, flush=True)
            if given.json is not None:
                write_atomic(given.json, json.dumps(summary(found, commit), indent=1) + "\n")
    wrong = sum(len(one.wrong) for one in found.values())
    struck = sum(one.struck for one in found.values())
    print(f"{struck} faults in {time.monotonic() - began:.0f} s, {wrong} not as expected")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
