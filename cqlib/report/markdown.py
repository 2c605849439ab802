"""Tables and claims of the published records in Markdown, for README.md and docs/results.md."""

from collections.abc import Mapping, Sequence

from cqlib.experiments import paper
from cqlib.experiments.record import slug
from cqlib.experiments.rows import training_command
from cqlib.metrics.quantities import SCORES, TEMPERATURES, decimal
from cqlib.report.claim_cards import at_temperatures, cards, count_claims
from cqlib.report.run_sets import RunSet
from cqlib.report.verdicts import ClaimResult
from cqlib.util.paths import PUBLISHED, ROOT
from cqlib.util.text import counted, markdown_table

DECIMALS = {"BPD": 2, "IS-lite0@T0": 2, "FD-lite0@T0": 1, "KD-lite0@T0": 3, "FD-lite0@T1": 1, "Recall-lite0@T0": 2}
"""The measured columns and their decimals."""
SLIM = ("BPD", "FD-lite0@T0")
"""Those of README."""
REAL = {f"{q.lite0}@{t}": f"{q.lite0}{q.real}" for q in SCORES for t in TEMPERATURES}
"""A score of samples -> the same of real images, which have no temperature."""
BESIDE = {"table2": ("table3/cqf-2-scales",)}
"""Rows shown with a table that they do not stand in."""
HEADLINES = {
    "f lowers BPD, with and without L_Q": {"with": "f-quality-bpd", "without": "f-bpd"},
    "L_Q improves IS and FID without f": {"IS": "quality-loss-is", "FID": "quality-loss-fid"},
    "L_Q improves IS and FID with f": {"IS": "quality-loss-f-is", "FID": "quality-loss-f-fid"},
    "L_Q leaves BPD as it is without f": {"": "quality-loss-bpd"},
    "CQ-F beats CQ in IS and FID": {"IS": "f-quality-is", "FID": "f-quality-fid"},
    "CQ-F beats GAN in IS and FID": {"IS": "cq-f-gan-is", "FID": "cq-f-gan-fid"},
    "CQ-F covers the data better than GAN by BPD": {"": "cq-f-gan-bpd"},
    "CQ-F covers the data better than GAN by recall (our own claim)": {"": "cq-f-gan-recall"},
}
"""What a reader wants to know first -> the claims of Table 1 that say it, each under the word for its part of it."""
SURVIVES = "†"


def headlines(sets: Sequence[RunSet]) -> str:
    """The chief claims of Table 1 with their verdicts, a line each."""
    runs = fullest(paper.TABLE1, sets)
    tests = {card.claim.id: card.tests for card in cards([runs], "table1")}
    where = f"`{runs.data}`, {runs.size}×{runs.size} pixels, {counted(_seeds(runs, paper.TABLE1), 'seed')}"
    lines = [f"What came out on {where} (T = 0: samples without the decoder's noise; T = 1: with it):", ""]
    for text, claims in HEADLINES.items():
        found: dict[str, dict[str, list[str]]] = {}  # temperature -> verdict -> parts
        for part, claim in claims.items():
            for result in (result for results in tests[f"table1/{claim}"][:1] for result in results):
                found.setdefault(result.at, {}).setdefault(result.verdict, []).append(part)
        verdicts = [(verdicts_of(of_parts), at) for at, of_parts in found.items()]
        lines.append(f"- {text}: **{at_temperatures(verdicts) if verdicts else 'not run'}**.")
    return "\n".join(lines)


def verdicts_of(parts: Mapping[str, Sequence[str]]) -> str:
    """ "holds", or "undecided (IS) and equal (FID)"."""
    if len(parts) == 1:
        return next(iter(parts))
    return " and ".join(f"{verdict} ({', '.join(names)})" for verdict, names in parts.items())


def slim_table(which: paper.Table, sets: Sequence[RunSet]) -> str:
    """BPD and the Fréchet distance of a table's rows, printed and measured, their weights and commands."""
    runs, lines = fullest(which, sets), []
    for row in which.rows:
        printed = ", ".join(_printed(number) for number in row.numbers[:3] if number.metric in ("bpd", "fid"))
        seeds = f"{training_command(row.id, runs.profile)} --seeds {len(runs.done(row.id)) or 1}"
        lines.append([_with_weights(runs, row), printed, *(mean(runs, row.id, name) for name in SLIM), f"`{seeds}`"])
    lines.append(["real images", "", *_real_images(runs, SLIM), ""])
    header = ["model (link: weights)", "paper: BPD, FID", *map(_heading, SLIM), "command"]
    return f"{_caption(runs, which)}\n\n{markdown_table(header, lines)}"


def _with_weights(runs: RunSet, row: paper.Row) -> str:
    """The label of a row, a link to the published weights of its first seed if there are any."""
    file = PUBLISHED / "models" / f"{slug(paper.canonical(row.id), runs.data, runs.profile, 0)}.safetensors"
    return f"[{row.label}]({file.relative_to(ROOT)})" if file.is_file() else row.label


def table(which: paper.Table, sets: Sequence[RunSet]) -> str:
    """A table's printed numbers beside those of the fullest run set, means ± standard deviation over seeds."""
    return _table(which, fullest(which, sets))


def other_tables(which: paper.Table, sets: Sequence[RunSet]) -> str:
    """`table` of every other run set that has at least two of its rows."""
    others = [runs for runs in sets if runs != fullest(which, sets)]
    return "\n\n".join(_table(which, runs) for runs in others if sum(bool(runs.done(row.id)) for row in which.rows) > 1)


def _table(which: paper.Table, runs: RunSet) -> str:
    lines = []
    for row in (*which.rows, *(paper.ROWS[row] for row in BESIDE.get(which.id, ()))):
        label = row.label + (f" [{', '.join(row.ticks)}]" if row.ticks and which.id == "table2" else "")
        measured = [mean(runs, row.id, name) for name in DECIMALS]
        lines.append([label, *map(_printed, row.numbers[:3]), *measured, str(len(runs.done(row.id)) or "none yet")])
    lines.append(["real images", "", "", "", *_real_images(runs, tuple(DECIMALS)), ""])
    header = ["", "paper: BPD", "paper: IS", "paper: FID", *map(_heading, DECIMALS), "seeds"]
    return f"{_caption(runs, which)}\n\n{markdown_table(header, lines)}"


def _printed(number: paper.Number) -> str:
    """A number of the paper with its mark."""
    return f"{number.text} {number.mark}".strip().replace("*", r"\*")


def _heading(name: str) -> str:
    """ "FD-lite0, T = 0" of "FD-lite0@T0"."""
    return name.replace("@T", ", T = ")


def _real_images(runs: RunSet, names: Sequence[str]) -> list[str]:
    """What real images get in each score; BPD has none."""
    bars = {name: runs.real_images(REAL[name]) if name in REAL else None for name in names}
    return ["" if bar is None else decimal(name, bar.value, DECIMALS[name]) for name, bar in bars.items()]


def _caption(runs: RunSet, which: paper.Table) -> str:
    """Of what run set a table is, and what its stars mean, if there are any."""
    counts = sorted({run.metrics["FD-lite0@T1"].n for run in runs.records if "FD-lite0@T1" in run.metrics})
    words = f"Here: {runs.label}, {counted(_seeds(runs, which), 'seed')}, n = {' or '.join(f'{n:,}' for n in counts)}."
    footnote = paper.FOOTNOTES["frozen-gan"]
    starred = any(bpd.starred for row in which.rows if (bpd := runs.mean(row.id, "BPD")))
    return words + rf" \*: {footnote[0].lower()}{footnote[1:]}." * starred


def _seeds(runs: RunSet, which: paper.Table) -> int:
    return max(len(runs.done(row.id)) for row in which.rows)


def mean(runs: RunSet, row: str, metric: str) -> str:
    """ "5.25 ± 0.05" over seeds; empty where the metric has not been measured."""
    if (found := runs.mean(row, metric)) is None:
        return ""
    spread = "" if found.std is None else f" ± {decimal(metric, found.std, DECIMALS[metric])}"
    return decimal(metric, found.value, DECIMALS[metric]) + spread + r" \*" * found.starred


def claims(which: paper.Table, sets: Sequence[RunSet]) -> str:
    """The claims of a table by verdict."""
    all_cards = cards([fullest(which, sets)], f"{which.id}/")
    counts = []
    for own, whose in ((False, f"of Table {which.id[-1]}"), (True, "of this project's own")):
        counted_claims = count_claims(card for card in all_cards if card.claim.own == own)
        found = ", ".join(f"{name}: {count}" for name, count in counted_claims.items() if count)
        counts += [f"{sum(counted_claims.values())} claims {whose}; {found}."] if found else []
    lines = []
    for card in (card for card in all_cards if card.tests):
        results = [result for tested in card.tests for result in tested]
        sentence = card.claim.sentence + " (this project's own claim)" * card.claim.own
        lines.append([card.words, sentence, "; ".join(map(_effect, results)), _check(results)])
    if not lines:
        return " ".join(counts)
    shown = markdown_table(["verdict", "claim", "measured effect and 95 % interval", "by KD"], lines)
    number = which.id[-1]
    mark = f"{SURVIVES}: survives Holm's correction for the number of tests of Table {number} at that temperature."
    return f"{' '.join(counts)}\n\n{shown}" + f"\n\n{mark}" * (f" {SURVIVES}" in shown)


def _effect(result: ClaimResult) -> str:
    """ "T = 0: +0.6 % [−11.0, +12.2] (could have detected 14.1 %)"."""
    mark, power = SURVIVES * result.survives, f" (could have detected {result.power})" * bool(result.power)
    return f"{result.at}{': ' * bool(result.at)}{result.text} {mark}".rstrip() + power


def _check(results: Sequence[ClaimResult]) -> str:
    """What KID says of a claim about FID: "agrees", or its own verdict; empty for others."""
    checks = [(f"**{r.check.verdict}**" if r.disagrees else "agrees", r.at) for r in results if r.check]
    return at_temperatures(checks) if checks else ""


def fullest(which: paper.Table, sets: Sequence[RunSet]) -> RunSet:
    """The published run set with the most rows of a table; of such that of `quick`, which the default command trains,
    else the one with the most records."""

    def full(runs: RunSet) -> tuple[int, bool, int]:
        of_rows = [runs.records_of(row.id) for row in which.rows]
        return sum(map(bool, of_rows)), runs.profile == "quick", sum(map(len, of_rows))

    return max(sets, key=full)
