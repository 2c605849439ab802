"""What notebook cells show, as the tests read it; and models and images to show."""

from __future__ import annotations

import torch
from bs4 import BeautifulSoup
from small_models import generator, system


def soup(html) -> BeautifulSoup:
    return BeautifulSoup(html.data, "html.parser")


def cells(html) -> list[list[str]]:
    """The text of every cell of the first table's body, line by line."""
    return [[cell.get_text() for cell in row.find_all(["th", "td"])] for row in soup(html).tbody.find_all("tr")]


def value(text: str) -> float:
    """ "−1,234.5 ± 0.1" as −1234.5; percents as they are."""
    return float(text.split(" ±")[0].replace("−", "-").replace(",", "").replace("%", ""))


def by_name(html) -> dict[str, list[str]]:
    """The first cell of each line -> the others."""
    return {line[0]: line[1:] for line in cells(html)}


def smoke_model(row: str, noise: float = 0.0):
    """An untrained model under `smoke`, its weights moved from their start by `noise`."""
    return system(row, shake=noise).eval().requires_grad_(False)


def smooth_images(n: int, seed: int = 0) -> torch.Tensor:
    """Smooth colour images, uint8 (n, 3, 16, 16)."""
    coarse = torch.rand(n, 3, 4, 4, generator=generator(seed))
    return (255 * torch.nn.functional.interpolate(coarse, scale_factor=4, mode="bilinear")).to(torch.uint8)
