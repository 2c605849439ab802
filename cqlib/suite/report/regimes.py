"""One decoder, two regimes: sigma at the codes that bits are of, and at the codes that samples are of."""

import math
from collections.abc import Sequence

from cqlib.metrics.quantities import DRAWN, ENCODED, SHARE
from cqlib.suite.experiments.rows import short_label
from cqlib.suite.report.run_sets import RunSet
from cqlib.suite.report.values import Cell

HEAD = ("Model", "σ at codes of test images", "σ at drawn codes", "drawn codes like encoded ones", "Seeds")
MEANING = (
    "BPD is measured at codes z that the encoder finds for held-out images. Samples are decoded from codes that are "
    "drawn from p(z). One decoder serves both, and its σ depends on z. L_C wants σ as wide as the details that μ "
    "misses; a critic wants samples without noise. A model with a critic can please both, with a wide σ at the codes "
    "of images and a narrow one at drawn codes. Its bits are then those of one part of the model, and its samples "
    "those of another. With one σ for all codes, an ablation, bits and samples must come from the same noise."
)


def lines(runs: RunSet, rows: Sequence[str]) -> list[tuple[str | Cell, ...]]:
    """Of each of `rows` that has the numbers, for the macro `plain_table`: the medians of sigma (exp of that of ln
    sigma), means over seeds; the share of drawn codes whose mean ln sigma is as usual for encoded ones."""
    found: list[tuple[str | Cell, ...]] = []
    for row in rows:
        encoded, drawn, share = (runs.mean(row, name) for name in (ENCODED, DRAWN, SHARE))
        if encoded and drawn and share:
            sigmas = (Cell(f"{math.exp(mean.value):.3f}", source=mean.source) for mean in (encoded, drawn))
            percent = Cell(f"{100 * share.value:.1f} %", source=share.source)
            found.append((short_label(row), *sigmas, percent, Cell(str(len(share.values)))))
    return found
