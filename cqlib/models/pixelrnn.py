"""PixelRNN: every value of every pixel by a softmax, given all values before it; the likelihood is exact.

Reference: van den Oord, Kalchbrenner, Kavukcuoglu, "Pixel Recurrent Neural Networks", ICML 2016. The table's 3.00 is
the Diagonal BiLSTM, section 3, Eq. (3): LSTMs that go over an image diagonal by diagonal, all positions of one at once,

    [o, f, i, g] = K_ss * h' + K_is * x,   c = s(f) c' + s(i) tanh(g),   h = s(o) tanh(c)

K_is is a 1x1 convolution with mask B; K_ss reads the states h' of the pixel above and of the one before in the row.
One LSTM starts from the left and one, on mirrored maps, from the right. The map of the one from the right is moved down
by one row before the two are added, for it has seen the rest of its row.

Deviations (and those of `nets/raster.py`):
- `skew` keeps the columns of the skewed map without their padding: half of the work, and a state outside the image
  is 0, where the state of a padded position would be what the biases make of it. The paper learns the first states,
  as remembered.
- The paper does not say where its skip connections end: here a 1x1 convolution (B) of each LSTM's h is added to the
  last layer's output; logits are a third 1x1 convolution, after the two of `width` features.
- The paper's Row LSTM, which it finds worse, is left out.
- Remembered, not read: 12 layers of h = 128 units, a first convolution of 7x7, output convolutions of 1024, RMSProp
  and batches of 16 for CIFAR-10.
- Not known, and chosen: a constant learning rate of 1e-3, decay 0.99 of the mean squared gradient, 200,000 steps,
  neither averaged weights nor flips; pixel values as points of (-1, 1).
- `quick` and `study` are narrower and shallower, average their weights, flip images, and learn at 3e-3, which falls
  to 0 over the second half.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import pad

from cqlib.models.base import LikelihoodConfig, LikelihoodSystem
from cqlib.nets.conv import at_least_fp32
from cqlib.nets.raster import (
    ApplyLayer,
    LogitsAt,
    PixelSoftmax,
    RasterConv2d,
    apply_to_maps,
    cached_logits,
    pixel_nats,
    raster_sample,
)
from cqlib.pixels import cell_centres
from cqlib.recipe import Recipe, TrainingConfig


def cell(gates: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """Eq. (3): gates (..., 4 h) in the order o, f, i, g and the state before c (..., h) -> h and c, each (..., h)."""
    o, f, i, g = at_least_fp32(gates).chunk(4, -1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c


def diagonals(height: int, width: int, device: torch.device | None = None) -> tuple[Tensor, list[int]]:
    """Raster positions (height * width,) diagonal by diagonal, each from the top row down; and their lengths."""
    row, column = torch.arange(height, device=device)[:, None], torch.arange(width, device=device)
    lengths = [min(k + 1, height, width, height + width - 1 - k) for k in range(height + width - 1)]
    return (row + column).flatten().argsort(stable=True), lengths


def skew(x: Tensor) -> list[Tensor]:
    """(D, H, W, ...) -> its H + W - 1 diagonals (D, L, ...): the paper's skewed columns without their padding."""
    order, lengths = diagonals(x.shape[1], x.shape[2], x.device)
    return list(x.flatten(1, 2).index_select(1, order).split(lengths, 1))


def unskew(lines: list[Tensor], height: int, width: int) -> Tensor:
    """The inverse of `skew`."""
    order, _ = diagonals(height, width, lines[0].device)
    return torch.cat(lines, 1).index_select(1, order.argsort()).unflatten(1, (height, width))


class DiagonalBiLSTM(nn.Module):
    """Maps (N, features, H, W), not taller than wide -> h, maps (N, hidden, H, W); sees all earlier pixels."""

    def __init__(self, features: int, hidden: int, *, colours: int):
        super().__init__()
        self.hidden = hidden
        self.input_to_state = RasterConv2d("B", features, hidden, 1, ordered_groups=colours, copies=8)
        bound = (2 * hidden) ** -0.5
        self.state_to_state = nn.Parameter(torch.empty(2, 2 * hidden, 4 * hidden).uniform_(-bound, bound))

    def forward(self, x: Tensor) -> Tensor:
        gates = self.input_to_state(x).unflatten(1, (2, 4 * self.hidden))
        left, right = gates.permute(1, 3, 4, 0, 2)  # (H, W, N, 4 h)
        states = self.scan(skew(torch.stack([left, right.flip(1)])))
        left, right = unskew(states, *x.shape[2:])  # (H, W, N, h)
        return (left + pad(right.flip(1)[:-1], (0, 0, 0, 0, 0, 0, 1, 0))).permute(2, 3, 0, 1)

    def scan(self, lines: list[Tensor]) -> list[Tensor]:
        """Input-to-state parts of each diagonal (2, L, N, 4 h) -> h of each (2, L, N, h).

        A pixel reads h of two pixels on the diagonal before its own, the one above and the one before it in its row,
        and continues the cell state c of the latter. Where one of them lies outside the image its state is 0.
        """
        _, length, n, _ = lines[0].shape
        h = c = lines[0].new_zeros(2, length + 1, n, self.hidden).to(self.state_to_state.dtype)
        states = []
        for line in lines:
            length = line.shape[1]
            if h.shape[1] < length + 1:
                h, c = pad(h, (0, 0, 0, 0, 1, 1)), pad(c, (0, 0, 0, 0, 1, 1))
            seen = torch.cat([h[:, :length], h[:, 1 : 1 + length]], -1)
            gates = torch.baddbmm(line.flatten(1, 2), seen.flatten(1, 2), self.state_to_state)
            h, c = cell(gates.unflatten(1, (length, n)), c[:, 1 : 1 + length])
            states.append(h)
        return states

    def at_pixel(self, n: int, height: int, width: int) -> "CachedLSTM":
        """The layer for n images of which one pixel after the other becomes known."""
        return CachedLSTM(self, n, height, width)


class PixelRNNNet(nn.Module):
    """x (N, C, H, W) -> logits of all values given those before them, (N, C, levels, H, W).

    7x7 convolution (A) to 2h features; LSTMs of h units, each brought back to 2h by a 1x1 convolution and added to its
    input; skip connections; softmax.
    """

    def __init__(self, hidden: int, layers: int, width: int, *, colours: int, levels: int):
        super().__init__()
        features = 2 * hidden
        self.stem = RasterConv2d("A", colours, features, 7, ordered_groups=colours)
        self.lstms = nn.ModuleList(DiagonalBiLSTM(features, hidden, colours=colours) for _ in range(layers))
        self.up, self.skip = (
            nn.ModuleList(RasterConv2d("B", hidden, features, 1, ordered_groups=colours) for _ in range(layers))
            for _ in range(2)
        )
        self.head = PixelSoftmax(features, width, colours=colours, levels=levels)

    def forward(self, x: Tensor, apply: ApplyLayer = apply_to_maps) -> Tensor:
        """Logits of whole maps, or with `ApplyAtPixel` of one pixel: (N, C) -> (N, C, levels)."""
        h = apply(self.stem, x)
        skipped = torch.zeros_like(h)
        for lstm, up, skip in zip(self.lstms, self.up, self.skip, strict=True):
            state = apply(lstm, h)
            h, skipped = h + apply(up, state), skipped + apply(skip, state)
        return self.head(h + skipped, apply)


class CachedLSTM:
    """A `DiagonalBiLSTM` at one pixel after the other. A pixel is visited once per colour, each time with more of its
    input known. The LSTM from the right runs over a row when that is complete; the row below uses its output."""

    def __init__(self, lstm: DiagonalBiLSTM, n: int, height: int, width: int):
        self.input_to_state = lstm.input_to_state.at_pixel(n, height, width)
        self.weight, self.width = lstm.state_to_state, width
        self.place: tuple[int, int] | None = None
        # h and c from the left in this row; h from the left and from the right in the row above; each map has a column
        # of 0 on either side
        self.h = lstm.state_to_state.new_zeros(n, width + 2, lstm.hidden)
        self.c, self.h_above, self.right_h = (torch.zeros_like(self.h) for _ in range(3))
        self.right_gates = self.h.new_zeros(n, width, 4 * lstm.hidden)  # of the LSTM from the right, in this row

    def __call__(self, value: Tensor, row: int, column: int) -> Tensor:
        """(n, features) at the pixel -> (n, hidden) at the pixel."""
        from_left, from_right = self.input_to_state(value, row, column).chunk(2, 1)
        if self.place != (row, column):
            if column == 0 and row > 0:
                self._next_row()
            seen = torch.cat([self.h_above[:, column + 1], self.h[:, column]], 1)
            self.from_states, self.c_before = seen @ self.weight[0], self.c[:, column]
            self.place = (row, column)
        self.right_gates[:, column] = from_right
        h, c = cell(from_left + self.from_states, self.c_before)
        self.h[:, column + 1], self.c[:, column + 1] = h, c
        return h + self.right_h[:, column + 1]

    def _next_row(self) -> None:
        h = c = torch.zeros_like(self.h[:, 0])
        for column in reversed(range(self.width)):
            seen = torch.cat([self.right_h[:, column + 1], h], 1)
            h, c = cell(torch.addmm(self.right_gates[:, column], seen, self.weight[1]), c)
            self.right_h[:, column + 1] = h
        self.h_above, self.h, self.c = self.h, torch.zeros_like(self.h), torch.zeros_like(self.c)


@dataclass(frozen=True)
class PixelRNNConfig(LikelihoodConfig):
    """`layers` LSTMs of `hidden` units over maps of twice as many features, output convolutions of `width`."""

    hidden: int
    layers: int
    width: int
    levels: int = 256
    """Values that a pixel can take."""


class PixelRNN(LikelihoodSystem):
    """P(x) as a product over pixels and colours."""

    bound = "exact"
    dequantised = False
    config: PixelRNNConfig

    def __init__(self, config: PixelRNNConfig):
        super().__init__(config)
        c = config
        self.net = PixelRNNNet(c.hidden, c.layers, c.width, colours=c.image_channels, levels=c.levels)

    def logits(self, x: Tensor) -> Tensor:
        """Logits of every value given those before it: uint8 (N, C, H, W) -> (N, C, levels, H, W)."""
        return self.net(cell_centres(x, self.config.levels, self.net.stem.weight.dtype))

    def nats(self, x: Tensor, *, importance_samples: int = 1, generator: Generator | None = None) -> Tensor:
        return pixel_nats(self.logits(x), x)

    def generate(self, n: int, temperature: float = 1.0, generator: Generator | None = None) -> Tensor:
        """n images, centres of cells, from cached states."""
        like = self.net.stem.weight
        u = torch.rand(n, *self.shape, device=like.device, dtype=like.dtype, generator=generator)
        return cell_centres(raster_sample(self.cached_logits(n), u), self.config.levels, u.dtype)

    def cached_logits(self, n: int) -> LogitsAt:
        """`logits` of n images, one pixel at a time, from cached states of the pixels before it."""
        return cached_logits(self.net, self.net.stem, (n, *self.shape[1:]), self.config.levels)


ROWS, CONFIG, SYSTEM = ("table3/pixelrnn",), PixelRNNConfig, PixelRNN


def recipe(row: str, profile: str, size: int) -> Recipe:
    nets = {"paper": (128, 12, 1024), "study": (32, 4, 96), "quick": (32, 3, 64), "smoke": (6, 1, 12)}[profile]
    rmsprop: dict[str, Any] = {"batch_size": 16, "optimiser": "rmsprop", "betas": (0.0, 0.99)}
    short_run: dict[str, Any] = {**rmsprop, "learning_rate": 3e-3, "decay_from": 0.5}
    training = {
        "paper": TrainingConfig(200_000, learning_rate=1e-3, ema=0.0, flips=False, log_every=200, **rmsprop),
        "study": TrainingConfig(2000, **short_run),
        "quick": TrainingConfig(2000, **short_run),
        "smoke": TrainingConfig(20, log_every=5, **short_run),
    }[profile]
    return Recipe(PixelRNNConfig(size, *nets), training)
