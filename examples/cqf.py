"""CQ-F in one file: a VAE with a Gaussian decoder in the feature space of an invertible f, trained by L_C + lambda L_Q.

    z ~ N(0, I),   y ~ N(mu(z), diag(sigma(z)^2)),   x = f^-1(y)

`python examples/cqf.py` trains for about two minutes on three digits on dark grounds, and saves cqf.png: a row of
held-out images and two rows of samples x ~ p_theta. The lesson 06_cqf_put_together explains the same code.
"""

import math
from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus
from torchvision.utils import save_image

from cqlib.data import photodigits

# From here on the cells of notebooks/solutions/06_cqf_put_together.ipynb, written by tools/notebooks.py


def images_of(classes: list[int], n: int, seed: int) -> Tensor:
    """n images of these digits on dark grounds, uint8 (n, 3, 16, 16)."""
    colours = np.random.default_rng(seed).integers(0, 48, (n, 1, 1, 3))
    grounds = np.broadcast_to(colours, (n, 16, 16, 3)).astype(np.uint8)
    images = photodigits.digits(np.resize(classes, n), grounds, np.random.PCG64(seed))
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()


def in_cells(pixels: Tensor) -> Tensor:
    """uint8 -> [-1, 1): a random point of each pixel's cell, which is 1/128 wide."""
    return (pixels + torch.rand(pixels.shape)) / 128 - 1


LATENT, WIDTH = 64, 32


def narrowing(outputs: int, act: nn.Module) -> nn.Sequential:
    """(N, 3, 16, 16) -> (N, outputs): the encoder; and the critic, whose one output is l(x)."""
    first = nn.Conv2d(3, WIDTH, 3, padding=1)
    second, third = (nn.Conv2d(a, 2 * a, 4, stride=2, padding=1) for a in (WIDTH, 2 * WIDTH))
    last = nn.Linear(4 * WIDTH * 4 * 4, outputs)
    return nn.Sequential(first, act, second, act, third, act, nn.Flatten(), last)


def widening(outputs: int) -> nn.Sequential:
    """z (N, 64) -> (N, outputs, 16, 16): the decoder."""
    first, elu = nn.Linear(LATENT, 4 * WIDTH * 4 * 4), nn.ELU()
    second, third = (nn.ConvTranspose2d(2 * a, a, 4, 2, 1) for a in (2 * WIDTH, WIDTH))
    last = nn.Conv2d(WIDTH, outputs, 3, padding=1)
    image = nn.Unflatten(1, (4 * WIDTH, 4, 4))
    return nn.Sequential(first, elu, image, second, elu, third, elu, last)


def coupling_net(width: int = WIDTH // 2) -> nn.Sequential:
    """(N, 3, S, S) -> (N, 6, S, S): t and ln s, both 0 at first, so that f is the rotation."""
    widths = (3, width), (width, width), (width, 6)
    first, second, last = (nn.Conv2d(a, b, 3, padding=1) for a, b in widths)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), last)


OPPONENTS = torch.tensor([[1, 1, 1], [1, 0, -1], [-1, 2, -1]], dtype=torch.float64)
ROTATION = OPPONENTS / OPPONENTS.norm(dim=1, keepdim=True)  # of red, green and blue


class Flow(nn.ModuleList):
    """f, images x -> features y: for each net a matrix W mixes the colours of every pixel, and a coupling follows,
    y1 = x1, y2 = t(x1) + s(x1) x2."""

    def __init__(self, nets: Iterable[nn.Module]) -> None:
        super().__init__(nets)
        self.colours = nn.Parameter(torch.eye(3).repeat(len(self), 1, 1))
        self.colours.data[:1] = ROTATION

    def t_and_log_s(self, k: int, x: Tensor) -> tuple[Tensor, Tensor]:
        """t and ln s of coupling k, (N, 3, S, S), which are 0 at the pixels x1; |ln s| < 4."""
        rows, columns = (torch.arange(side) for side in x.shape[2:])
        second = ((rows[:, None] + columns + k) % 2).to(x)
        t, raw = self[k]((1 - second) * x).chunk(2, dim=1)
        return second * t, second * 4 * torch.tanh(raw / 4)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """y = f(x), and ln |det df/dx|, the sum of S^2 ln |det W| and ln s (N,)."""
        log_det = x.shape[2] * x.shape[3] * torch.linalg.slogdet(self.colours).logabsdet.sum()
        for k, w in enumerate(self.colours):
            x = torch.einsum("dc,nchw->ndhw", w, x)
            t, log_s = self.t_and_log_s(k, x)
            x, log_det = t + log_s.exp() * x, log_det + log_s.flatten(1).sum(1)
        return x, log_det.expand(len(x))

    def inverse(self, y: Tensor) -> Tensor:
        """x = f^-1(y), Eq. (7): as fast as f, since t and s need no inverse."""
        for k in reversed(range(len(self))):
            t, log_s = self.t_and_log_s(k, y)
            y = torch.einsum("cd,ndhw->nchw", torch.linalg.inv(self.colours[k]), (y - t) * (-log_s).exp())
        return y


class CQF(nn.Module):
    """Encoder q(z|x), decoder mu(z) and sigma(z), and f."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = narrowing(2 * LATENT, nn.ELU()), widening(6)
        self.flow = Flow(coupling_net() for _ in range(3))

    def decode(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """mu(z) and ln sigma(z) of Eq. (6), in feature space; sigma is at least 1/256."""
        mean, raw = self.decoder(z).chunk(2, dim=1)
        return mean, (1 / 256 + softplus(raw - 1.5)).log()

    def log_density(self, x: Tensor, z: Tensor) -> Tensor:
        """Eq. (8): ln p_x(x|z) = ln N(f(x); mu, sigma) + ln |det df/dx|, in nats (N,)."""
        y, log_det = self.flow(x)
        mean, log_sigma = self.decode(z)
        squares = ((y - mean) / log_sigma.exp()) ** 2
        terms = -0.5 * squares - log_sigma - 0.5 * math.log(2 * math.pi)
        return terms.flatten(1).sum(1) + log_det

    def coverage(self, x: Tensor) -> Tensor:
        """L_C by its bound, KL(q(z|x) || p(z)) - ln p(x|z), mean over images, in nats."""
        mean, log_variance = self.encoder(x).chunk(2, dim=1)
        z = mean + (0.5 * log_variance).exp() * torch.randn_like(mean)
        kl = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).sum(1)
        return (kl - self.log_density(x, z)).mean()

    def sample(self, n: int) -> Tensor:
        """x ~ p_theta, Eqs. (6) and (7): x = f^-1(mu(z) + sigma(z) eps), (n, 3, 16, 16)."""
        mean, log_sigma = self.decode(torch.randn(n, LATENT))
        return self.flow.inverse(mean + log_sigma.exp() * torch.randn_like(mean))


def bits_per_dimension(model: CQF, pixels: Tensor) -> float:
    """L_C of uint8 images (N, 3, 16, 16) in bits per value: lower is better."""
    with torch.no_grad():
        nats = model.coverage(in_cells(pixels)) / pixels[0].numel()
    return float(nats + math.log(128)) / math.log(2)


LAMBDA = 400.0


def critic_loss(critic: nn.Module, real: Tensor, fake: Tensor, weight: float = 1.0) -> Tensor:
    """Eq. (1), negated, plus `weight` times a penalty on |grad l| other than 1 between real and fake."""
    loss = softplus(-critic(real)).mean() + softplus(critic(fake)).mean()
    if weight == 0:
        return loss
    between = torch.lerp(fake, real, torch.rand(len(real), 1, 1, 1)).requires_grad_()
    (gradient,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    penalty = (gradient.flatten(1).norm(dim=1) - 1).square().mean()
    return loss + weight * penalty


def model_loss(model: CQF, critic: nn.Module, x: Tensor) -> Tensor:
    """L_C + lambda L_Q, with L_Q = -E[l] of samples, Eq. (2): it trains mu, sigma and f."""
    l_c, l_q = model.coverage(x), -critic(model.sample(len(x))).mean()
    return l_c + LAMBDA * l_q


def training(model: CQF, critic: nn.Module, images: Tensor, steps: int) -> Iterator[int]:
    """Steps of the critic and of the model in turn; pauses at every 200th, for a look."""
    adam = torch.optim.Adam(model.parameters(), lr=1e-3)
    critic_adam = torch.optim.Adam(critic.parameters(), lr=1e-3, betas=(0.5, 0.99))
    for step in range(steps):
        if step % 200 == 0:
            yield step
        for group in (*adam.param_groups, *critic_adam.param_groups):
            group["lr"] = 1e-3 * min(1, 2 - 2 * step / steps)  # falls to 0 in the second half
        x = in_cells(images[torch.randint(len(images), (8,))])
        critic_adam.zero_grad()
        weight = 4.0 if step % 4 == 0 else 0.0  # the penalty takes long, and every fourth step is enough
        critic_loss(critic, x, model.sample(len(x)).detach(), weight).backward()
        critic_adam.step()
        adam.zero_grad()
        model_loss(model, critic, x).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 20_000)  # usual lengths are 2,000 to 3,000
        adam.step()
    yield steps


# The end of the cells


def main(steps: int = 2000) -> None:
    torch.manual_seed(100)
    train, test = images_of([0, 3, 7], 6000, seed=1), images_of([0, 3, 7], 1500, seed=2)
    model, critic = CQF(), narrowing(1, nn.LeakyReLU(0.2))
    for step in training(model, critic, train, steps):
        print(f"step {step}: {bits_per_dimension(model, test[:500]):.2f} bits per dimension on held-out images")
    with torch.no_grad():
        rows = [in_cells(test[:16]), model.sample(32)]
    save_image(torch.cat(rows).clamp(-1, 1), "cqf.png", nrow=16, normalize=True, value_range=(-1, 1))


if __name__ == "__main__":
    main()
