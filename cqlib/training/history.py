"""What a training ran on, and with which code, from its first step to its last."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from cqlib.util.provenance import GitInfo


class RunProvenance:
    """The devices and the states of the code that a training used in turn, each as [first step, *value]; checkpoints
    keep both lists."""

    def __init__(self, device: str, git: GitInfo) -> None:
        self.devices: list[list[Any]] = [[0, device]]
        self.commits: list[list[Any]] = [[0, git.commit, git.dirty]]

    def resume(self, state: dict[str, Any], step: int, steps: int) -> None:
        """Take over the entries of a checkpoint at `step` of `steps`. The present device and code follow them if they
        differ and a step is left to take."""
        self.devices = _joined(state["devices"], self.devices[-1], step, steps)
        self.commits = _joined(state["codes"], self.commits[-1], step, steps)

    def git(self) -> GitInfo:
        """The code of the last step, dirty if that of any step was."""
        *earlier, last = (GitInfo(commit, dirty) for _, commit, dirty in self.commits)
        return last.after(*earlier)

    def notes(self) -> list[str]:
        """A note on each change of device and of the commit."""
        changes = []
        for words, entries in (("on", self.devices), ("with the code of", [code for code in self.commits if code[1]])):
            for (_, before, *_), (step, after, *_) in pairwise(entries):
                if before != after:
                    changes.append(f"up to step {step} {words} {before}, then {words} {after}")
        return changes


def _joined(earlier: Sequence[list[Any]], present: list[Any], step: int, steps: int) -> list[list[Any]]:
    earlier = [entry for entry in earlier if entry[0] < step]
    if earlier and (earlier[-1][1:] == present[1:] or step >= steps):
        return earlier
    return [*earlier, [step, *present[1:]]]
