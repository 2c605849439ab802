"""One large CQ-F on several GPUs, or on several processes of a CPU, by torch's DistributedDataParallel.

    torchrun --nproc-per-node 4 examples/torchrun.py

Each process draws images and noise of its own, and the gradients are averaged before each update: a step is that of one
process with the images of all. The model is saved for `cqlib.load("torchrun-model")`.
"""

import os
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

import cqlib
from cqlib import data


def train(model: cqlib.CQF, forward: nn.Module, images: Tensor, steps: int, batch: int) -> Tensor:
    """Train `model` by losses of `forward`, the model itself or what wraps it, on `batch` uint8 images (N, C, S, S) a
    step. Returns the losses of critic and generator, in nats per image, (steps, 2)."""
    critic = torch.optim.Adam(model.critic_parameters(), lr=5e-4, betas=(0.5, 0.99))
    generator = torch.optim.Adam(model.generator_parameters(), lr=5e-4)
    losses = []
    for step in range(steps):
        for part, adam in (("critic", critic), ("generator", generator)):
            x = images[torch.randint(len(images), (batch,), device=images.device)]
            loss = forward(x, part, step=step)["total"]
            adam.zero_grad()
            loss.backward()
            if part == "generator":
                nn.utils.clip_grad_norm_(model.generator_parameters(), 20.0 * images[0].numel())
            adam.step()
            losses.append(loss.detach())
    return torch.stack(losses).view(steps, 2)


def main(size: int = 64, steps: int = 10_000, batch: int = 16, folder: str = "torchrun-model", **nets: Any) -> Tensor:
    """Train one of the processes that torchrun has started; returns the losses of all, on average."""
    on_gpu = torch.cuda.is_available()
    distributed.init_process_group("nccl" if on_gpu else "gloo")
    if on_gpu:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    torch.manual_seed(distributed.get_rank())  # for images and noise; the weights at the start are those of process 0
    model = cqlib.CQF(size, **nets).to("cuda" if on_gpu else "cpu")
    images = data.load("photos10", size=size).train.images.to(model.device)
    together = DistributedDataParallel(model, find_unused_parameters=True)  # each update leaves out the other net
    losses = train(model, together, images, steps, batch)
    distributed.all_reduce(losses)
    losses /= distributed.get_world_size()
    if distributed.get_rank() == 0:
        critic, generator = losses[-1].tolist()
        print(f"{model.save(folder)}: losses of the last step {critic:.2f} and {generator:.1f} nats per image")
    distributed.barrier()  # none leaves while another is at work
    distributed.destroy_process_group()
    return losses


if __name__ == "__main__":
    main(widths=(64, 128, 256, 512), latent=128)
