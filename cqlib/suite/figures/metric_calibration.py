"""The notebook on the metric: what each score sees of known damage to real images, at each side of its input."""

from IPython.display import HTML
from pydantic import TypeAdapter

from cqlib import data as data_sets
from cqlib.metrics.calibration import DAMAGES, Calibration, Damages, image_sets
from cqlib.metrics.quantities import decimal, digits
from cqlib.suite.cells import Format, log_scale, panels, picture, table
from cqlib.suite.experiments.rows import DEVELOPMENT_DATA
from cqlib.suite.figures.strips import strips
from cqlib.suite.report import plots
from cqlib.util.paths import PUBLISHED

FOLDER = PUBLISHED / "calibration"


def read(size: int) -> Calibration:
    """The published calibration of the default data at that size; `python tools/calibrate.py` makes it."""
    return TypeAdapter(Calibration).validate_json((FOLDER / f"{DEVELOPMENT_DATA}-{size}.json").read_bytes())


def damaged(size: int, damages: Damages = DAMAGES) -> HTML:
    """The first training images, then the same with each damage; and a row from the first half of the classes alone."""
    rows = image_sets(data_sets.load(DEVELOPMENT_DATA, size=size), 9, damages)
    return picture(strips(rows), f"Real images at {size}×{size}: {', '.join(rows)}")


def compared(calibration: Calibration) -> HTML:
    """A line for each side and score, folded: the score of undamaged images, and how far each damage moves it, in
    standard deviations."""
    lines = []
    for result in calibration.sides:
        for score, (mean, spread) in result.undamaged.items():
            undamaged = f"{decimal(score, mean)} ± {decimal(score, spread, digits(score, mean))}"
            lines.append([f"{result.side}, {score}", undamaged, *(by[score] for by in result.distances.values())])
    formats: dict[str, Format | None] = {"Side, score": None, "Score of undamaged": None}
    what = f"{calibration.data} {calibration.size}×{calibration.size}, {calibration.resamples} draws"
    caption = f"Real images ({what}): distances from undamaged ones, in standard deviations"
    numbers = table(caption, formats | dict.fromkeys(calibration.sides[0].distances, 1), lines)
    return HTML(f"<details><summary>The same in numbers</summary>{numbers.data}</details>")


def distances(calibration: Calibration) -> HTML:
    """The distances against the side, a panel for each score, a line for each damage; those below 0.1 at 0.1."""
    sides = sorted(calibration.sides, key=lambda result: result.side)
    x = [result.side for result in sides]
    names = list(sides[0].distances)
    lines = {
        score: {name: (x, [max(result.distances[name][score], 0.1) for result in sides],
                       *plots.colour_and_marker(i), "-")
                for i, name in enumerate(names)}
        for score in sides[0].undamaged
    }  # fmt: skip
    figure = panels(lines, xlabel="side, pixels", ylabel="distance (standard deviations)")
    log_scale(figure.axes[0])
    for ax in figure.axes:
        ax.set_xticks(x)
    return picture(figure, f"Distance of damaged from real images against the side, for {', '.join(names)}")
