"""A small gated PixelCNN, conditioned on a context map.

References: van den Oord et al., "Conditional Image Generation with PixelCNN Decoders", NIPS 2016, Eq. (2) (gates and
context); Gulrajani et al., "PixelVAE", ICLR 2017 (the context decoded from a latent code).

    h <- h + V tanh(W_f * h + U_f s) sigma(W_g * h + U_g s)

Deviations:
- One stack of masked convolutions: pixels above to the right at a slope flatter than the kernel's are not seen. The
  paper's two stacks see them; here the latent code can carry this.
"""

from torch import Tensor, nn

from cqlib.nets.raster import PixelSoftmax, RasterConv2d, Run, on_maps


class PixelCNN(nn.Module):
    """x (N, C, H, W) and its context -> logits of all values given those before them and the context,
    (N, C, levels, H, W).

    A convolution (A) of `stem` x `stem`; `blocks` gated residual blocks, each a 3x3 and a 1x1 convolution (B); softmax.
    The context is U s of every block, by `contexts` from feature maps s (N, condition, H, W).
    """

    def __init__(self, features: int, blocks: int, width: int, *, stem: int, condition: int, colours: int, levels: int):
        super().__init__()
        self.stem = RasterConv2d("A", colours, features, (stem, stem), colours=colours)
        self.gates = nn.ModuleList(
            RasterConv2d("B", features, features, (3, 3), colours=colours, copies=2) for _ in range(blocks)
        )
        self.out = nn.ModuleList(RasterConv2d("B", features, features, (1, 1), colours=colours) for _ in range(blocks))
        self.contexts = nn.Conv2d(condition, 2 * blocks * features, 1, bias=False)
        self.head = PixelSoftmax(features, width, colours=colours, levels=levels)

    def forward(self, x: Tensor, context: Tensor, run: Run = on_maps) -> Tensor:
        """Of maps; or by `AtPixel` of one pixel, (N, C) and its context (N, …) -> (N, C, levels)."""
        h = run(self.stem, x)
        for gates, out, of_block in zip(self.gates, self.out, context.chunk(len(self.gates), 1), strict=True):
            f, g = (run(gates, h) + of_block).chunk(2, 1)
            h = h + run(out, f.tanh() * g.sigmoid())
        return self.head(h, run)
