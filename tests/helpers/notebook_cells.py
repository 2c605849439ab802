"""What notebook cells show, as the tests read it; and models and images to show."""

from __future__ import annotations

import torch
from bs4 import BeautifulSoup

from cqlib.models.registry import RECIPES, build


def soup(html) -> BeautifulSoup:
    return BeautifulSoup(html.data, "html.parser")


def words(html) -> str:
    return " ".join(soup(html).get_text(" ").split())


def lines(html) -> list[list[str]]:
    """The cells of a table's lines."""
    return [[cell.get_text() for cell in row.find_all(["th", "td"])] for row in soup(html).tbody.find_all("tr")]


def by_name(html) -> dict[str, list[str]]:
    """The first cell of each line -> the others."""
    return {line[0]: line[1:] for line in lines(html)}


def smoke_model(row: str, noise: float = 0.0):
    """An untrained model under `smoke`, its weights moved from their start by `noise`."""
    torch.manual_seed(0)
    model = build(RECIPES[row](row, "smoke", 16).system).eval()
    with torch.no_grad():
        for p in model.parameters() if noise else ():
            p.add_(noise * torch.randn_like(p))
    return model.requires_grad_(False)


def smooth_images(n: int, seed: int = 0) -> torch.Tensor:
    """Smooth colour images, uint8 (n, 3, 16, 16)."""
    coarse = torch.rand(n, 3, 4, 4, generator=torch.Generator().manual_seed(seed))
    return (255 * torch.nn.functional.interpolate(coarse, scale_factor=4, mode="bilinear")).to(torch.uint8)
