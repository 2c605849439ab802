"""Lesson 05, the effects of f: correlations and kurtosis that it removes, and Table 1 with and without it."""

from collections.abc import Mapping, Sequence

from IPython.display import HTML

from cqlib.data.dataset import Dataset
from cqlib.experiments.load import ModelAndData
from cqlib.experiments.record import Record
from cqlib.experiments.rows import label_of
from cqlib.lessons.factorised_decoders import residuals
from cqlib.lessons.factorised_decoders.pictures import DASHED, DISTANCES, decoders_of
from cqlib.lessons.factorised_decoders.residuals import Reconstruction
from cqlib.metrics.quantities import FEATURES
from cqlib.report import page as report
from cqlib.report.cells import mark, panels, picture, table
from cqlib.report.claim_cards import cards, matrix
from cqlib.report.run_sets import RunSet, run_sets

ROWS = ("table1/vae", "table1/vae-f", "table1/cq", "table1/cq-f")
CLAIMS = "table1/f-"
"""Prefix of the ids of the claims about f."""


def reconstructions(models: Mapping[str, ModelAndData], images: Dataset) -> dict[str, Reconstruction]:
    """Label -> the test images as that model reconstructs them."""
    decoders = decoders_of(list(models), models)
    return {label: residuals.reconstruct(decoder, images.test.images) for label, decoder in decoders.items()}


def residual_correlations(seen: Mapping[str, Reconstruction]) -> HTML:
    """The correlation of residuals over distance, in image space and in feature space."""
    lines, words = {}, []
    for label, of in seen.items():
        look = (*mark(label), "-")
        image, features = (residuals.distance_correlations(r, DISTANCES) for r in (of.image_residual, of.standardised))
        lines[label] = {"in image space": (DISTANCES, image, *DASHED), "in feature space": (DISTANCES, features, *look)}
        words.append(f"{label}: neighbours {image[1]:.2f} in image space, {features[1]:.2f} in feature space")
    figure = panels(lines, xlabel="distance d (pixels)", ylabel="correlation of residuals")
    return picture(figure, f"Residuals over distance. {'; '.join(words)}")


# --- Table 1 -------------------------------------------------------------------------------------------------


def scores(runs: RunSet) -> HTML:
    """BPD, and the scores at temperature 1, of the four systems; means over seeds with their spread."""
    known = {name for row in ROWS for record in runs.records_of(row) for name in record.metrics}
    score, distance = FEATURES["inception" if "FID@T1" in known else "lite0"]
    names = {"BPD": "BPD ↓", f"{score}@T1": f"{score} ↑", f"{distance}@T1": f"{distance} ↓"}
    lines = []
    for row in ROWS:
        done = runs.records_of(row)
        lines.append([label_of(row), *(runs.cell(row, name) for name in names), str(len(done))])
    return table(f"With and without f, T = 1 ({runs.label}, {runs.origin})", ["Model", *names.values(), "seeds"], lines)


def verdicts(records: Sequence[Record]) -> HTML:
    """The tested claims about f, on the published records and on `records`; those that do not hold first."""
    tested = matrix(cards(run_sets(records, report.published_records()), CLAIMS))
    untested = "<p>No claim about f has been tested yet.</p>"
    return HTML(report.macro("claim_matrix", tested) if tested.columns else untested)
