"""The content of a source as one hash, computed once per state of its files, and checked against what is known.

Beside the converted copies lies, per source, a note of its files' sizes and times and the hash they had, so that
43 GB are not hashed twice. SHA-256 names the content; MD5 is what publishers give.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from cqlib.data.catalogue import Entry, File
from cqlib.data.counter import Counter
from cqlib.data.reading import damaged, fault
from cqlib.util.errors import UserError
from cqlib.util.files import canonical_json, sha256, write_atomic

BLOCK = 1 << 22
PASSED_OVER = ("lock.mdb",)
"""Files that change when a source is merely read; hidden ones are passed over as well."""


def content(entry: Entry, paths: Sequence[Path], caches: Sequence[Path]) -> str:
    """Hex digest of the content of `paths` (files and folders), read from the notes in `caches` where possible.

    UserError when a file that the catalogue knows has another size or MD5, or cannot be read.
    """
    return sha256("\n".join(_content(entry, path, caches) for path in paths).encode())


def words(entry: Entry, paths: Sequence[Path], caches: Sequence[Path]) -> str:
    """The hashes of `paths` in words. A file whose MD5 is published is checked against it, and read if it never was;
    of all else there is the SHA-256 that was noted when it was read for its images.

    UserError when a file is not the published one.
    """
    files = {path: _known(entry, path) for path in paths}
    for path, file in files.items():
        _check_size(path, file)
    known = {path: file.md5 for path, file in files.items() if file is not None and file.md5 is not None}
    content(entry, list(known), caches)
    parts = [f"MD5 {' and '.join(known.values())} as published"] if known else []
    others = [path for path in paths if path not in known]
    notes = [_note(path, _mark(_files(path)), caches) for path in others]
    if None in notes:
        parts.append("not hashed before it is first read")
    elif notes:
        parts.append(f"SHA-256 {sha256(chr(10).join(note['sha256'] for note in notes).encode())[:16]}…")
    return ", ".join(parts)


def _known(entry: Entry, path: Path) -> File | None:
    return entry.known(path.name) if path.is_file() else None


def _content(entry: Entry, path: Path, caches: Sequence[Path]) -> str:
    known = _known(entry, path)
    _check_size(path, known)
    files = _files(path)
    mark = _mark(files)
    note = _note(path, mark, caches)
    if note is None or (known is not None and known.md5 is not None and note.get("md5") is None):
        note = {"path": str(path.absolute()), "mark": mark, **_hash(entry.name, path, files)}
        for cache in caches:
            try:
                write_atomic(_place(cache, path), json.dumps(note))
                break
            except OSError:  # not writable: the next one, or the file is hashed again next time
                continue
    _check_md5(path, known, note["md5"])
    return note["sha256"]


def _files(path: Path) -> list[tuple[str, Path, os.stat_result]]:
    """(path below `path`, file, its state) of all that counts, sorted; the file itself if it is one."""
    try:
        if path.is_file():
            return [("", path, path.stat())]
        return sorted(_below(path, ""), key=lambda item: item[0])
    except OSError as error:
        raise damaged(path, error) from error


def _below(folder: Path, prefix: str) -> Iterator[tuple[str, Path, os.stat_result]]:
    with os.scandir(folder) as items:
        for item in items:
            if item.name.startswith(".") or item.name in PASSED_OVER:
                continue
            if item.is_dir():
                yield from _below(Path(item.path), f"{prefix}{item.name}/")
            else:
                yield prefix + item.name, Path(item.path), item.stat()


def _mark(files: list[tuple[str, Path, os.stat_result]]) -> str:
    """Changes whenever a file comes, goes, grows or is written."""
    return sha256(canonical_json([(name, stat.st_size, stat.st_mtime_ns) for name, _, stat in files]).encode())


def _place(cache: Path, path: Path) -> Path:
    return cache / "sources" / f"{sha256(os.fsencode(path.absolute()))[:16]}.json"


def _note(path: Path, mark: str, caches: Sequence[Path]) -> dict[str, str | None] | None:
    """What was noted when the files were hashed in this very state."""
    for cache in caches:
        try:
            note = json.loads(_place(cache, path).read_text())
            if note["mark"] == mark and isinstance(note["sha256"], str):
                return note
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return None


def _hash(name: str, path: Path, files: list[tuple[str, Path, os.stat_result]]) -> dict[str, str | None]:
    """SHA-256 over the files' names, sizes and contents; the MD5 of a single file."""
    total = hashlib.sha256()
    md5 = hashlib.md5(usedforsecurity=False) if path.is_file() else None
    with Counter(f"{name}: reading", sum(stat.st_size for *_, stat in files), "B") as counter:
        for below, file, stat in files:
            total.update(f"{below}\0{stat.st_size}\n".encode(errors="surrogateescape"))
            try:
                with open(file, "rb", buffering=0) as opened:
                    while block := opened.read(BLOCK):
                        total.update(block)
                        if md5 is not None:
                            md5.update(block)
                        counter.update(len(block))
            except OSError as error:
                raise damaged(file, error) from error
    return {"sha256": total.hexdigest(), "md5": md5 and md5.hexdigest()}


def _check_size(path: Path, known: File | None) -> None:
    if known is not None and known.exact and (size := path.stat().st_size) != known.bytes:
        raise _altered(path, known, f"{size:,} bytes instead of {known.bytes:,}")


def _check_md5(path: Path, known: File | None, md5: str | None) -> None:
    if known is not None and known.md5 is not None and md5 != known.md5:
        raise _altered(path, known, f"MD5 {str(md5)[:8]}… instead of {known.md5[:8]}…")


def _altered(path: Path, known: File, how: str) -> UserError:
    return fault(path, f"is truncated or altered ({how})", f"delete it and fetch it again from {known.url}")
