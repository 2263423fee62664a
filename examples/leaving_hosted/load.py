"""Loads an export of export.py's into a server made with openai-chatkit, through its Store.

    python load.py EXPORT.jsonl --store your_server:make_store --adopt adopt.jsonl

and then `chatkit-rest adopt adopt.jsonl --config YOUR.toml`, so that the gateway knows whose the threads are. It may be
stopped and started again: what is in the store already is left as it is. Exit status: 0 when all was
loaded, 1 when something wasn't, which is then named, 130 after ctrl-C.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import inspect
import json
import os
import re
import shlex
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TextIO

from chatkit.store import NotFoundError, Store
from chatkit.types import ThreadItem

from leaving import mapping
from leaving.mapping import Clock, NoCounterpart
from leaving.progress import Progress, Rate
from leaving.records import Json, Unusable, read_block, scan

PAGE = 100


class Unsuited(Exception):
    """Something that was given doesn't do. Says what."""


@dataclass
class Report:
    """What became of everything."""

    file: TextIO | None = None
    loaded: Counter[str] = field(default_factory=Counter)
    there: Counter[str] = field(default_factory=Counter)
    notes: dict[str, list[str]] = field(default_factory=dict)
    """What was changed or lost of what was loaded."""
    left_out: dict[str, list[str]] = field(default_factory=dict)

    def note(self, what: str, more: str, thread_id: str, item_id: Any = None) -> None:
        self._add(self.notes, True, what, more, thread_id, item_id)

    def leave_out(self, what: str, more: str, thread_id: str, item_id: Any = None) -> None:
        self._add(self.left_out, False, what, more, thread_id, item_id)

    def _add(
        self, to: dict[str, list[str]], loaded: bool, what: str, more: str, thread_id: str, item_id: Any
    ) -> None:
        to.setdefault(what, []).append(thread_id if item_id is None else f"{thread_id}/{item_id}")
        if self.file is not None:
            line = {"loaded": loaded, "what": what, "more": more, "thread_id": thread_id, "item_id": item_id}
            self.file.write(json.dumps(line) + "\n")

    def lines(self) -> list[str]:
        def counts(title: str, counted: Counter[str]) -> list[str]:
            each = ", ".join(f"{count} {what}" for what, count in sorted(counted.items()))
            return [f"{title}: {each}"] if each else []

        def named(title: str, of: dict[str, list[str]]) -> list[str]:
            return [
                f"{title}: {what}: {len(ids)} ({', '.join(ids[:3])}{', …' if len(ids) > 3 else ''})"
                for what, ids in sorted(of.items())
            ]

        return [
            *counts("loaded", self.loaded),
            *counts("there already", self.there),
            *named("note", self.notes),
            *named("LEFT OUT", self.left_out),
        ]


class Loader:
    """Puts threads into a store, each once, and collects the lines for `chatkit-rest adopt`."""

    def __init__(
        self,
        store: Store[Any] | None,
        make_context: Callable[[str], Any],
        report: Report,
        users: dict[str, str] | None = None,
        offset: timedelta | None = timedelta(0),
    ) -> None:
        """Without a store nothing is loaded, but everything looked at."""
        self._store, self._make_context, self._report = store, make_context, report
        self._users, self._offset = users, offset
        self._clock = Clock(offset)
        self.adopt: list[Json] = []
        self._attachments: set[str] = set()

    def skip(self, raw: Json) -> None:
        """Passes over a thread, which has its place in the order all the same."""
        self._clock.instant(raw.get("created_at"))

    async def load(self, raw: Json, items: list[Json]) -> None:
        thread_id = raw["id"]
        instant = self._clock.instant(raw.get("created_at"))
        if instant is None:
            self._report.leave_out("thread without a time", str(raw.get("created_at"))[:100], thread_id)
            return
        user = self._user(raw)
        if user is None:
            return

        def note(what: str, more: str) -> None:
            self._report.note(what, more, thread_id)

        created_at = self._clock.kept(instant)
        thread = mapping.thread(raw, created_at, note)
        converted = self._items(thread_id, items, instant)
        if self._store is None:
            self._report.loaded.update(["threads", *(item.type for item in converted)])
        else:
            context = self._make_context(user)
            fresh = await _missing(self._store.load_thread(thread_id, context))
            if fresh:
                await self._store.save_thread(thread, context)
            self._count(fresh, "threads")
            for item in converted:
                await self._load(item, fresh, user, context)
            await self._compare(thread_id, converted, context)
        line: Json = {"thread_id": thread_id, "user_id": user}
        if thread.title:
            line["title"] = thread.title
        updated_at = max((item.created_at for item in converted), default=created_at)
        self.adopt.append(line | {"created_at": self._clock.told(created_at), "updated_at": self._clock.told(updated_at)})

    def _user(self, raw: Json) -> str | None:
        user = raw.get("user")
        if not isinstance(user, str) or not user:
            self._report.leave_out("thread without a user", "", raw["id"])
            return None
        if self._users is None:
            return user
        if user not in self._users:
            self._report.leave_out("thread of a user who isn't in the map", user, raw["id"])
            return None
        return self._users[user]

    def _items(self, thread_id: str, items: list[Json], thread_created_at: datetime) -> list[ThreadItem]:
        clock = Clock(self._offset)
        converted: dict[str, ThreadItem] = {}
        for raw in items:
            item_id = raw.get("id")

            def note(what: str, more: str) -> None:
                self._report.note(what, more, thread_id, item_id)

            instant = clock.instant(raw.get("created_at"))
            if instant is None:
                note("item without a time, loaded with its thread's", str(raw.get("created_at"))[:100])
            created_at = clock.kept(instant or thread_created_at)
            try:
                item = mapping.item(raw, thread_id, created_at, note)
            except NoCounterpart as error:
                self._report.leave_out(error.what, error.more, thread_id, item_id)
                continue
            if item.id in converted:
                # It changed while it was exported: a store has room for one, in its first place.
                note("item that was listed in two versions, of which the last is loaded", item.type)
                item.created_at = converted[item.id].created_at
            converted[item.id] = item
        return list(converted.values())

    async def _load(self, item: ThreadItem, fresh: bool, user: str, context: Any) -> None:
        assert self._store is not None
        # Before their message, as the SDK does it.
        for attachment in mapping.attachments(item):
            try:
                missing = await _missing(self._store.load_attachment(attachment.id, context))
                if missing:
                    await self._store.save_attachment(attachment, context)
            except NotImplementedError:
                note = "attachment that the store has no place for, but in its message"
                self._report.note(note, attachment.id, item.thread_id, item.id)
                continue
            self._count(missing, "attachments")
            if attachment.id not in self._attachments:
                self._attachments.add(attachment.id)
                self.adopt.append({"attachment_id": attachment.id, "user_id": user})
        missing = fresh or await _missing(self._store.load_item(item.thread_id, item.id, context))
        if missing:
            await self._store.add_thread_item(item.thread_id, item, context)
        self._count(missing, item.type)

    def _count(self, loaded: bool, what: str) -> None:
        (self._report.loaded if loaded else self._report.there)[what] += 1

    async def _compare(self, thread_id: str, items: list[ThreadItem], context: Any) -> None:
        """Asks the store whether it has them all, in their order."""
        assert self._store is not None
        found: dict[str, None] = {}
        after = None
        while True:
            page = await self._store.load_thread_items(thread_id, after, PAGE, "asc", context)
            before = len(found)
            found.update(dict.fromkeys(item.id for item in page.data))
            after = page.after
            if not page.has_more or after is None or len(found) == before:
                break
        ids = [item.id for item in items]
        for item_id in ids:
            if item_id not in found:
                self._report.leave_out("item that the store hasn't kept", "", thread_id, item_id)
        wanted = set(ids)
        kept = [item_id for item_id in found if item_id in wanted]
        if kept != [item_id for item_id in ids if item_id in found]:
            self._report.note("thread whose items the store has in another order", "", thread_id)


async def _missing(call: Any) -> bool:
    try:
        await call
    except NotFoundError:
        return True
    return False


async def load_file(path: Path, loader: Loader, report: Report, progress: Progress) -> None:
    """Loads the threads of a file, one after the other."""
    with path.open("rb") as file:
        contents = scan(file)
        if not contents.header:
            raise Unusable("there is nothing in it")
        if contents.torn or not contents.finished:
            progress.tell(f"{path} isn't finished: run export.py again, and then this. What there is is loaded")
            report.leave_out("what export.py hasn't fetched yet", "", str(path))
        rate = Rate(len(contents.blocks))
        for thread_id, block in contents.blocks.items():
            raw, items = read_block(file, block)
            if thread_id in contents.gone:
                # Whoever deleted it doesn't want to see it again.
                report.note("thread that was deleted after it had been exported, not loaded", "", thread_id)
                loader.skip(raw)
                continue
            if block.problem is not None:
                report.leave_out("the rest of a thread, which export.py couldn't read", block.problem, thread_id)
            try:
                await loader.load(raw, items)
            except Exception:
                progress.tell(f"The store failed at {thread_id}. When it is mended, the same command goes on from there.")
                raise
            rate.done += 1
            progress.show(lambda: str(rate))


async def open_store(name: str) -> tuple[Store[Any], Callable[[str], Any]]:
    """The store of ``module:factory``, and the ``make_context`` beside it."""
    module_name, _, factory_name = name.partition(":")
    if not module_name or not factory_name:
        raise Unsuited(f"--store {name}: expected module:factory, such as example_store:make_store")
    # As with `python -m`, the server's modules are looked for where this is started.
    sys.path.insert(0, os.getcwd())
    try:
        module = importlib.import_module(module_name)
        store = getattr(module, factory_name)
    except (ImportError, AttributeError) as error:
        raise Unsuited(f"--store {name}: {error}") from None
    if not isinstance(store, Store):
        store = store()
    if inspect.isawaitable(store):
        store = await store
    if not isinstance(store, Store):
        raise Unsuited(f"--store {name}: makes a {type(store).__name__}, which is no chatkit.store.Store")
    return store, getattr(module, "make_context", lambda user_id: {"user_id": user_id})


def write_adopt(path: Path, lines: list[Json]) -> None:
    """All at once: half of them would look like all."""
    partial = path.with_name(path.name + ".partial")
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.writelines(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)


def read_users(path: Path) -> dict[str, str]:
    try:
        users = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise Unsuited(f"{path}: {error}") from None
    if not isinstance(users, dict) or not all(isinstance(new, str) and new for new in users.values()):
        raise Unsuited(f"{path}: expected a JSON object of the users' old ids and their new ones")
    return users


def utc_offset(text: str) -> timedelta:
    """Reads what the gateway's ``upstream.utc_offset`` says."""
    if text == "Z":
        return timedelta(0)
    match = re.fullmatch(r"([+-])(\d\d):(\d\d)", text)
    if match is None:
        raise argparse.ArgumentTypeError('expected an offset such as "+05:30"')
    offset = timedelta(hours=int(match[2]), minutes=int(match[3]))
    return offset if match[1] == "+" else -offset


def arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("export", type=Path, metavar="EXPORT.jsonl")
    parser.add_argument("--store", metavar="MODULE:FACTORY", help="what makes the store of your server")
    parser.add_argument("--adopt", type=Path, metavar="FILE", help="is written for `chatkit-rest adopt`")
    parser.add_argument("--dry-run", action="store_true", help="load and write nothing, but report all the same")
    parser.add_argument("--user-map", type=Path, metavar="FILE", help='{"hosted user": "sub of the user\'s tokens", …}')
    parser.add_argument("--report", type=Path, metavar="FILE", help="everything that was noted or left out, a line each")
    times = parser.add_mutually_exclusive_group()
    times.add_argument(
        "--utc-offset",
        type=utc_offset,
        default=timedelta(0),
        metavar="±HH:MM",
        help="upstream.utc_offset of the gateway, +00:00 by default: times are stored without a zone, as the SDK does it",
    )
    times.add_argument("--with-zone", action="store_true", help="store times with a zone; only if your store has no others")
    options = parser.parse_args(argv)
    if not options.dry_run and not (options.store and options.adopt):
        parser.error("--store and --adopt are needed, or --dry-run")
    return options


async def run(options: argparse.Namespace, progress: Progress) -> bool:
    """Whether all was loaded."""
    users = read_users(options.user_map) if options.user_map else None
    store, make_context = (None, str) if options.dry_run else await open_store(options.store)
    report = Report(options.report.open("w", encoding="utf-8") if options.report else None)
    try:
        offset = None if options.with_zone else options.utc_offset
        loader = Loader(store, make_context, report, users, offset)
        await load_file(options.export, loader, report, progress)
    finally:
        if report.file is not None:
            report.file.close()
    for line in report.lines():
        progress.tell(line)
    if options.dry_run:
        progress.tell("Nothing was loaded or written: this was a dry run.")
    else:
        write_adopt(options.adopt, loader.adopt)
        # The gateway's settings say which store, so that it is not a new one in this folder.
        adopt = shlex.join(["chatkit-rest", "adopt", str(options.adopt.resolve()), "--config", "YOUR.toml"])
        progress.tell(f"{len(loader.adopt)} lines are in {options.adopt}: {adopt}")
    return not report.left_out


def main(argv: list[str] | None = None) -> int:
    options = arguments(argv)
    progress = Progress()
    try:
        return 0 if asyncio.run(run(options, progress)) else 1
    except KeyboardInterrupt:
        progress.tell("Stopped. What is loaded stays; the same command goes on from there.")
        return 130
    except Unusable as error:
        progress.tell(f"{options.export}: {error}")
    except (Unsuited, OSError) as error:
        progress.tell(f"Stopped: {error}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
