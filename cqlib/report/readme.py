"""The rendered parts of README.md and docs, between `<!-- NAME -->` and `<!-- /NAME -->`; a test keeps them so."""

from collections.abc import Callable, Sequence
from functools import partial

from cqlib.data.catalogue import ENTRIES
from cqlib.data.photos10 import PHOTOS
from cqlib.experiments import paper
from cqlib.experiments.record import Record, load_records
from cqlib.metrics.quantities import SCORES, TEMPERATURES
from cqlib.report.claim_cards import at_temperatures, cards, count_claims
from cqlib.report.run_sets import RunSet, run_sets
from cqlib.report.verdicts import ClaimResult
from cqlib.util.errors import UserError
from cqlib.util.files import write_atomic
from cqlib.util.paths import PUBLISHED, ROOT
from cqlib.util.text import markdown_table

README, DATA = ROOT / "README.md", ROOT / "docs" / "data.md"
DECIMALS = {"BPD": 2, "IS-lite0@T0": 2, "FD-lite0@T0": 1, "KD-lite0@T0": 3, "FD-lite0@T1": 1, "Recall-lite0@T0": 2}
"""The measured columns and their decimals."""
REAL = {f"{q.lite0}@{t}": f"{q.lite0}{q.real}" for q in SCORES for t in TEMPERATURES}
"""A score of samples -> the same of real images, which have no temperature."""
BESIDE = {"table2": ("table3/cqf-2-scales",)}
"""Rows shown with a table that they do not stand in."""
HEADLINES = {
    "f lowers BPD, without the quality loss and with it": ("f-bpd", "f-quality-bpd"),
    "The quality loss makes samples better in IS and FID, without f and with it": (
        "quality-loss-is", "quality-loss-fid", "quality-loss-f-is", "quality-loss-f-fid"),
    "Without f, the quality loss leaves BPD as it is": ("quality-loss-bpd",),
    "CQ-F's samples are better than CQ's in IS and FID": ("f-quality-is", "f-quality-fid"),
    "CQ-F's samples are better than a GAN's in IS and FID": ("cq-f-gan-is", "cq-f-gan-fid"),
    "CQ-F covers the data better than a GAN, by BPD": ("cq-f-gan-bpd",),
    "CQ-F covers the data better than a GAN, by recall (this project's own claim)": ("cq-f-gan-recall",),
}  # fmt: skip
"""What a reader wants to know first -> the claims of Table 1 that say it."""
SURVIVES = "†"


def headlines(sets: Sequence[RunSet]) -> str:
    """The chief claims of Table 1 with their verdicts, a line each."""
    runs = _fullest(paper.TABLE1, sets)
    tests = {card.claim.id: card.tests for card in cards([runs], "table1")}
    seeds = max(len(runs.done(row.id)) for row in paper.TABLE1.rows)
    lines = [f"In short, on {runs.label}, {seeds} seeds:", ""]
    for text, claims in HEADLINES.items():
        found: dict[str, dict[str, None]] = {}
        for result in (result for claim in claims for results in tests[f"table1/{claim}"][:1] for result in results):
            found.setdefault(result.at, {})[result.verdict] = None
        verdicts = at_temperatures([(" and ".join(different), at) for at, different in found.items()])
        lines.append(f"- {text}: **{verdicts or 'not run'}**.")
    return "\n".join(lines)


def table(which: paper.Table, sets: Sequence[RunSet]) -> str:
    """A table's paper numbers beside the published records', means ± standard deviation over seeds."""
    runs = _fullest(which, sets)
    header = ["", "paper BPD", "paper IS", "paper FID", *(name.replace("@", " ") for name in DECIMALS), "seeds"]
    lines = []
    for row in (*which.rows, *(paper.ROWS[row] for row in BESIDE.get(which.id, ()))):
        printed = (f"{number.text} {number.mark}".strip() for number in row.numbers[:3])  # CIFAR-10
        cells = [text.replace("*", r"\*") for text in printed]
        cells += [_mean(runs, row.id, name) for name in DECIMALS] + [str(len(runs.done(row.id)) or "none yet")]
        label = row.label + (f" [{', '.join(row.ticks)}]" if row.ticks and which.id == "table2" else "")
        lines.append([label, *cells])
    bars = [runs.real_images(REAL[name]) if name in REAL else None for name in DECIMALS]
    texts = ["—" if bar is None else f"{bar.value:.{n}f}" for bar, n in zip(bars, DECIMALS.values(), strict=True)]
    lines.append(["real images", "", "", "", *texts, ""])
    counts = sorted({run.metrics["FD-lite0@T1"].n for run in runs.records if "FD-lite0@T1" in run.metrics})
    footnote = paper.FOOTNOTES["frozen-gan"]
    return (
        f"{markdown_table(header, lines)}\n\n"
        f"The paper: CIFAR-10, Inception features. Measured: {runs.label}, EfficientNet-lite0 features (FD, not "
        f"FID), n = {' or '.join(f'{n:,}' for n in counts)}; mean ± standard deviation over seeds. Real images: IS "
        "of test images, FD and KD of training images against test images, at the same n. "
        f"\\*: {footnote[0].lower()}{footnote[1:]}."
    )


def claims(sets: Sequence[RunSet]) -> str:
    """The claims of Table 1 by verdict, from the published records."""
    all_cards = cards([_fullest(paper.TABLE1, sets)], "table1")
    counts = []
    for own, whose in ((False, "of Table 1"), (True, "of this project's own")):
        counted = count_claims(card for card in all_cards if card.claim.own == own)
        found = ", ".join(f"{name}: {count}" for name, count in counted.items() if count)
        counts.append(f"{sum(counted.values())} claims {whose}; {found}.")
    lines = []
    for card in all_cards:
        results = [result for results in card.tests for result in results]
        sentence = card.claim.sentence + " (this project's own claim)" * card.claim.own
        lines.append([card.words, sentence, "; ".join(map(_effect, results)), _check(results)])
    table = markdown_table(["verdict", "claim", "measured effect and 95 % interval", "by KD"], lines)
    mark = f"{SURVIVES}: survives Holm's correction for the number of tests of Table 1 at that temperature."
    return f"{' '.join(counts)}\n\n{table}\n\n{mark}"


def _effect(result: ClaimResult) -> str:
    """ "T = 0: +0.6 % [−11.0, +12.2] (could have detected 14.1 %)"."""
    mark, power = SURVIVES * result.survives, f" (could have detected {result.power})" * bool(result.power)
    return f"{result.at}{': ' * bool(result.at)}{result.text} {mark}".rstrip() + power


def _check(results: Sequence[ClaimResult]) -> str:
    """What KID says of a claim about FID: "agrees", or its own verdict; empty for others."""
    checks = [(f"**{r.check.verdict}**" if r.disagrees else "agrees", r.at) for r in results if r.check]
    return at_temperatures(checks) if checks else ""


def equations(_: Sequence[RunSet]) -> str:
    """The equation -> code map."""
    lines = []
    for number, (what, where) in enumerate(paper.EQUATIONS, 1):
        module, name = where.split(":")
        lines.append([f"({number})", what, f"[`{name}`]({module.replace('.', '/')}.py)"])
    return markdown_table(["equation", "what", "code"], lines)


def data_sets(_: Sequence[RunSet]) -> str:
    """The published data sets: what they are, which files, and how they come."""
    files = {name: " and ".join(f"`{file.name}` ({file.size})" for file in e.files) for name, e in ENTRIES.items()}
    lines = [[f"`{name}`", e.about, files[name], e.how, e.terms] for name, e in ENTRIES.items()]
    return markdown_table(["name", "what", "files", "how it comes", "terms"], lines)


def photographs(_: Sequence[RunSet]) -> str:
    """The photographs of photos10 with their authors and terms."""
    lines = [[f"`{name}`", p.shows, p.author, p.terms, f"`{p.file}`"] for name, p in PHOTOS.items()]
    return markdown_table(["class", "what it shows", "by", "terms", "file in the installed packages"], lines)


PARTS: dict[str, Callable[[Sequence[RunSet]], str]] = {
    "headlines": headlines,
    "table1": partial(table, paper.TABLE1),
    "claims": claims,
    "table2": partial(table, paper.TABLE2),
    "table3": partial(table, paper.TABLE3),
    "equations": equations,
    "photos10": photographs,
    "datasets": data_sets,
}
DOCUMENTS = {README: ("headlines", "table1", "claims", "table2", "table3", "equations"), DATA: ("photos10", "datasets")}
"""File -> its parts."""


def render(text: str, parts: Sequence[str], published: Sequence[Record]) -> str:
    """`text` with every one of `parts` rendered anew. ValueError when a part's marks are missing."""
    sets = run_sets([], published)
    for name in parts:
        before, start, rest = text.partition(f"<!-- {name} -->\n")
        _, end, after = rest.partition(f"<!-- /{name} -->")
        if not end:
            raise ValueError(f"there is no part <!-- {name} --> … <!-- /{name} -->")
        text = f"{before}{start}{PARTS[name](sets)}\n{end}{after}"
    return text


def write() -> None:
    """Render `DOCUMENTS` in place. UserError where a published record cannot be read."""
    records, problems = load_records(PUBLISHED / "records")
    if problems or not records:
        raise UserError(problems[0] if problems else f"there are no records in {PUBLISHED / 'records'}")
    for file, parts in DOCUMENTS.items():
        write_atomic(file, render(file.read_text(), parts, records))


def _fullest(which: paper.Table, sets: Sequence[RunSet]) -> RunSet:
    """The published run set with the most rows of a table; of such that of `quick`, which the default command trains,
    else the one with the most records."""

    def full(runs: RunSet) -> tuple[int, bool, int]:
        of_rows = [runs.records_of(row.id) for row in which.rows]
        return sum(map(bool, of_rows)), runs.profile == "quick", sum(map(len, of_rows))

    return max(sets, key=full)


def _mean(runs: RunSet, row: str, metric: str) -> str:
    if (mean := runs.mean(row, metric)) is None:
        return ""
    places = DECIMALS[metric]
    spread = "" if mean.std is None else f" ± {mean.std:.{places}f}"
    return f"{mean.value:.{places}f}{spread}" + r" \*" * mean.starred
