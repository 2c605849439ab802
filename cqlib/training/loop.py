"""The one training loop: likelihood, adversarial and hybrid systems, resumable bit for bit on a CPU.

A step is `n_critic` critic updates, if the system has a critic, and `n_generator` generator updates, each on a fresh
batch. Which losses these are is the system's own business (`cqlib.models.base`).
"""

from __future__ import annotations

import json
import math
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from cqlib.models.base import Losses, System
from cqlib.recipe import TrainingConfig
from cqlib.training.allocator import keep_freed_memory
from cqlib.training.batches import Feed
from cqlib.training.cuda_graphs import Graphs, Part
from cqlib.training.device import fast_bf16, placed
from cqlib.training.optimisers import Average, load_state, optimiser, saved_state, set_rate, step_unless
from cqlib.util import provenance
from cqlib.util.checkpoint import CheckpointError, load_checkpoint, load_latest, save_checkpoint
from cqlib.util.errors import StoppedEarly, UserError
from cqlib.util.files import write_atomic
from cqlib.util.provenance import GitInfo
from cqlib.util.stop import StopRequest

UNKNOWN = GitInfo(None, None)
READ_EVERY = 25
"""On a GPU: steps after which the host reads their losses, all at once, instead of waiting for the device in each."""
CHECKPOINT_SECONDS = 60.0
"""Between two checkpoints: what a killed run loses at most, but for the step it is in. A checkpoint takes its room on
the disk three times while it is written, twice before and after."""


@dataclass
class TrainingResult:
    """What a finished training says of itself."""

    system: System
    status: Literal["done", "diverged"]
    steps: int
    seconds: float
    skipped: int
    notes: list[str] = field(default_factory=list)
    device: str = ""
    """What its last step ran on, and in which precision; a note tells what earlier steps ran on if it is another."""
    git: GitInfo = UNKNOWN
    """The code of its last step, dirty if that of any step was; a note tells of which commit earlier steps are."""


Progress = Callable[[int, int, float], None]
"""(step, steps, seconds left) after every log interval."""


def measure(system: System, config: TrainingConfig, device: torch.device, steps: int = 2) -> float:
    """Seconds per training step in the middle of training, measured on `steps` of them after a first one, on random
    images; kernel by kernel, also where CUDA graphs are asked for."""
    config = replace(config, cuda_graphs=False)
    devices = [device] if device.type == "cuda" else []
    with tempfile.TemporaryDirectory() as folder, torch.random.fork_rng(devices=devices):
        images = torch.randint(256, (2 * config.batch_size, *system.shape), dtype=torch.uint8)
        labels = torch.zeros(len(images), dtype=torch.long)
        loop = _Loop(system, images, labels, config, 0, Path(folder), "measure", device)
        loop.step = config.steps // 2  # a system that grows is cheap at its start
        loop.one_step()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        began = time.monotonic()
        for _ in range(steps):
            loop.one_step()
            loop.step += 1
        if device.type == "cuda":
            torch.cuda.synchronize(device)
    return (time.monotonic() - began) / steps


def stepper(system: System, images: Tensor, config: TrainingConfig, device: torch.device) -> Callable[[], Losses]:
    """A call that takes the next training step on `images`, as `train` does in the middle of its steps, and returns
    the losses. For systems without labels; the state of random numbers is set to a seed's, and nothing is saved."""
    loop = _Loop(system, images, None, config, 0, Path(), "steps", device)
    loop.step = config.steps // 2

    def step() -> Losses:
        losses, _ = loop.one_step()
        loop.step += 1
        return losses

    return step


def train(
    system: System,
    images: Tensor,
    config: TrainingConfig,
    *,
    seed: int,
    folder: Path,
    labels: Tensor | None = None,
    name: str = "training",
    key: str = "",
    device: torch.device | str = "cpu",
    stop: StopRequest | None = None,
    progress: Progress | None = None,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    git: GitInfo = UNKNOWN,
) -> TrainingResult:
    """Train `system` on uint8 `images` (N, C, H, W) and return it with its averaged weights, in eval mode.

    `labels` int64 (N,), -1 for none, reach only systems that use them; ValueError when those get none. State goes to
    `folder`/`name`.checkpoint every `checkpoint_seconds`; losses to `folder`/`name`.jsonl, one line per `log_every`
    steps, means in nats per image. The same call goes on where an earlier one stopped; a state saved under another
    `key` is another training's and is not used. `git` is the code of this call. Raises `StoppedEarly` after saving when
    `stop` says so. A run that diverges returns its last good state, with that status.
    """
    with torch.random.fork_rng(devices=[device] if torch.device(device).type == "cuda" else []):
        loop = _Loop(system, images, labels, config, seed, folder, name, torch.device(device), key, git)
        loop.resume()
        status = loop.run(stop or StopRequest(), progress, checkpoint_seconds)
    average = loop.average.module
    average.eval()
    notes, device = [*loop.notes, *loop.moves()], loop.devices[-1][1]
    return TrainingResult(average, status, loop.step, loop.seconds, loop.skipped, notes, device, loop.git())


class _Loop:
    """The state of one training and the moves on it."""

    def __init__(self, system, images, labels, config: TrainingConfig, seed, folder: Path, name: str, device, key="",
                 git: GitInfo = UNKNOWN):  # fmt: skip
        if system.uses_labels and labels is None:
            raise ValueError("this system is trained with labels, and none are given")
        if system.uses_labels:
            system.check_labels(labels)
        if config.cuda_graphs and system.kernels(0) is None:
            raise UserError("cuda_graphs: this system's steps are not the same kernels every time")
        keep_freed_memory()
        torch.manual_seed(seed)
        self.config, self.device, self.key = config, device, key
        self.bf16 = config.autocast == "auto" and fast_bf16(device)
        self.devices: list[list] = [[0, provenance.device_name(device, bf16=self.bf16)]]
        """The first step on each device, and its name."""
        self.codes: list[list] = [[0, git.commit, git.dirty]]
        """The first step with each state of the code, its commit, and whether files differed from it."""
        self.path, self.log_path = folder / f"{name}.checkpoint", folder / f"{name}.jsonl"
        self.system = placed(system, config, device).train()
        self.average = Average(self.system, config.ema)
        labels = labels if system.uses_labels else None
        self.feed = Feed(images, labels, seed=seed, flips=config.flips, device=device)
        if config.compile:
            for child_name, child in self.system.named_children():
                if child_name != "critic":
                    child.compile()
        self.optimisers = [optimiser(self.system.generator_parameters(), config, config.learning_rate)]
        if critic := self.system.critic_parameters():
            rate = config.critic_learning_rate or config.learning_rate
            self.optimisers.append(optimiser(critic, config, rate))
        self.graphs = Graphs() if config.cuda_graphs and self.device.type == "cuda" else None
        self.step = self.skipped = self.skipped_in_a_row = 0
        self.waits = self.device.type != "cuda"
        self.unread: list[tuple[Losses, Tensor]] = []
        """Of the last steps: losses, and whether all was finite."""
        self.seconds = 0.0
        self.sums: dict[str, float] = {}
        self.counts: dict[str, int] = {}
        self.lines: list[str] = []
        self.notes: list[str] = []
        self.snapshots = {k * config.steps // (config.snapshots + 1) for k in range(1, config.snapshots + 1)}

    # --- one step --------------------------------------------------------------------------------------------

    def autocast(self) -> AbstractContextManager:
        return torch.autocast(self.device.type, torch.bfloat16) if self.bf16 else nullcontext()

    def update(self, losses: Losses, optimiser: torch.optim.Optimizer, clip: float | None) -> Tensor:
        """One optimiser step on losses["total"] if all is finite, else none; whether it was (bool, no dimension)."""
        parameters = optimiser.param_groups[0]["params"]
        optimiser.zero_grad(set_to_none=True)
        losses["total"].backward()
        norm = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        finite = torch.isfinite(norm) & torch.isfinite(losses["total"])
        if self.waits and not finite:
            return finite
        if clip is not None:
            nn.utils.clip_grads_with_norm_(parameters, clip, norm)
        if self.waits:
            optimiser.step()
        else:
            step_unless(optimiser, ~finite)
        return finite

    def _critic(self, x: Tensor, step: int, labels: dict[str, Tensor]) -> tuple[Losses, Tensor]:
        """An update of the critic: its losses, and whether all was finite."""
        with self.autocast():
            losses = self.system.critic_losses(x, step=step, **labels)
        finite = self.update(losses, self.optimisers[1], None)
        return {f"critic/{key}": value.detach() for key, value in losses.items()}, finite

    def _generator(self, x: Tensor, labels: dict[str, Tensor]) -> tuple[Losses, Tensor]:
        """An update of all but the critic, likewise."""
        with self.autocast():
            losses = self.system.generator_losses(x, **labels)
        finite = self.update(losses, self.optimisers[0], self.config.gradient_clip)
        return {key: value.detach() for key, value in losses.items()}, finite

    def _part(self, name: str, part: Part, x: Tensor) -> tuple[Losses, Tensor]:
        """`part`(x), as the CUDA graph of that name where graphs are asked for."""
        return part(x) if self.graphs is None else self.graphs(name, part, x)

    def one_step(self) -> tuple[Losses, Tensor]:
        """Critic updates, generator updates, average; the named losses, and whether all was finite (a bool tensor).

        Nothing in it waits for a GPU. There the average takes in the weights of a bad step too: they are those of the
        step before.
        """
        c = self.config
        named: Losses = {}
        finite = []
        self.system.schedule(self.step, c.steps)
        for moved, rate in zip(self.optimisers, self._rates(), strict=True):
            set_rate(moved, rate)
        for k in range(c.n_critic if len(self.optimisers) > 1 else 0):
            x, labels = self.feed.batch(c.batch_size)
            step = self.step * c.n_critic + k
            name = f"critic, {self.system.kernels(step)}"
            losses, good = self._part(name, lambda x, s=step, known=labels: self._critic(x, s, known), x)
            named |= losses
            finite.append(good)
        for _ in range(c.n_generator):
            x, labels = self.feed.batch(c.generator_batch or c.batch_size)
            losses, good = self._part("generator", lambda x, known=labels: self._generator(x, known), x)
            named |= losses
            finite.append(good)
        all_finite = torch.stack(finite).all()
        if not self.waits or all_finite:
            self.average.update_parameters(self.system)
        return named, all_finite

    def read(self) -> bool:
        """Add the losses of the last steps up, and count those that were not finite; True when they were too many in
        a row."""
        steps, self.unread = self.unread, []
        values = [value.double() for losses, finite in steps for value in (finite, *losses.values())]
        numbers = iter(torch.stack(values).tolist() if values else ())  # at once: one wait for the device
        for losses, _ in steps:
            bad = 1 - int(next(numbers))
            self.skipped += bad
            self.skipped_in_a_row = (self.skipped_in_a_row + 1) * bad
            for key, value in zip(losses, numbers, strict=False):
                if math.isfinite(value):
                    self.sums[key] = self.sums.get(key, 0.0) + value
                    self.counts[key] = self.counts.get(key, 0) + 1
            if self.skipped_in_a_row >= self.config.max_nonfinite:
                return True
        return False

    def _rates(self) -> list[float]:
        c = self.config
        start = c.decay_from * c.steps
        factor = 1.0 if self.step < start else max(0.0, (c.steps - self.step) / max(1.0, c.steps - start))
        factor *= c.decay_per_step**self.step
        return [rate * factor for rate in (c.learning_rate, c.critic_learning_rate or c.learning_rate)][
            : len(self.optimisers)
        ]

    # --- the loop --------------------------------------------------------------------------------------------

    def run(
        self, stop: StopRequest, progress: Progress | None, checkpoint_seconds: float
    ) -> Literal["done", "diverged"]:
        config = self.config
        began, saved = time.monotonic() - self.seconds, time.monotonic()
        first_step, first_time = self.step, time.monotonic()
        if self.step == 0:
            self.save()  # so that there is a good state to go back to from the first step on
        while self.step < config.steps:
            if reason := stop.reason():
                if self.read():
                    return self._diverged()
                self.save()
                raise StoppedEarly(f"stopped at step {self.step} of {config.steps}: {reason}; the state is saved")
            self.unread.append(self.one_step())
            self.step += 1
            keep, log = self.step in self.snapshots, self.step % config.log_every == 0 or self.step == config.steps
            due = time.monotonic() - saved >= checkpoint_seconds
            if (self.waits or keep or log or due or len(self.unread) >= READ_EVERY) and self.read():
                return self._diverged()
            if keep:
                self.keep(self.step)
            self.seconds = time.monotonic() - began
            if log:
                means = {key: round(total / self.counts[key], 5) for key, total in self.sums.items()}
                line = {"step": self.step, "seconds": round(self.seconds, 2), "skipped": self.skipped, **means}
                self.lines.append(json.dumps(line))
                self.sums, self.counts = {}, {}
                if progress is not None:
                    pace = (time.monotonic() - first_time) / (self.step - first_step)
                    progress(self.step, config.steps, pace * (config.steps - self.step))
            if due:
                self.save()
                saved = time.monotonic()
        self.save()
        return "done"

    def _diverged(self) -> Literal["diverged"]:
        """Back to the last good checkpoint, which is what the run is worth."""
        k = self.skipped_in_a_row
        note = f"{k} non-finite steps in a row at step {self.step}"
        skipped, seconds = self.skipped, self.seconds
        self.resume()
        self.skipped, self.seconds = skipped, seconds
        self.notes.append(f"diverged: {note}; the state of step {self.step} is kept")
        return "diverged"

    # --- state -----------------------------------------------------------------------------------------------

    def keep(self, step: int) -> None:
        """The averaged weights of this step, beside the checkpoint."""
        state = {"key": self.key, "step": step, "weights": dict(self.average.module.state_dict())}
        save_checkpoint(snapshot_path(self.path, step), state, keep_previous=False)

    def save(self) -> None:
        """Everything that the next step depends on, in one file; and the log up to here."""
        state = {
            "key": self.key,
            "step": self.step,
            "drawn": self.feed.drawn,
            "skipped": self.skipped,
            "seconds": self.seconds,
            "lines": self.lines,
            "sums": self.sums,
            "counts": self.counts,
            "devices": self.devices,
            "codes": self.codes,
            "system": dict(self.system.state_dict()),
            "average": dict(self.average.state_dict()),
            "optimisers": [saved_state(moved) for moved in self.optimisers],
            "rng": torch.get_rng_state(),
        }
        if self.device.type == "cuda":
            state["cuda_rng"] = torch.cuda.get_rng_state(self.device)
        save_checkpoint(self.path, state)
        write_atomic(self.log_path, "".join(line + "\n" for line in self.lines))

    def resume(self) -> bool:
        """Load the newest whole checkpoint of this training; False if there is none."""
        state, problems = load_latest(self.path)
        used = "an older state is used" if state else "training starts anew"
        self.notes += [f"{problem}; {used}" for problem in problems]
        if state is None or state["key"] != self.key:
            return False
        self.step, self.feed.drawn, self.skipped = state["step"], state["drawn"], state["skipped"]
        self.seconds, self.lines, self.skipped_in_a_row = state["seconds"], list(state["lines"]), 0
        self.sums, self.counts = dict(state["sums"]), dict(state["counts"])
        self.devices = self._joined(state.get("devices", []), self.devices[-1])
        self.codes = self._joined(state.get("codes", [[0, None, None]]), self.codes[-1])  # earlier versions kept none
        self.system.load_state_dict(state["system"])
        self.average.load_state_dict(state["average"])
        for moved, saved in zip(self.optimisers, state["optimisers"], strict=True):
            load_state(moved, saved)
        torch.set_rng_state(state["rng"])
        if self.device.type == "cuda" and "cuda_rng" in state:
            torch.cuda.set_rng_state(state["cuda_rng"], self.device)
        return True

    def _joined(self, earlier: Sequence[list], here: list) -> list[list]:
        """What was so for the steps before this one, and `here`, [step, *what], where that is something else and a step
        is still to come."""
        earlier = [one for one in earlier if one[0] < self.step]
        if earlier and (earlier[-1][1:] == here[1:] or self.step >= self.config.steps):
            return earlier
        return [*earlier, [self.step, *here[1:]]]

    def moves(self) -> list[str]:
        """A note on each change of device or precision, and of the commit."""
        found = []
        for words, past in (("on", self.devices), ("with the code of", [code for code in self.codes if code[1]])):
            for (_, before, *_), (step, after, *_) in pairwise(past):
                if before != after:
                    found.append(f"up to step {step} {words} {before}, then {words} {after}")
        return found

    def git(self) -> GitInfo:
        """The code of the last step, dirty if that of any was."""
        *earlier, here = (GitInfo(commit, dirty) for _, commit, dirty in self.codes)
        return here.after(*earlier)


def snapshot_path(checkpoint: Path, step: int) -> Path:
    """Where the averaged weights of a step are kept: `training.step-375.safetensors`."""
    return checkpoint.with_name(f"{checkpoint.stem}.step-{step}.safetensors")


def snapshots(folder: Path, name: str, key: str) -> dict[int, dict[str, Tensor]]:
    """Step -> averaged weights of each snapshot of a training; those of another `key` or damaged are left out."""
    found = {}
    for path in folder.glob(f"{name}.step-*.safetensors"):
        try:
            state = load_checkpoint(path)
        except CheckpointError:
            continue
        if state["key"] == key:
            found[state["step"]] = state["weights"]
    return dict(sorted(found.items()))
