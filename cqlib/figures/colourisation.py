"""What the notebook on colourisation shows: what a grey image leaves open, and colourings of it. What they cost is in
`colour_costs.py`."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from IPython.display import HTML
from torch import Tensor

from cqlib import data as data_sets
from cqlib.data.dataset import Dataset
from cqlib.experiments import rows as names
from cqlib.experiments.experiment import image_size
from cqlib.experiments.run import load
from cqlib.figures.explore.models import view
from cqlib.models.base import LikelihoodSystem
from cqlib.models.cqf_conditional import ConditionalCQF
from cqlib.nets import colour
from cqlib.pixels import to_uint8
from cqlib.report import page as report
from cqlib.report.cells import live, picture
from cqlib.report.strips import strips
from cqlib.util.errors import UserError

ROWS = names.NOTEBOOK_ROWS["colourisation"]
"""The conditional model, and the unconditional one beside it."""
NONE = HTML("<p>No trained model of colours is here: <code>./run_all.sh --only colourisation</code> trains it.</p>")


@dataclass(frozen=True)
class Found:
    """The two models, None where one is not there, and the images they were trained on."""

    conditional: ConditionalCQF | None
    unconditional: LikelihoodSystem | None
    data: Dataset
    label: str


def find(
    profile: str, data: Sequence[str], seeds: Sequence[int], runs_dir: Path | str, data_dir: Path | str | None = None
) -> Found:
    """The models that were trained as asked, here or published; where the conditional one is not there, the published
    ones of the default run; where that is not there either, images alone."""
    asked = (profile, data[0] if data else names.default_data(ROWS[0], profile)[0], seeds[0])
    for profile, name, seed in (asked, ("quick", names.DEVELOPMENT_DATA, 0)):
        systems: dict[str, Any] = dict.fromkeys(ROWS)
        for row in ROWS:
            with suppress(UserError):
                systems[row] = load(row, profile=profile, data=name, seed=seed, runs_dir=runs_dir)
        if systems[ROWS[0]] is not None:
            break
    size = image_size(name, profile)
    images = data_sets.load(name, size=size, data_dir=data_dir and Path(data_dir))
    return Found(*systems.values(), images, f"{name} {size}×{size}, {profile}, seed {seed}")


# --- grey and chroma -----------------------------------------------------------------------------------------


def change_of_variables(x: Tensor) -> HTML:
    """Images x (N, 3, S, S), their grey, and their chroma with the grey taken away (U and V on mid-grey)."""
    grey, chroma = colour.split(x)
    middle = torch.full_like(grey, 128)
    zero = torch.zeros_like(chroma[:, :1])
    alone = [torch.cat(pair, dim=1) for pair in ((chroma[:, :1], zero), (zero, chroma[:, 1:]))]
    rows = {"x": x, "grey g": grey.expand(-1, 3, -1, -1)}
    rows |= {f"{name} alone": colour.into_gamut(middle, c) for name, c in zip("UV", alone, strict=True)}
    return picture(strips(rows), f"{len(x)} test images, their grey images, and U and V on grey of one brightness")


def exactness() -> HTML:
    """Every one of the 2^24 colours to grey and chroma and back; and how many chromas the grey values bear."""
    levels = torch.arange(256, dtype=torch.uint8)
    plane = torch.cartesian_prod(levels, levels)
    wrong, borne = 0, torch.zeros(256, dtype=torch.long)
    for red in levels:
        x = torch.cat([red.expand(len(plane), 1), plane], dim=1)[:, :, None, None]
        grey, chroma = colour.split(x)
        wrong += int((colour.join(grey, chroma) != x).any(1).sum())
        borne += torch.bincount(grey.flatten().long(), minlength=256)
    lines = [[f"{256**3:,}", f"{wrong:,}", *(f"{int(borne[g]):,}" for g in (0, 64, 128, 192, 255)), f"{511**2:,}"]]
    head = ["Colours", "changed by there and back", *(f"with g = {g}" for g in (0, 64, 128, 192, 255)),
            "pairs (U, V) that can be written"]  # fmt: skip
    return HTML(report.macro("plain_table", "x ↔ (g, U, V) for every colour of 8 bits", head, lines))


# --- colourings ----------------------------------------------------------------------------------------------


def draw(model: ConditionalCQF, x: Tensor, n: int, temperature: float = 1.0, seed: int = 0) -> Tensor:
    """n colourings of the grey image of each uint8 x (N, 3, S, S): (N, n, 3, S, S) uint8."""
    generator = torch.Generator().manual_seed(seed)
    return to_uint8(model.colourise(colour.split(x)[0], n, temperature=temperature, generator=generator))


def colourings(found: Found, x: Tensor, n: int = 6, temperature: float = 1.0) -> HTML:
    """Each grey image, n colourings, and the truth."""
    if found.conditional is None:
        return NONE
    made, grey = draw(found.conditional, x, n, temperature), colour.split(x)[0].expand(-1, 3, -1, -1)
    rows = {name: torch.cat([grey[[i]], made[i], x[[i]]]) for i, name in enumerate(_numbered(found, x))}
    figure = strips(rows, columns=["grey", *map(str, range(1, n + 1)), "truth"])
    return picture(figure, f"{len(x)} grey test images, {n} colourings of each at T = {temperature:g}, the truth")


def _numbered(found: Found, x: Tensor) -> list[str]:
    """Names of test images for rows: their number, and class where it is known."""
    test, names_of = found.data.test, []
    for image in x:
        i = int((test.images == image).flatten(1).all(1).nonzero()[0])
        names_of.append(f"{i}, {found.data.classes[int(test.labels[i])]}")
    return names_of


def spread_maps(found: Found, x: Tensor, n: int = 32) -> HTML:
    """Where colourings differ: the mean of n of them, and their standard deviation per pixel in steps of grey (white:
    64 levels of chroma or more)."""
    if found.conditional is None:
        return NONE
    grey, chroma = colour.split(draw(found.conditional, x, n).flatten(0, 1))
    chroma = chroma.float().unflatten(0, (-1, n))
    spread = chroma.var(1).sum(1, keepdim=True).sqrt()
    rows = {
        "grey": colour.split(x)[0].expand(-1, 3, -1, -1),
        f"mean of {n}": colour.into_gamut(grey[::n], chroma.mean(1).round().to(torch.int16)),
        "how they differ": (4 * spread).clamp(0, 255).to(torch.uint8).expand(-1, 3, -1, -1),
        "truth": x,
    }
    return picture(strips(rows), f"{len(x)} grey test images, the mean of {n} colourings, their spread, the truth")


def diversity(found: Found, x: Tensor, n: int = 16) -> HTML:
    """Root mean squares of chroma, in levels, over the grey images of x: how much n colourings of one image differ,
    with and without the decoder's noise, and how far they are from the truth, beside the chroma of grey and of the
    mean training colour. And that the grey is kept."""
    if found.conditional is None:
        return NONE
    grey, truth = colour.split(x)
    kept, lines = 0, []
    for name, temperature in (("colourings, T = 1", 1.0), ("colourings, T = 0", 0.0)):
        back, chroma = colour.split(draw(found.conditional, x, n, temperature).flatten(0, 1))
        kept = max(kept, int((back.int() - grey.repeat_interleave(n, 0)).abs().max()))
        chroma = chroma.float().unflatten(0, (-1, n))
        one, mean = chroma - truth[:, None], chroma.mean(1) - truth
        lines.append([name, _rms(chroma.std(1)), _rms(one), _rms(mean), str(kept)])
    train = colour.split(found.data.train.images[:2000])[1].float().mean((0, 2, 3)).view(2, 1, 1)
    lines += [["no colour", "0.0", _rms(truth.float()), _rms(truth.float()), "0"],
              ["the mean training colour", "0.0", _rms(truth - train), _rms(truth - train), "—"]]  # fmt: skip
    head = [f"{n} colourings of {len(x)} test images", "differ by", "one is off the truth by", "their mean is off by",
            "grey changed by, at most"]  # fmt: skip
    return HTML(report.macro("plain_table", "Chroma, root mean squares in levels", head, lines))


def _rms(values: Tensor) -> str:
    return f"{float(values.float().square().mean().sqrt()):.1f}"


def slider(found: Found, x: Tensor, n: int = 8) -> Any:
    """Colourings of the images x that follow a slider for the temperature and one for the seed."""
    if found.conditional is None or not live():
        return None
    import ipywidgets as widgets

    def redraw(image: int, seed: int, T: float) -> tuple[Tensor, str]:  # noqa: N803
        made = draw(found.conditional, x[[image]], n, T, seed)[0]
        return torch.cat([colour.split(x[[image]])[0].expand(-1, 3, -1, -1), made, x[[image]]]), (
            f"A grey image, {n} colourings at T = {T:.2f}, seed {seed}, and the truth"
        )

    return view(
        redraw, n + 2,
        image=widgets.Dropdown(options=[(name, i) for i, name in enumerate(_numbered(found, x))], description="image"),
        seed=widgets.IntSlider(0, min=0, max=50, description="seed"),
        T=widgets.FloatSlider(1.0, min=0, max=1.5, step=0.05, description="T"),
    )  # fmt: skip
