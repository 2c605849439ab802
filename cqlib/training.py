"""The one training loop: likelihood, adversarial and hybrid systems, resumable bit for bit on a CPU.

A step is `n_critic` critic updates, if the system has a critic, and one generator update, each on a fresh batch.
Which losses these are is the system's own business (`cqlib.models.base`).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from cqlib.checkpoint import load_latest, save_checkpoint
from cqlib.errors import StoppedEarly
from cqlib.files import write_atomic
from cqlib.models.base import Losses, System
from cqlib.recipe import TrainingConfig


@dataclass
class Stop:
    """When to stop early: a deadline on the `time.monotonic` clock, or a request from a signal handler."""

    deadline: float | None = None
    requested: str | None = None

    def reason(self) -> str | None:
        """Why to stop now, or None."""
        if self.requested is not None:
            return self.requested
        if self.deadline is not None and time.monotonic() >= self.deadline:
            return "the time budget is used up"
        return None


@dataclass
class TrainingResult:
    """What a finished training says of itself."""

    system: System
    status: Literal["done", "diverged"]
    steps: int
    seconds: float
    skipped: int
    notes: list[str] = field(default_factory=list)


Progress = Callable[[int, int, float], None]
"""(step, steps, seconds left) after every log interval."""


def fast_bf16(device: torch.device) -> bool:
    """Whether the device computes bf16 convolutions in hardware."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return bool(getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)())


def placed(system: System, config: TrainingConfig, device: torch.device) -> System:
    """`system` on the device, in the memory layout it is trained and evaluated in."""
    layout = torch.channels_last if config.channels_last else torch.contiguous_format
    return system.to(device, memory_format=layout)


def train(
    system: System,
    images: Tensor,
    config: TrainingConfig,
    *,
    seed: int,
    folder: Path,
    name: str = "training",
    key: str = "",
    device: torch.device | str = "cpu",
    stop: Stop | None = None,
    progress: Progress | None = None,
    checkpoint_seconds: float = 60.0,
) -> TrainingResult:
    """Train `system` on uint8 `images` (N, C, H, W) and return it with its averaged weights, in eval mode.

    State goes to `folder`/`name`.checkpoint every `checkpoint_seconds`; losses to `folder`/`name`.jsonl, one line
    per `log_every` steps, means in nats per image. The same call goes on where an earlier one stopped; a state saved
    under another `key` is another training's and is not used. Raises `StoppedEarly` after saving when `stop` says
    so. A run that diverges returns its last good state, with that status.
    """
    with torch.random.fork_rng(devices=[device] if torch.device(device).type == "cuda" else []):
        loop = _Loop(system, images, config, seed, folder, name, torch.device(device), key)
        loop.resume()
        status = loop.run(stop or Stop(), progress, checkpoint_seconds)
    average = loop.average.module
    average.eval()
    return TrainingResult(average, status, loop.step, loop.seconds, loop.skipped, loop.notes)


class _Loop:
    """The state of one training and the moves on it."""

    def __init__(self, system, images, config: TrainingConfig, seed: int, folder: Path, name: str, device, key=""):
        torch.manual_seed(seed)
        self.config, self.seed, self.device, self.key = config, seed, device, key
        self.path, self.log_path = folder / f"{name}.checkpoint", folder / f"{name}.jsonl"
        self.system = placed(system, config, device).train()
        self.average = AveragedModel(self.system, multi_avg_fn=_warm_ema(config.ema), use_buffers=True)
        self.images = images.to(device)
        if config.compile:
            for child_name, child in self.system.named_children():
                if child_name != "critic":
                    child.compile()
        self.optimisers = [_optimiser(self.system.generator_parameters(), config, config.learning_rate)]
        if critic := self.system.critic_parameters():
            rate = config.critic_learning_rate or config.learning_rate
            self.optimisers.append(_optimiser(critic, config, rate))
        self.step = self.drawn = self.skipped = self.skipped_in_a_row = 0
        self.seconds = 0.0
        self.sums: dict[str, float] = {}
        self.counts: dict[str, int] = {}
        self.lines: list[str] = []
        self.notes: list[str] = []
        self._epoch, self._order = -1, torch.empty(0, dtype=torch.long)

    # --- one step --------------------------------------------------------------------------------------------

    def batch(self) -> Tensor:
        """The next `batch_size` images in an order that depends on seed and position alone, perhaps flipped."""
        indices = []
        for position in range(self.drawn, self.drawn + self.config.batch_size):
            epoch, offset = divmod(position, len(self.images))
            if epoch != self._epoch:
                order = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
                self._epoch, self._order = epoch, torch.randperm(len(self.images), generator=order).tolist()
            indices.append(self._order[offset])
        self.drawn += self.config.batch_size
        x = self.images[torch.tensor(indices, device=self.device)]
        if self.config.flips:
            flip = torch.rand(len(x), 1, 1, 1, device=self.device) < 0.5
            x = torch.where(flip, x.flip(3), x)
        return x

    def autocast(self) -> AbstractContextManager:
        use = self.config.autocast == "auto" and fast_bf16(self.device)
        return torch.autocast(self.device.type, torch.bfloat16) if use else nullcontext()

    def update(self, losses: Losses, optimiser: torch.optim.Optimizer, clip: float | None) -> bool:
        """One optimiser step on losses["total"]; False, and nothing changed, if anything is not finite."""
        parameters = optimiser.param_groups[0]["params"]
        optimiser.zero_grad(set_to_none=True)
        losses["total"].backward()
        gradients = [p.grad for p in parameters if p.grad is not None]
        norm = nn.utils.get_total_norm(gradients)
        if not bool(torch.isfinite(norm) & torch.isfinite(losses["total"])):
            return False
        if clip is not None:
            nn.utils.clip_grads_with_norm_(parameters, clip, norm)
        optimiser.step()
        return True

    def one_step(self) -> tuple[Losses, bool]:
        """Critic updates, generator update, average; the named losses, and whether all were finite."""
        named: Losses = {}
        finite = True
        for optimiser, rate in zip(self.optimisers, self._rates(), strict=True):
            optimiser.param_groups[0]["lr"] = rate
        if len(self.optimisers) > 1:
            for k in range(self.config.n_critic):
                with self.autocast():
                    losses = self.system.critic_losses(self.batch(), step=self.step * self.config.n_critic + k)
                finite &= self.update(losses, self.optimisers[1], None)
                named |= {f"critic/{key}": value.detach() for key, value in losses.items()}
        with self.autocast():
            losses = self.system.generator_losses(self.batch())
        finite &= self.update(losses, self.optimisers[0], self.config.gradient_clip)
        named |= {key: value.detach() for key, value in losses.items()}
        if finite:
            self.average.update_parameters(self.system)
        return named, finite

    def _rates(self) -> list[float]:
        c = self.config
        start = c.decay_from * c.steps
        factor = 1.0 if self.step < start else max(0.0, (c.steps - self.step) / max(1.0, c.steps - start))
        return [rate * factor for rate in (c.learning_rate, c.critic_learning_rate or c.learning_rate)][
            : len(self.optimisers)
        ]

    # --- the loop --------------------------------------------------------------------------------------------

    def run(self, stop: Stop, progress: Progress | None, checkpoint_seconds: float) -> Literal["done", "diverged"]:
        config, sums, counts = self.config, self.sums, self.counts
        began, saved = time.monotonic() - self.seconds, time.monotonic()
        first_step, first_time = self.step, time.monotonic()
        if self.step == 0:
            self.save()  # so that there is a good state to go back to from the first step on
        while self.step < config.steps:
            if reason := stop.reason():
                self.save()
                raise StoppedEarly(f"stopped at step {self.step} of {config.steps}: {reason}; the state is saved")
            losses, finite = self.one_step()
            if finite:
                self.skipped_in_a_row = 0
            else:
                self.skipped += 1
                self.skipped_in_a_row += 1
                if self.skipped_in_a_row >= config.max_nonfinite:
                    return self._diverged()
            self.step += 1
            for key, value in losses.items():
                if torch.isfinite(value):
                    sums[key] = sums.get(key, 0.0) + float(value)
                    counts[key] = counts.get(key, 0) + 1
            self.seconds = time.monotonic() - began
            if self.step % config.log_every == 0 or self.step == config.steps:
                means = {key: round(sums[key] / counts[key], 5) for key in sums}
                line = {"step": self.step, "seconds": round(self.seconds, 2), "skipped": self.skipped, **means}
                self.lines.append(json.dumps(line))
                sums.clear()
                counts.clear()
                if progress is not None:
                    pace = (time.monotonic() - first_time) / (self.step - first_step)
                    progress(self.step, config.steps, pace * (config.steps - self.step))
            if time.monotonic() - saved >= checkpoint_seconds:
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

    def save(self) -> None:
        """Everything that the next step depends on, in one file; and the log up to here."""
        state = {
            "key": self.key,
            "step": self.step,
            "drawn": self.drawn,
            "skipped": self.skipped,
            "seconds": self.seconds,
            "lines": self.lines,
            "sums": self.sums,
            "counts": self.counts,
            "system": dict(self.system.state_dict()),
            "average": dict(self.average.state_dict()),
            "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
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
        self.step, self.drawn, self.skipped = state["step"], state["drawn"], state["skipped"]
        self.seconds, self.lines, self.skipped_in_a_row = state["seconds"], list(state["lines"]), 0
        self.sums, self.counts = dict(state["sums"]), dict(state["counts"])
        self.system.load_state_dict(state["system"])
        self.average.load_state_dict(state["average"])
        for optimiser, saved in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)
            _match_layouts(optimiser)
        torch.set_rng_state(state["rng"])
        if self.device.type == "cuda" and "cuda_rng" in state:
            torch.cuda.set_rng_state(state["cuda_rng"], self.device)
        return True


def _optimiser(parameters: list[nn.Parameter], config: TrainingConfig, rate: float) -> torch.optim.Optimizer:
    if config.optimiser == "adam":
        return torch.optim.Adam(parameters, lr=rate, betas=config.betas, fused=True)
    if config.optimiser == "adamax":
        return torch.optim.Adamax(parameters, lr=rate, betas=config.betas, foreach=True)
    raise ValueError(f"unknown optimiser '{config.optimiser}': adam or adamax")


def _match_layouts(optimiser: torch.optim.Optimizer) -> None:
    """Give each state tensor its parameter's memory layout, which the file does not keep: fused kernels go
    through both in the order of memory, so that a mismatch would mix up channels without a word."""
    for parameter, state in optimiser.state.items():
        for key, value in state.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                state[key] = torch.empty_like(parameter).copy_(value)


def _warm_ema(decay: float) -> Callable[[list[Tensor], list[Tensor], Tensor | int], None]:
    """Exponential moving average whose decay rises as (1 + t) / (10 + t), so that the start is forgotten."""

    def update(averages: list[Tensor], current: list[Tensor], n_averaged: Tensor | int) -> None:
        t = float(n_averaged)
        weight = 1 - min(decay, (1 + t) / (10 + t))
        if averages[0].is_floating_point():
            torch._foreach_lerp_(averages, current, weight)
        else:  # counters, such as batch norm's
            for a, c in zip(averages, current, strict=True):
                a.copy_(c)

    return update
