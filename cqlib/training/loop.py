"""The one training loop, resumable bit for bit on a CPU. A step is `n_critic` critic updates, if the system has a
critic, and `n_generator` generator updates, each on a fresh batch, by the system's own losses (`cqlib.models.base`)."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from cqlib.models.base import Losses, System
from cqlib.recipe import TrainingConfig, check_choices
from cqlib.training.average import Average
from cqlib.training.batches import batches_of, check_images
from cqlib.training.device import check_precision, to_device
from cqlib.training.log import Diverged, Log
from cqlib.training.optimisers import load_state, make_optimiser
from cqlib.training.snapshots import History, save_snapshot
from cqlib.util import provenance
from cqlib.util.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from cqlib.util.device import fork_rng
from cqlib.util.errors import StoppedEarly
from cqlib.util.fp32 import full_fp32
from cqlib.util.provenance import GitInfo
from cqlib.util.stop import StopRequest

UNKNOWN = GitInfo(None, None)
CHECKPOINT_SECONDS = 60.0
"""Seconds between two checkpoints: the most work that a killed run loses, besides the step it is in."""
KEPT = ("key", "step", "seconds")
"""Attributes of a loop that checkpoints keep as they are, beside those of its log."""

Status = Literal["done", "diverged"]
Progress = Callable[[int, int, float], None]
"""(step, steps, seconds left) after every log interval."""
Watch = Callable[["Loop"], None]
"""Called after every step, before the line of the log; it may add numbers to that line, `loop.log.add`, and changes
nothing else."""


@dataclass
class TrainingResult:
    """The outcome of a training. `system` has its averaged weights and is in evaluation mode; `skipped` counts steps
    with an update left out because its loss or gradient was not finite; `device` and `git`, the code, are those of the
    last call, `git` dirty if the code of any call was."""

    system: System
    status: Status
    steps: int
    seconds: float
    skipped: int
    notes: list[str] = field(default_factory=list)
    device: str = ""
    git: GitInfo = UNKNOWN


def train(
    system: System,
    images: Tensor | Iterable[Tensor],
    config: TrainingConfig,
    *,
    seed: int,
    folder: Path | str,
    labels: Tensor | None = None,
    name: str = "training",
    key: str | None = None,
    device: torch.device | str = "cpu",
    stop: StopRequest | None = None,
    progress: Progress | None = None,
    watch: Watch | None = None,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    git: GitInfo = UNKNOWN,
    history: int = 0,
) -> TrainingResult:
    """Train `system` on uint8 `images` (N, C, H, W) of its `shape`. The result's system is a copy with averaged
    weights, in evaluation mode; `system` itself keeps those of the last step, in training mode. Images may also be an
    iterable of such tensors (`training.batches.StreamBatches`); a training on it resumes by the number of steps.

    `labels`, int64 (N,) with -1 for an image without one, reach only systems that use them. The state goes to
    `folder`/`name`.checkpoint every `checkpoint_seconds`; losses go to `folder`/`name`.jsonl, their means over each
    `log_every` steps on a line, in nats per image; where a step updates a net several times, only the last update
    counts. A call with the `key` of an earlier one in this folder resumes where that stopped, whatever else has
    changed; without a key every call starts from the beginning. Samples are kept at so many steps as `history` says, in
    `folder`/`name`.history.png (`training.snapshots.History`). A run that diverges returns its last good state, with
    status "diverged"; its log goes up to the divergence. Raises ValueError for images that do not fit the system and
    labels that do not fit the images; UserError for labels that the system cannot use and for TF32 where there is none;
    `StoppedEarly`, with all saved, when `stop` asks for it or an iterable of images ends or fails.
    """
    device = torch.device(device)
    with fork_rng(device), full_fp32(tf32=config.precision == "tf32"):
        loop = Loop(system, images, labels, config, seed, Path(folder), name, device, key, git, history)
        if key is not None:
            loop.resume()
        try:
            status = loop.run(stop or StopRequest(), progress, watch, checkpoint_seconds)
        except Diverged as error:
            status = loop.go_back(error.step)
    return TrainingResult(
        loop.average.module.eval(), status, loop.step, loop.seconds, loop.log.skipped, loop.notes,  # type: ignore[arg-type]
        loop.device_name, loop.git,
    )  # fmt: skip


class Loop:
    """The state of one training: all that the next step depends on."""

    def __init__(
        self,
        system: System,
        images: Tensor | Iterable[Tensor],
        labels: Tensor | None,
        config: TrainingConfig,
        seed: int,
        folder: Path,
        name: str,
        device: torch.device,
        key: str | None = None,
        git: GitInfo = UNKNOWN,
        history: int = 0,
    ) -> None:
        check_choices(config)
        check_precision(config, device)
        if not system.uses_labels:
            labels = None
        elif labels is None:
            raise ValueError("this system is trained with labels, and there are none")
        else:
            system.check_labels(labels)
        if isinstance(images, Tensor):
            check_images(images, labels, tuple(system.shape))
        torch.manual_seed(seed)
        self.config, self.device, self.key = config, device, key
        self.autocast = torch.autocast(device.type, torch.bfloat16, enabled=config.precision == "bf16")
        self.device_name, self.git = provenance.hardware_name(device), git
        self.path, self.log = folder / f"{name}.checkpoint", Log(folder / f"{name}.jsonl", config.max_nonfinite)
        self.system = to_device(system, config, device).train()
        self.average = Average(self.system, config.ema)
        self.batches = batches_of(images, labels, seed=seed, flips=config.flips, device=device)
        self.base_rates = [config.learning_rate]
        self.optimisers = [make_optimiser(self.system.generator_parameters(), config, self.base_rates[0], config.betas)]
        if critic := self.system.critic_parameters():
            rate = config.learning_rate if config.critic_learning_rate is None else config.critic_learning_rate
            betas = config.betas if config.critic_betas is None else config.critic_betas
            self.base_rates.append(rate)
            self.optimisers.append(make_optimiser(critic, config, rate, betas))
        self.step, self.seconds = 0, 0.0
        self.notes: list[str] = []
        self.history = History(folder / f"{name}.history.png", config.steps, history)
        self.snapshots = {k * config.steps // (config.snapshots + 1) for k in range(1, config.snapshots + 1)}

    def one_step(self) -> tuple[Losses, Tensor]:
        """Take one step: critic updates, generator updates, then the average of the weights. Returns the named losses,
        those of each net's last update alone, and whether all was finite, a flag (). Everything stays on the device,
        and the host waits for nothing."""
        c, system = self.config, self.system
        named: Losses = {}
        finite = []
        system.schedule(self.step, c.steps)
        for each, rate in zip(self.optimisers, self._rates(), strict=True):
            each.param_groups[0]["lr"] = rate
        for k in range(c.n_critic if len(self.optimisers) > 1 else 0):
            of_critic = partial(system.critic_losses, step=self.step * c.n_critic + k)
            losses, good = self._update(of_critic, c.batch_size, self.optimisers[1], c.critic_gradient_clip)
            named |= {f"critic/{name}": value for name, value in losses.items()}
            finite.append(good)
        for _ in range(c.n_generator):
            size = c.batch_size if c.generator_batch is None else c.generator_batch
            losses, good = self._update(system.generator_losses, size, self.optimisers[0], c.gradient_clip)
            named |= losses
            finite.append(good)
        all_finite = torch.stack(finite).all()
        self.average.update(self.system, all_finite)
        return named, all_finite

    def _rates(self) -> list[float]:
        """The learning rate of each optimiser at this step: constant, then falling linearly to 0; times
        `decay_per_step` to the power of the step."""
        c = self.config
        start = c.decay_from * c.steps
        factor = 1.0 if self.step < start else max(0.0, (c.steps - self.step) / max(1.0, c.steps - start))
        return [rate * (factor * c.decay_per_step**self.step) for rate in self.base_rates]

    def _update(
        self, losses_of: Callable[..., Losses], size: int, optim: torch.optim.Optimizer, clip: float | None
    ) -> tuple[Losses, Tensor]:
        """Take one optimiser step on `losses_of`(the next `size` images)["total"], unless that or its gradient is not
        finite: then buffers, such as batch norm's averages, are as before too. Returns the losses with the `gradient`'s
        norm before it is clipped, and whether both are finite, a flag ()."""
        x, labels = self.batches.next(size)
        with self.autocast:
            if self.step == 0 and self.batches.drawn == size:
                self.system.initialise(x)
            buffers = [(buffer, buffer.clone()) for buffer in self.system.buffers()]
            losses = losses_of(x, **labels)
        parameters = optim.param_groups[0]["params"]
        optim.zero_grad(set_to_none=True)
        losses["total"].backward()
        norm = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        losses = {name: value.detach() for name, value in losses.items()} | {"gradient": norm}
        finite = torch.isfinite(norm) & torch.isfinite(losses["total"])
        if clip is not None:
            nn.utils.clip_grads_with_norm_(parameters, clip, norm)
        optim.found_inf = (~finite).float()  # type: ignore[attr-defined]
        optim.step()
        for buffer, before in buffers:
            torch.where(finite, buffer, before, out=buffer)
        return losses, finite

    def run(
        self, stop: StopRequest, progress: Progress | None, watch: Watch | None, checkpoint_seconds: float
    ) -> Status:
        """Take the steps that are left. Raises `StoppedEarly` after saving, and `Diverged`."""
        steps, first_step = self.config.steps, self.step
        began, resumed, saved = time.monotonic() - self.seconds, time.monotonic(), time.monotonic()
        if self.step == 0:
            self.save()  # so that there is a good state to go back to from the first step on
        while self.step < steps:
            if reason := stop.reason():
                self.save()
                raise StoppedEarly(f"stopped at step {self.step} of {steps}: {reason}; the state is saved")
            try:
                losses, finite = self.one_step()
            except StoppedEarly:  # by the source of images
                self.save()
                raise
            self.step += 1
            self.log.take(self.step, losses, finite)
            at_line = self.step % self.config.log_every == 0 or self.step == steps
            if at_line or self.step in self.snapshots | self.history.steps:
                self.log.read()
            self.seconds = time.monotonic() - began
            if self.step in self.snapshots:
                save_snapshot(self.path, self.key, self.step, self.average.module)
            self.history.keep(self.step, self.average.module)  # type: ignore[arg-type]
            if watch is not None:
                watch(self)
            if at_line:
                self.log.end_line(self.step, self.seconds)
                if progress is not None:
                    seconds_per_step = (time.monotonic() - resumed) / (self.step - first_step)
                    progress(self.step, steps, seconds_per_step * (steps - self.step))
            if time.monotonic() - saved >= checkpoint_seconds:
                self.save()
                saved = time.monotonic()
        self.save()
        return "done"

    def go_back(self, step: int) -> Literal["diverged"]:
        """After a divergence at `step`, go back to the last good checkpoint: its state is the run's result. The log
        stays as evidence."""
        log = self.log
        log.end_line(step, self.seconds)
        note = f"diverged: {log.skipped_in_a_row} non-finite steps in a row at step {step}"
        seconds, skipped, lines = self.seconds, log.skipped, log.lines
        self.resume()
        self.seconds, log.skipped, log.lines = seconds, skipped, lines
        log.write()
        self.notes.append(f"{note}; the state of step {self.step} is kept")
        return "diverged"

    def save(self) -> None:
        """Write all that the next step depends on to one file; and the log up to here. Raises `Diverged`."""
        self.log.read()
        state = {
            **{name: getattr(self, name) for name in KEPT},
            **{name: getattr(self.log, name) for name in Log.KEPT},
            "drawn": self.batches.drawn,
            "notes": self.notes,
            "history": self.history.lines,
            "git": dict(vars(self.git)),
            "system": dict(self.system.state_dict()),
            "average": dict(self.average.state_dict()),
            "optimisers": [each.state_dict() for each in self.optimisers],
            "rng": torch.get_rng_state(),
        }
        if self.device.type == "cuda":
            state["cuda_rng"] = torch.cuda.get_rng_state(self.device)
        save_checkpoint(self.path, state)
        self.log.write()

    def resume(self) -> None:
        """Go on from the checkpoint of this training, if there is an intact one."""
        try:
            state = load_checkpoint(self.path)
        except FileNotFoundError:
            return
        except CheckpointError as error:
            self.notes.append(f"{error}; training starts from the beginning")
            return
        if state["key"] != self.key:
            return
        for of, names in ((self, KEPT), (self.log, Log.KEPT)):
            for name in names:
                setattr(of, name, state.get(name, getattr(of, name)))  # an older state may lack one
        self.notes = [*dict.fromkeys([*state["notes"], *self.notes])]
        self.batches.drawn = state["drawn"]
        self.history.lines = state.get("history", [])
        self.git = self.git.after(GitInfo(**state["git"]))
        self.system.load_state_dict(state["system"])
        self.average.load_state_dict(state["average"])
        for each, saved in zip(self.optimisers, state["optimisers"], strict=True):
            load_state(each, saved)
        torch.set_rng_state(state["rng"])
        if self.device.type == "cuda" and "cuda_rng" in state:
            torch.cuda.set_rng_state(state["cuda_rng"], self.device)
