"""The notebook on ablations: what each part of CQ-F and each change to a recipe do to the scores."""

from collections.abc import Container
from pathlib import Path

from IPython.display import HTML

from cqlib.metrics.quantities import QUANTITIES
from cqlib.suite.cells import picture
from cqlib.suite.experiments.ablations import BY_NAME, FOLDER, PUBLISHED, SEEDS, VAE, VAE_F
from cqlib.suite.experiments.claims import Claim
from cqlib.suite.experiments.record import load_records
from cqlib.suite.experiments.trade_off import CQ, CQ_F, GAN
from cqlib.suite.report import ablations, page, plots
from cqlib.suite.report.groups import Group
from cqlib.suite.report.table import of
from cqlib.suite.report.verdicts import ClaimResult, claim_result

PARTS = {
    "L_Q (without: VAE-F)": VAE_F,
    "f (without: CQ)": CQ,
    "L_Q and f (without: VAE)": VAE,
    "L_C (without: GAN)": GAN,
    "f’s mixing of colours": BY_NAME["couplings-alone"].variant(CQ_F),
    "f’s couplings": BY_NAME["rotation-alone"].variant(CQ_F),
    "a σ for each code": BY_NAME["one-sigma"].variant(CQ_F),
    "noise in what the critic sees": BY_NAME["critic-sees-mean"].variant(CQ_F),
    "L_Q’s gradient in f": BY_NAME["f-by-coverage"].variant(CQ_F),
}
"""A part of CQ-F -> the model without it: a row of Table 1, or a change of one."""


def read(runs_dir: Path | str) -> Group:
    """The published runs of the tables and of ablations, and those of ablations below `runs_dir`, which replace
    published ones of the same name."""
    published, local = (load_records(folder)[0] for folder in (PUBLISHED, Path(runs_dir) / FOLDER))
    return ablations.group(of([], page.published_records()), of(local, published))


def parts(runs: Group) -> dict[str, list[ClaimResult]]:
    """Part of CQ-F -> by how much CQ-F is better with it in bits, and in FD as a percentage of the model without it;
    parts whose runs are missing are left out."""
    found = {}
    for part, without in PARTS.items():
        metrics = [QUANTITIES[id] for id in ("bpd", "fid")]
        claims = (Claim(f"ablations/{one.id}", CQ_F, one.better, without, one.id, "", runs.data) for one in metrics)
        results = [claim_result(claim, runs) for claim in claims]
        if all(result.effect is not None for result in results):
            found[part] = results
    return found


def of_parts(runs: Group) -> HTML:
    """`parts` as dots with 95 % intervals; grey where it is undecided whether a part makes CQ-F better or worse."""
    found = parts(runs)
    if not found:
        return HTML("<p>No run of CQ-F without one of its parts is here.</p>")
    units = "bits per dimension saved", "% of FD saved"
    with plots.subplots(7.0, 0.28 * len(found) + 0.7, 1, 2, sharey=True) as (figure, axes):
        for ax, unit, results in zip(axes, units, zip(*found.values(), strict=True), strict=True):
            ax.axvline(0, color=plots.INK, linewidth=0.8)
            for i, result in enumerate(results):
                colour = plots.SERIES[0 if result.label in ("holds", "contradicted") else 5]
                if result.low is not None:
                    ax.plot([result.low, result.high], [i, i], color=colour, linewidth=1.6)
                ax.plot(result.effect, i, "o", color=colour, markersize=5)
            ax.set(xlabel=unit, ylim=(len(found) - 0.5, -0.5))
            ax.grid(True, axis="x")
        axes[0].set_yticks(range(len(found)), list(found))
    values = (f"{part} {' and '.join(result.size for result in results)}" for part, results in found.items())
    return picture(figure, f"What each part of CQ-F saves in bits and in FD: {'; '.join(values)}")


def table(runs: Group, names: Container[str] = BY_NAME) -> HTML:
    """The effects on every score of the changes of these names that have been trained, question by question, and the
    command for the others."""
    found = ablations.effect_table(runs)
    found["groups"] = [(question, [effect for effect in effects if effect.ablation in names])
                       for question, effects in found["groups"]]  # fmt: skip
    effects = [effect for _, group in found["groups"] for effect in group]
    missing = dict.fromkeys(effect.ablation for effect in effects if not effect.tested)
    tested = [(question, [effect for effect in group if effect.tested]) for question, group in found["groups"]]
    found["groups"] = [(question, group) for question, group in tested if group]
    shown = page.macro("effect_table", found) if found["groups"] else ""
    nothing_at_all = names is BY_NAME and not shown
    if not missing:
        return HTML(shown)
    options = f"--seeds {SEEDS[0]}-{SEEDS[-1]} --runs-dir runs/{FOLDER}"
    command = f"./run_all.sh --only {FOLDER if nothing_at_all else ','.join(missing)} {options}"
    return HTML(f"{shown}<p>Not trained yet: {', '.join(missing)}. <code>{command}</code> trains them.</p>")
