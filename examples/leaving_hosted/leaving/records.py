"""The file between the two programs: JSON Lines, written at its end only.

    {"kind": "export", "format": 1, "base_url": …}        once, first
    {"kind": "thread", "thread": {…}}                     a thread, exactly as it came,
    {"kind": "item", "thread_id": …, "item": {…}}         its items, oldest first, exactly as they came,
    {"kind": "thread_end", "thread_id": …, "items": N}    and how many there are; with "problem" if not all
    {"kind": "gone", "thread_id": …}                      it was deleted after it had been written
    {"kind": "summary", "complete": true, …}              the end of a run

A thread may be there again, further down, because it has changed: the last one counts. What follows
the last whole line of another kind than thread and item is torn: a run was killed while it wrote.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

try:
    import fcntl
except ImportError:  # Not on Windows, where two runs at once aren't noticed.
    fcntl = None  # type: ignore[assignment]

FORMAT = 1
BEGIN = b'{"kind":"export",'
NOT_OURS = "this is no export, or one of another version of export.py"

Json = dict[str, Any]


class Unusable(Exception):
    """The file isn't what it should be. Says what to do."""


@dataclass(frozen=True)
class Block:
    """What is known of a thread in the file without keeping it."""

    offset: int
    digest: bytes
    """Of the thread without its items: another one means that it was renamed or locked."""
    items: int
    ids: int
    """How many ids its items have. Fewer than items if one came twice, and had changed."""
    newest: tuple[Any, Any] | None
    """Id and status of its last item."""
    problem: str | None
    """Why these aren't all of its items."""


@dataclass
class Contents:
    """What a file has."""

    header: Json = field(default_factory=dict)
    """Empty as long as the file is."""
    blocks: dict[str, Block] = field(default_factory=dict)
    """The last one of each thread, in the order of the first ones."""
    gone: set[str] = field(default_factory=set)
    """The threads that were deleted after they had been written."""
    finished: bool = False
    """The last run came to its end and found everything whole."""
    end: int = 0
    """Where what is torn begins, if anything is."""
    size: int = 0

    @property
    def torn(self) -> bool:
        return self.end < self.size

    @property
    def nothing_read(self) -> bool:
        """No thread is in it, so that it doesn't matter where it was begun."""
        return not self.blocks and not self.gone

    @property
    def items(self) -> int:
        return sum(block.items for thread_id, block in self.blocks.items() if thread_id not in self.gone)

    @property
    def threads(self) -> list[str]:
        return [thread_id for thread_id in self.blocks if thread_id not in self.gone]

    def add(self, thread_id: str, block: Block) -> None:
        self.gone.discard(thread_id)
        self.blocks[thread_id] = block

    def get(self, thread_id: str) -> Block | None:
        return None if thread_id in self.gone else self.blocks.get(thread_id)


def digest(thread: Json) -> bytes:
    return hashlib.sha256(json.dumps(thread, sort_keys=True).encode()).digest()


def newest(items: list[Json]) -> tuple[Any, Any] | None:
    return (items[-1].get("id"), items[-1].get("status")) if items else None


def distinct(items: list[Json]) -> int:
    """How many ids they have; one without counts for itself."""
    ids = [item.get("id") for item in items]
    return len({id for id in ids if isinstance(id, str)}) + sum(not isinstance(id, str) for id in ids)


def line(record: Json) -> bytes:
    # In ASCII, so that a lone half of a surrogate pair comes through as well.
    return json.dumps(record, separators=(",", ":")).encode() + b"\n"


def block_of(offset: int, thread: Json, items: list[Json], problem: str | None) -> Block:
    return Block(offset, digest(thread), len(items), distinct(items), newest(items), problem)


def read_lines(file: BinaryIO) -> Iterator[tuple[int, int, Json]]:
    """The lines from here: where each begins, where it ends and what it says. Stops at a torn end."""
    offset = file.tell()
    for number, text in enumerate(file, start=1):
        try:
            record = json.loads(text) if text.endswith(b"\n") else None
        except ValueError:
            record = None
        if not isinstance(record, dict):
            # A crash tears the end. In the middle somebody else has been at work.
            if file.read(1):
                raise Unusable(f"line {number} isn't JSON, and more follows: not by a crash. Repair or move the file")
            return
        yield offset, offset + len(text), record
        offset += len(text)


def scan(file: BinaryIO) -> Contents:
    """Reads a file from its beginning."""
    found = Contents(size=file.seek(0, os.SEEK_END))
    file.seek(0)
    # What isn't ours must not be taken for ours with a torn first line, and be cut off.
    if not BEGIN.startswith(file.read(len(BEGIN))):
        raise Unusable(NOT_OURS)
    file.seek(0)
    try:
        _scan(file, found)
    except (KeyError, AttributeError, TypeError) as error:
        raise Unusable(f"behind byte {found.end} something is missing: the file was edited ({error!r})") from None
    return found


def _scan(file: BinaryIO, found: Contents) -> None:
    thread: Json | None = None
    begin = 0
    items: list[Json] = []
    for offset, end, record in read_lines(file):
        kind = record.get("kind")
        if not found.header:
            if kind != "export" or record.get("format") != FORMAT:
                raise Unusable(NOT_OURS)
            found.header = record
        elif kind == "thread":
            thread, begin, items = record["thread"], offset, []
            continue
        elif kind == "item" and thread is not None:
            # Nothing else of it is needed.
            items.append({name: record["item"].get(name) for name in ("id", "status")})
            continue
        elif kind == "thread_end" and thread is not None and record["items"] == len(items):
            found.add(record["thread_id"], block_of(begin, thread, items, record.get("problem")))
            thread = None
        elif kind == "gone":
            found.gone.add(record["thread_id"])
        elif kind != "summary":
            raise Unusable(f"there is a {kind!r} at byte {offset} where none can be: the file was edited")
        found.finished = kind == "summary" and record.get("complete") is True
        found.end = end


def read_block(file: BinaryIO, block: Block) -> tuple[Json, list[Json]]:
    """A thread and its items."""
    file.seek(block.offset)
    thread: Json = {}
    items = []
    for _, _, record in read_lines(file):
        if record["kind"] == "thread":
            thread = record["thread"]
        elif record["kind"] == "item":
            items.append(record["item"])
        else:
            break
    return thread, items


class Writer:
    """A file that is being written, or written on.

    A thread goes out in one piece and is on the disk before the next one is asked for. What an
    earlier run has torn is cut off first, and a file without a thread is begun anew: its header may
    name a server that was mistyped.
    """

    def __init__(self, path: Path, header: Json) -> None:
        # The words of people are nobody else's to read.
        self._file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o600), "r+b")
        try:
            if fcntl is not None:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.contents = scan(self._file)
        except BlockingIOError:
            self._file.close()
            raise Unusable("another run is writing to it") from None
        except BaseException:
            self._file.close()
            raise
        self.cut_off = self.contents.size - self.contents.end
        if self.contents.nothing_read:
            self.contents = Contents()
        self._file.truncate(self.contents.end)
        self._file.seek(self.contents.end)
        if not self.contents.header:
            self.contents.header = {"kind": "export", "format": FORMAT, **header}
            self._write(line(self.contents.header))

    def _write(self, data: bytes) -> None:
        self._file.write(data)
        self._file.flush()
        os.fsync(self._file.fileno())

    def thread(self, thread: Json, items: list[Json], problem: str | None = None) -> None:
        thread_id = thread["id"]
        end = {"kind": "thread_end", "thread_id": thread_id, "items": len(items)}
        if problem is not None:
            end["problem"] = problem
        lines = [line({"kind": "thread", "thread": thread})]
        lines += [line({"kind": "item", "thread_id": thread_id, "item": item}) for item in items]
        block = block_of(self._file.tell(), thread, items, problem)
        self._write(b"".join([*lines, line(end)]))
        self.contents.add(thread_id, block)

    def gone(self, thread_id: str) -> None:
        self._write(line({"kind": "gone", "thread_id": thread_id}))
        self.contents.gone.add(thread_id)

    def summary(self, complete: bool, problems: list[str]) -> None:
        told = {"kind": "summary", "complete": complete, "threads": len(self.contents.threads)}
        told |= {"items": self.contents.items, "gone": len(self.contents.gone), "problems": problems}
        self._write(line(told))

    def close(self) -> None:
        self._file.close()
