"""What the notebook `explore` plays with: trained models with one vector of latent variables, and a picture that
follows widgets. The plays are in `interpolation.py`, `latents.py`, `inpainting.py` and `odd_images.py`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from IPython.display import HTML
from torch import Tensor

from cqlib import data as data_sets
from cqlib.data.dataset import Dataset
from cqlib.data.grids import grid_png
from cqlib.experiments import rows as names
from cqlib.experiments.experiment import image_size
from cqlib.experiments.rows import short_label
from cqlib.experiments.run import load
from cqlib.metrics.bpd import bits_per_dimension, held_out_nats
from cqlib.models.coverage_quality import CoverageQuality
from cqlib.pixels import to_uint8
from cqlib.report import page as report
from cqlib.report import plots
from cqlib.report.cells import live
from cqlib.util.errors import UserError

ROWS = ("table1/cq-f", "table1/cq", "table1/vae-f", "table1/vae")
"""Models with one vector of latent variables and an encoder; the first that is there is shown."""


@dataclass(frozen=True)
class Found:
    """The models that are there, by label, and the images they were trained on."""

    systems: dict[str, CoverageQuality]
    data: Dataset
    label: str
    """ "photos10 16×16, quick, seed 0"."""


def find(
    profile: str, data: Sequence[str], seeds: Sequence[int], runs_dir: Path | str, data_dir: Path | str | None = None
) -> Found:
    """The models of `ROWS` that were trained as asked, here or published; where there are none, the published ones of
    the default run. UserError where there are none of these either."""
    asked = (profile, data[0] if data else names.default_data(ROWS[0], profile)[0], seeds[0])
    for profile, name, seed in (asked, ("quick", names.DEVELOPMENT_DATA, 0)):
        systems = {}
        for row in ROWS:
            with suppress(UserError):
                systems[short_label(row)] = load(row, profile=profile, data=name, seed=seed, runs_dir=runs_dir)
        if systems:
            size = image_size(name, profile)
            images = data_sets.load(name, size=size, data_dir=data_dir and Path(data_dir))
            for system in systems.values():
                system.requires_grad_(False)
            return Found(systems, images, f"{name} {size}×{size}, {profile}, seed {seed}")
    raise UserError(f"there is no trained model yet: python -m cqlib train {ROWS[0]}")


def table(found: Found, n: int = 250) -> HTML:
    """Each model's latent variables, parameters and bits per dimension on the first n test images."""
    images, lines = found.data.test.images[:n], []
    for label, system in found.systems.items():
        bpd = bits_per_dimension(held_out_nats(system, images), images[0].numel())
        counts = system.parameter_counts()
        lines.append([label, f"{system.config.latent}", f"{counts['total']:,}", f"{counts.get('flow', 0):,}",
                      f"{bpd.mean():.2f}"])  # fmt: skip
    head = ["Model", "Latent variables", "Parameters", "of them in f", f"BPD, {len(images)} test images"]
    return HTML(report.macro("plain_table", f"Models that are here ({found.label})", head, lines))


@torch.no_grad()
def decoded(system: CoverageQuality, z: Tensor) -> Tensor:
    """f^-1(mu(z)), the image without the decoder's noise: (N, latent) -> uint8 (N, C, S, S)."""
    return to_uint8(system.image(system.decode(z)[0]))


@torch.no_grad()
def codes(system: CoverageQuality, x: Tensor) -> Tensor:
    """The mean of q(z|x) for uint8 (N, C, S, S): (N, latent)."""
    return system.encoder(system.see(x, torch.Generator().manual_seed(0)))[0]


def view(draw: Callable[..., tuple[Tensor, str]], columns: int, **controls: Any) -> Any:
    """Widgets above a picture that follows them: `draw(**values)` gives images (N, C, S, S) uint8 and what they are.
    None where nobody can move them (`live`)."""
    if not live():
        return None
    import ipywidgets as widgets

    def redraw(**values: Any) -> None:
        images, what = draw(**values)
        png = grid_png(images, columns=columns, scale=max(1, 64 // images.shape[-1]))
        picture.value = f'<img alt="{what}" src="{plots.data_uri(png)}">'

    picture = widgets.HTML()
    widgets.interactive_output(redraw, controls)
    return widgets.VBox([widgets.HBox(list(controls.values())), picture])
