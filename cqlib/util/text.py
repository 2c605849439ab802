"""Durations and numbers as text, plain and Markdown tables, and text of unknown origin made safe to show."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence


def duration(seconds: float) -> str:
    """A duration in words: "40 s", "12 min", "3 h 05 min", "6.5 days"."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    if minutes < 100:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes < 48 * 60 else f"{minutes / 1440:,.1f} days"


def format_bytes(size: float, digits: int = 0) -> str:
    """A number of bytes in words: "1,204 MB", with `digits` decimals, or "63 GB"."""
    return f"{size / 1e6:,.{digits}f} MB" if size < 1e10 else f"{size / 1e9:,.0f} GB"


def count_of(n: int, noun: str) -> str:
    """A number with its noun: "1 run", "3 runs"."""
    return f"{n} {noun}{'s' * (n != 1)}"


def numbered(noun: str, values: Collection[object]) -> str:
    """A noun with its values: "seed 2", "seeds 0, 1"."""
    return f"{noun}{'s' * (len(values) > 1)} {', '.join(map(str, values))}"


def signed(value: float, digits: int) -> str:
    """A number with its sign: "+0.24", or "−1,234.5" with a true minus sign; zero has a plus."""
    return f"{round(value, digits) + 0.0:+,.{digits}f}".replace("-", "−")


_PATH = re.compile(r"(?<![\w/.<])(?:[A-Za-z]:\\|~?/)(?:[^\s/\\'\"<>:,;()]+[/\\])+([^\s/\\'\"<>:,;()]*)")

# control characters, marks of text direction, lone surrogates and the like
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff\ufffe\uffff]"
)


def without_paths(text: str) -> str:
    """`text` of unknown origin as a page may show it: an absolute path is cut to its last part ("npz:/home/me/cats.npz"
    gives "npz:cats.npz"), and a character that is invisible, or reverses the direction of the text, becomes "�"."""
    return _UNSEEN.sub("�", _PATH.sub(r"\1", text))


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; bars within cells are escaped."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def columns(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """The lines of a plain-text table; each column is as wide as its widest cell."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  " + "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()


def fill_sections(text: str, parts: Mapping[str, str]) -> str:
    """Markdown with the text between `<!-- NAME -->` and `<!-- /NAME -->` replaced by `parts[NAME]`. ValueError if the
    marks of a part are missing."""
    for name, part in parts.items():
        before, start, rest = text.partition(f"<!-- {name} -->")
        inside, end, after = rest.partition(f"<!-- /{name} -->")
        if not end:
            raise ValueError(f"there is no part <!-- {name} --> … <!-- /{name} -->")
        line = "\n" if inside.startswith("\n") else ""
        text = f"{before}{start}{line}{part}{line}{end}{after}"
    return text
