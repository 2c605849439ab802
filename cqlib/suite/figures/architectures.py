"""What the notebook of Table 2 shows beside its table: layers of latent variables, and the scales of f."""

from collections.abc import Mapping

import torch
from IPython.display import HTML
from torch import Tensor

from cqlib.models.base import System
from cqlib.models.hierarchical import Hierarchical
from cqlib.pixels import to_uint8
from cqlib.suite.cells import panels, picture
from cqlib.suite.experiments.paper import row_ids
from cqlib.suite.experiments.rows import marker_numbers, short_label
from cqlib.suite.report import plots
from cqlib.suite.report.groups import Group

NONE = HTML(
    "<p>No model with layers of latent variables is here yet: <code>./run_all.sh --only table2/cqf-residual</code> "
    "trains one in about a quarter of an hour.</p>"
)


def kl_by_layer(runs: Group) -> HTML:
    """The mean KL(q || p) of every layer in bits per dimension, coarsest first, by the records of `runs`."""
    lines, words, numbers = {}, [], marker_numbers(row_ids("table2"))
    for row in row_ids("table2"):
        layers = [name for name in runs.metrics_of(row) if name.startswith("KL-")]
        means = {name.removeprefix("KL-"): mean.value for name in layers if (mean := runs.mean(row, name))}
        if means:
            label = short_label(row)
            lines[label] = (list(means), list(means.values()), *plots.colour_and_marker(numbers[label]), "-")
            words.append(f"{label} " + ", ".join(f"{name} {value:.3f}" for name, value in means.items()))
    if not lines:
        return NONE
    x, y = "layer of latent variables, coarsest first", "KL (bits per dimension)"
    figure = panels({"": lines}, xlabel=x, ylabel=y, width=4.6, height=3.1)
    figure.axes[0].set_ylim(bottom=0)
    alt = f"KL of every layer of latent variables in bits per dimension, coarsest first, {runs.title}"
    return picture(figure, f"{alt}. {'; '.join(words)}")


@torch.no_grad()
def redrawn(models: Mapping[str, System], n: int = 16) -> HTML:
    """Images f^-1(mu(z)) for n draws of all layers, and again with more and more of the lowest layers redrawn."""
    layered = {label: model for label, model in models.items() if isinstance(model, Hierarchical)}
    rows: dict[str, dict[str, Tensor]] = {}
    for label, model in layered.items():
        generator, rows[label] = torch.Generator().manual_seed(0), {}
        kept, fresh = (model.decoder.noise(n, generator) for _ in range(2))
        titles = ["all redrawn", *(f"{name} and below redrawn" for name in list(model.decoder.shapes)[1:]), "one draw"]
        for k, title in reversed([*enumerate(titles)]):
            features = model.decoder(kept[:k] + fresh[k:])[0]
            rows[label][title] = to_uint8(model.image(model.decode(features)[0]).clamp(-1, 1))
    if not rows:
        return NONE
    alt = f"Images of {', '.join(rows)}: one draw, then with more and more of the lower layers redrawn"
    return picture(plots.sample_board(rows, columns=round(n**0.5)), alt)
