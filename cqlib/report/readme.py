"""Renders the parts of README.md and docs between `<!-- NAME -->` and `<!-- /NAME -->` by the macros of `docs.md.j2`,
from the published records, the notebooks and the data sets. A test fails where a committed part is out of date."""

import functools
import json
import statistics
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain, groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

from jinja2 import Template

from cqlib.data.photos10 import PHOTOS
from cqlib.data.sets import ENTRIES
from cqlib.experiments import paper
from cqlib.experiments.ablations import IN_FP32
from cqlib.experiments.experiment import image_size
from cqlib.experiments.load import published_weights
from cqlib.experiments.record import slug, undamaged_records
from cqlib.experiments.rows import RESULT_PROFILES, default_data, label_of, notebooks, training_command
from cqlib.metrics.quantities import TEMPERATURES, decimal, heading, temperatures
from cqlib.report import claims_file
from cqlib.report.ablations import effect
from cqlib.report.claim_cards import at_temperatures, cards, count_claims, look, matrix
from cqlib.report.facts import gpu_hours
from cqlib.report.jinja import environment
from cqlib.report.run_sets import RunSet, display_groups, run_sets
from cqlib.report.tables import PUBLISHED_DATA
from cqlib.report.verdicts import DECIDED, ClaimResult, Results
from cqlib.util.errors import UserError
from cqlib.util.files import write_atomic
from cqlib.util.paths import PUBLISHED, RECORDS, ROOT
from cqlib.util.text import count_of, duration, fill_sections, format_bytes

README, DOCS = ROOT / "README.md", ROOT / "docs"
TABLES = {table.id: table for table in paper.TABLES}
DOCUMENTS: Mapping[Path, Mapping[str, str]] = {
    README: {
        "headlines": "headlines",
        "lessons": "lessons",
        "profiles": "profiles",
        "table1": "slim_table table1",
        "equations": "equations",
    },
    DOCS / "results.md": {
        **{name: f"table {name}" for name in TABLES},
        **{f"{name}-claims": f"claims {name}" for name in TABLES},
        **{f"{name}-matrix": f"matrix {name}" for name in TABLES},
    },
    DOCS / "further-results.md": {
        **{f"{name}-elsewhere": f"other_tables {name}" for name in TABLES},
        "table1-precision": "precision table1",
    },
    DOCS / "running.md": {"notebooks": "all_notebooks", "gpu-hours": "gpu_hours"},
    DOCS / "data.md": {"photos10": "photographs", "datasets": "data_sets"},
}
"""File -> its parts by name -> the macro of `docs.md.j2`, and the table that it is about."""
EXECUTED = PUBLISHED / "notebooks"
"""Folder of executed notebooks. A notebook's link leads there if it is there, else to its source."""
COLUMNS = ("BPD", "IS-lite0@T0", "IS-lite0@T1", "FD-lite0@T0", "FD-lite0@T1", "KD-lite0@T0", "KD-lite0@T1",
           "Precision-lite0@T0", "Recall-lite0@T0")  # fmt: skip
"""What is measured, in the tables of docs."""
HEADLINES = {
    "f lowers BPD, with and without L_Q": {"with": "f-quality-bpd", "without": "f-bpd"},
    "f improves IS and FID without L_Q": {"IS": "f-is", "FID": "f-fid"},
    "L_Q improves IS and FID without f": {"IS": "quality-loss-is", "FID": "quality-loss-fid"},
    "L_Q improves IS and FID with f": {"IS": "quality-loss-f-is", "FID": "quality-loss-f-fid"},
    "Without f, L_Q leaves BPD unchanged": {"": "quality-loss-bpd"},
    "CQ-F beats CQ in IS and FID": {"IS": "f-quality-is", "FID": "f-quality-fid"},
    "CQ-F beats GAN in IS and FID": {"IS": "cq-f-gan-is", "FID": "cq-f-gan-fid"},
    "CQ-F beats GAN in BPD": {"": "cq-f-gan-bpd"},
    "CQ-F beats GAN in recall and classes (ours)": {"recall": "cq-f-gan-recall", "classes": "cq-f-gan-classes"},
}
"""What a reader wants to know first -> the claims of Table 1 that say it, each under the word for its part of it."""
OTHERWISE = "‡"
"""Marks a verdict on FID where that by KID is another one."""


def part(macro: str, sets: Sequence[RunSet]) -> str:
    """The text that a macro of `docs.md.j2`, given as "NAME" or "NAME TABLE", makes of the published run sets."""
    name, _, which = macro.partition(" ")
    module: Any = _template().make_module({"sets": sets})
    return str(getattr(module, name)(*([TABLES[which]] if which else []))).strip()


@functools.cache
def _template() -> Template:
    markdown = environment()
    markdown.filters["printed"] = printed
    markdown.globals |= {
        **TABLES, "m": sys.modules[__name__], "ENTRIES": ENTRIES, "PHOTOS": PHOTOS, "heading": heading,
        "PUBLISHED_DATA": PUBLISHED_DATA, "notebooks": notebooks, "training_command": training_command,
        "count_claims": count_claims, "look": look, "claim_matrix": matrix,
    }  # fmt: skip
    return markdown.get_template("docs.md.j2")


def render(text: str, parts: Mapping[str, str], sets: Sequence[RunSet]) -> str:
    """`text` with every one of `parts` rendered anew. ValueError when a part's marks are missing."""
    return fill_sections(text, {name: part(macro, sets) for name, macro in parts.items()})


def write() -> list[Path]:
    """Render `DOCUMENTS` in place and write the claims as data; returns the files written. UserError for a damaged
    record, or without any."""
    if not (records := undamaged_records(RECORDS)):
        raise UserError(f"there are no records in {RECORDS}")
    sets = run_sets([], records)
    for file, parts in DOCUMENTS.items():
        write_atomic(file, render(file.read_text(encoding="utf-8"), parts, sets))
    return [*DOCUMENTS, *claims_file.write(sets)]


# --- what the template asks


def headline_verdicts(runs: RunSet, mark: str = OTHERWISE) -> dict[str, str]:
    """The chief claims of Table 1 with their verdicts in words, with a `mark` where KID disagrees."""
    by_id = {card.claim.id: card for card in cards([runs], "table1")}
    words = {}
    for text, claims in HEADLINES.items():
        seen: dict[str, dict[str, list[str]]] = {}  # temperature -> verdict -> parts
        for part, claim in claims.items():
            card = by_id[f"table1/{claim}"]
            results = card.tests[0] if card.tests else [
                ClaimResult(card.claim, runs, "not run", t) for t in temperatures(card.claim.metric)]
            for result in results:
                seen.setdefault(result.at, {}).setdefault(result.verdict, []).append(part + mark * result.disagrees)
        words[text] = at_temperatures([(verdicts_of(of_parts), at) for at, of_parts in seen.items()])
    return words


def headline_effect(text: str, runs: RunSet) -> str:
    """ " (−0.12 bpd)" for a chief claim about BPD; empty for those of several claims."""
    if "" not in HEADLINES[text]:
        return ""
    (card,) = (card for card in cards([runs], "table1") if card.claim.id == f"table1/{HEADLINES[text]['']}")
    return f" ({card.tests[0][0].size})" if card.tests else ""


def decided_headlines(runs: RunSet) -> list[ClaimResult]:
    """The results of the chief claims that hold or do not hold, at each temperature."""
    ids = {f"table1/{claim}" for claims in HEADLINES.values() for claim in claims.values()}
    results = (r for card in cards([runs], "table1") if card.claim.id in ids for r in chain(*card.tests[:1]))
    return [result for result in results if result.label in DECIDED]


def otherwise_elsewhere(sets: Sequence[RunSet], runs: RunSet) -> tuple[RunSet, int] | None:
    """Another run set of today's recipes with as many seeds of Table 1 as `runs`, and how many headlines have other
    verdicts there; None where there is none."""
    for other in others(sets, paper.TABLE1):
        if not (other.outdated or other.changes) and seeds(other, paper.TABLE1) == seeds(runs, paper.TABLE1):
            here, there = (headline_verdicts(each, mark="") for each in (runs, other))
            if any("not run" in there[text] and "not run" not in here[text] for text in here):
                continue  # it lacks rows
            return other, sum(here[text] != there[text] for text in here)
    return None


def verdicts_of(parts: Mapping[str, Sequence[str]]) -> str:
    """ "holds", or "undecided (IS) and equal (FID)"; a part with a mark is named in any case."""
    if len(parts) == 1 and not any(name.endswith(OTHERWISE) for names in parts.values() for name in names):
        return next(iter(parts))
    return " and ".join(f"{verdict} ({', '.join(names)})" for verdict, names in parts.items())


def displayed(sets: Sequence[RunSet], which: paper.Table) -> RunSet:
    """The published run set with the most rows of a table; of equals that of `quick`."""
    return display_groups(sets, [row.id for row in which.rows], "quick")[0][0]


def others(sets: Sequence[RunSet], which: paper.Table) -> list[RunSet]:
    """The run sets on other images that test a claim of a table: those of former recipes last, and before them those
    with most seeds first."""
    shown = displayed(sets, which)
    testing = [runs for runs in sets if (runs.data, runs.size) != (shown.data, shown.size)
               and any(card.tests for card in cards([runs], f"{which.id}/"))]  # fmt: skip
    return sorted(testing, key=lambda runs: (runs.outdated, -most_seeds(runs, which)))


def in_fp32(sets: Sequence[RunSet], which: paper.Table) -> RunSet | None:
    """The run set that differs from the one shown for a table only in being trained in fp32; None without one."""
    shown, changes = displayed(sets, which), next(iter(IN_FP32.changes.values()))
    return next((runs for runs in sets if runs == replace(shown, changes=changes, records=runs.records)), None)


def devices(runs: RunSet, which: paper.Table) -> list[str]:
    """The devices that a table's rows ran on."""
    return sorted({run.device for row in which.rows for run in runs.done(row.id)})


def effects_of_fp32(runs: RunSet, fp32: RunSet) -> Iterator[tuple[str, list[ClaimResult]]]:
    """(label, results) of each row that ran in fp32: what that did to its BPD, FID and IS, T = 0 before T = 1, positive
    where fp32 is better."""
    both = replace(runs, records=(*runs.records, *fp32.records))
    for row in IN_FP32.changes:
        if fp32.done(row) and runs.done(row):
            results = chain(*(effect(IN_FP32, row, both, t).results for t in TEMPERATURES))
            of = {(result.claim.metric, result.temperature): result for result in results}
            yield label_of(row), [of[metric, t] for metric in ("bpd", "fid", "is") for t in temperatures(metric)]


def with_weights(runs: RunSet, row: paper.Row) -> str:
    """The label of a row, a link to the published weights of its first seed if there are any."""
    file = published_weights(slug(paper.canonical(row.id), runs.data, runs.profile, 0))
    return f"[{row.label}]({file.relative_to(ROOT)})" if file.is_file() else row.label


def printed(number: paper.PaperNumber) -> str:
    """A number of the paper with its mark."""
    return f"{number.text} {number.mark}".strip().replace("*", r"\*")


def seeds(runs: RunSet, which: paper.Table) -> str:
    """ "5 seeds"; "up to 5 seeds" where rows have fewer."""
    counts = {len(runs.done(row.id)) for row in which.all_rows} - {0}
    return "up to " * (len(counts) > 1) + count_of(most_seeds(runs, which), "seed")


def most_seeds(runs: RunSet, which: paper.Table) -> int:
    """How many seeds a table's row has at most."""
    return max(len(runs.done(row.id)) for row in which.all_rows)


def scoring(runs: RunSet) -> str:
    """ "n = 2,000 at side 96": how many samples the scores are of, and to how many pixels a side they are resized."""
    counts = sorted({run.metrics["FD-lite0@T1"].n for run in runs.records if "FD-lite0@T1" in run.metrics})
    return f"n = {' or '.join(f'{n:,}' for n in counts)} at side {' or '.join(map(str, runs.sides))}"


def starred(runs: RunSet, which: paper.Table) -> bool:
    """Whether any BPD in the table was obtained with a VAE around a frozen GAN."""
    return any(bpd.starred for row in which.all_rows if (bpd := runs.mean(row.id, "BPD")))


def mean(runs: RunSet, row: str, metric: str) -> str:
    """ "5.25 ± 0.05" over seeds; empty where the metric has not been measured."""
    if runs.mean(row, metric) is None:
        return ""
    cell = runs.cell(row, metric)
    return cell.text + f" ± {cell.std}" * bool(cell.std) + r" \*" * bool(cell.mark)


def of_real_images(runs: RunSet, name: str) -> str:
    """The score of real images; empty for BPD, and where no run has measured it."""
    bar = runs.real_images(name)
    return "" if bar is None else decimal(name, bar.value)


def no_better_than_untrained(runs: RunSet, which: paper.Table) -> Iterator[str]:
    """ "SNGAN (838.7 against 836.7)": rows whose samples an untrained copy's match, by mean distance at T = 1."""
    for row in which.rows:
        trained, untrained = (runs.mean(row.id, f"FD-lite0{copy}@T1") for copy in ("", "-untrained"))
        if trained and untrained and trained.value >= untrained.value:
            yield f"{row.label} ({trained.value:.1f} against {untrained.value:.1f})"


def by_kid(results: Results) -> str:
    """What KID says of a claim about FID, its own verdict in bold; empty for others."""
    checks = [(f"**{r.agreement}**" if r.disagrees else r.agreement, r.at) for r in results if r.agreement]
    return at_temperatures(checks) if checks else ""


def profile_runs(sets: Sequence[RunSet]) -> Iterator[tuple[str, str, RunSet | None]]:
    """For each profile but "smoke": its name, its images, and the run set in which CQ-F has been run by today's recipe,
    or None."""
    for profile in RESULT_PROFILES:
        data = default_data("table1/cq-f", profile)[0]
        size = image_size(data, profile)
        wanted = (profile, data, size, False)
        found = (runs for runs in sets if (runs.profile, runs.data, runs.size, runs.outdated) == wanted)
        yield profile, f"`{data}` {size}×{size}", next((runs for runs in found if runs.done("table1/cq-f")), None)


def cost(profile: str, runs: RunSet | None) -> tuple[str, str]:
    """Time and memory of a profile. `quick`: those of the default command, as measured. `paper`: one seed of Table 1,
    as estimated. Others: one seed of Table 1, by the rows' median times over seeds and the most memory of any run."""
    if profile == "quick":
        run = default_run()
        return duration(run["seconds"]), format_bytes(run["memory_mb"] * 1e6)
    if profile == "paper":
        return f"{gpu_hours('Table 1'):.0f} h of an A100, estimated", "—"
    done = [runs.done(row.id) if runs else [] for row in paper.TABLE1.rows]
    if not all(done):
        return "—", "—"
    memory = max(run.peak_memory_bytes for of_row in done for run in of_row)
    seconds = sum(statistics.median(run.seconds for run in of_row) for of_row in done)
    return f"{duration(seconds)} of a core", format_bytes(memory)


def default_run() -> dict[str, Any]:
    """Time and memory of the default command, of the slowest machine that it was measured on."""
    measured = json.loads((PUBLISHED / "bench" / "default_run.json").read_text())
    return max(measured, key=itemgetter("seconds"))


def equation_map() -> Iterator[tuple[str, Iterable[str], Iterable[str]]]:
    """Where equations are computed, "module:name", with their numbers and what they are."""
    numbered = [(where, f"({number})", what) for number, (what, where) in enumerate(paper.EQUATIONS, 1)]
    for where, same in groupby(numbered, key=itemgetter(0)):
        _, numbers, texts = zip(*same, strict=True)
        yield where, numbers, texts


def title(file: Path) -> str:
    """The first heading of a notebook."""
    cells = json.loads(file.read_text())["cells"]
    lines = (line for cell in cells if cell["cell_type"] == "markdown" for line in cell["source"])
    return next(line for line in lines if line.startswith("# ")).removeprefix("# ").strip()


def place(file: Path) -> str:
    """Where a notebook can be read, from the root: executed, if that is published."""
    executed = EXECUTED / file.name
    return str((executed if executed.is_file() else file).relative_to(ROOT))
