"""Labels beside marks in a plot that cover neither a mark, nor a line, nor each other."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

MARK = 5.0  # half a mark's side, in points
DISTANCES = (7, 12, 18, 26, 36, 48, 62, 78)  # from the mark to the label, in points
NEAR = 12  # up to here a label needs no line to its mark
# Unit steps away from the mark, in order of preference; text grows in their direction.
DIRECTIONS = ((0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (-1, 1), (1, -1), (-1, -1))
ALIGN_X = {-1: "right", 0: "center", 1: "left"}
ALIGN_Y = {-1: "top", 0: "center", 1: "bottom"}


@dataclass(frozen=True)
class Label:
    """`text` for the marks at `anchors` (data coordinates of `axes`), beside any one of them."""

    text: str
    axes: Axes
    anchors: tuple[tuple[float, float], ...]
    colour: str


def place(
    figure: Figure, labels: Sequence[Label], segments: Sequence[tuple[Axes, Sequence[float], Sequence[float]]]
) -> None:
    """Draw every label where it covers least.

    `segments` are lines (axes, x of both ends, y of both ends) to keep clear of. Each label takes the nearest
    of a fixed set of places that is free; where none is, the one that covers least.
    """
    figure.draw_without_rendering()  # fixes the layout, so that pixels mean something
    scale = figure.dpi / 72
    marks = np.array([label.axes.transData.transform(at) for label in labels for at in label.anchors])
    taken = np.hstack([marks - MARK * scale, marks + MARK * scale])  # boxes: left, bottom, right, top, in pixels
    lines = np.concatenate([_pieces(axes.transData.transform(np.stack([x, y], 1))) for axes, x, y in segments])
    frame = np.array([label.axes.get_window_extent().extents for label in labels])
    frame = np.hstack([frame[:, :2].min(0), frame[:, 2:].max(0)])[None]
    for label in labels:
        places = list(itertools.product(DISTANCES, label.anchors, DIRECTIONS))
        size = _size(label)
        boxes = np.array([
            _box(label.axes.transData.transform(anchor), size, direction, distance * scale, 1.5 * scale)
            for distance, anchor, direction in places
        ])  # fmt: skip
        outside = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) - _overlaps(boxes, frame)
        crossed = ((lines > boxes[:, None, :2]) & (lines < boxes[:, None, 2:])).all(2).sum(1)
        covered = _overlaps(boxes, taken) + 4 * outside + 20 * scale**2 * crossed
        best = int(covered.round(3).argmin())
        _write(label, *places[best])
        taken = np.vstack([taken, boxes[best]])


def _write(label: Label, distance: float, anchor: tuple[float, float], direction: tuple[int, int]) -> None:
    dx, dy = direction
    leader = {"arrowstyle": "-", "color": label.colour, "linewidth": 0.5, "shrinkA": 0, "shrinkB": 4}
    text = label.axes.annotate(
        label.text, anchor, _offset(direction, distance), textcoords="offset points", color=label.colour,
        ha=ALIGN_X[dx], va=ALIGN_Y[dy], annotation_clip=False, arrowprops=leader if distance > NEAR else None,
    )  # fmt: skip
    text.set_in_layout(False)


def _offset(direction: tuple[int, int], distance: float) -> np.ndarray:
    return np.array(direction) * distance / np.hypot(*direction)


def _size(label: Label) -> tuple[float, float]:
    """Width and height of the text in pixels."""
    text = label.axes.text(0, 0, label.text)
    extent = text.get_window_extent()
    text.remove()
    return extent.width, extent.height


def _box(
    mark: np.ndarray, size: tuple[float, float], direction: tuple[int, int], distance: float, margin: float
) -> np.ndarray:
    """Where text of that size comes to stand, in pixels: it grows away from the mark."""
    corner = mark + _offset(direction, distance) - np.array(size) * (1 - np.array(direction)) / 2
    return np.hstack([corner - margin, corner + size + margin])


def _pieces(ends: np.ndarray, step: float = 4.0) -> np.ndarray:
    """Points along a line between two pixels."""
    return np.linspace(ends[0], ends[1], max(2, int(np.hypot(*(ends[1] - ends[0])) / step)))


def _overlaps(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """(n, 4), (m, 4) -> (n,): how much of each box the others cover, in pixels."""
    low, high = np.maximum(boxes[:, None, :2], others[:, :2]), np.minimum(boxes[:, None, 2:], others[:, 2:])
    return np.prod((high - low).clip(min=0), axis=2).sum(1)
