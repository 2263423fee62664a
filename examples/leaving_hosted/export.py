"""Exports all of an account's hosted ChatKit: threads, items, users, titles and times, as they are.

    OPENAI_API_KEY=sk-… python export.py OUT.jsonl

It may be stopped and started again at any time, with the same OUT.jsonl: it goes on where it was, and
when it was through it looks for what has changed. It only reads. Exit status: 0 when all is there and
has been compared, 1 when something is missing, which is then named, 130 after ctrl-C.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit

import openai
from openai import OpenAI

from leaving.api import Api, Patience, Stop, Unreadable, said
from leaving.progress import Progress, Rate
from leaving.records import Block, Contents, Json, Unusable, Writer, digest, distinct, newest

FAILED_THREADS = 3
"""So many in a row, each after all of the patience, are an outage."""


class Export:
    """One run: what isn't there yet is fetched, and then all of it is compared."""

    def __init__(self, api: Api, writer: Writer, progress: Progress, quick: bool = False) -> None:
        self._api, self._writer, self._progress, self._quick = api, writer, progress, quick
        self._known: Contents = writer.contents
        self._tired = 0
        self._repeated: set[str] = set()
        self._deleted: list[str] = []
        self._problems: list[str] = []

    def run(self) -> bool:
        """Whether nothing is missing."""
        listed = self._threads()
        self._same_account(listed)
        due = [thread for thread in listed.values() if self._whole(thread["id"]) is None]
        if len(due) < len(listed):
            self._progress.tell(f"{len(listed) - len(due)} of {len(listed)} threads are there already")
        self._fetch_all(due)

        self._progress.tell("comparing")
        before, listed = listed, self._threads()
        appeared = [thread for id, thread in listed.items() if id not in before and self._whole(id) is None]
        if appeared:
            self._progress.tell(f"{len(appeared)} threads have begun meanwhile")
            self._fetch_all(appeared)
        self._vanished(listed)
        changed = self._changed(list(listed.values()))
        if changed:
            self._progress.tell(f"{len(changed)} threads have changed since they were written")
            self._fetch_all(changed)
            for thread in self._changed(changed):
                self._problem(f"{thread['id']} isn't the same twice: it is in use, or its list leaves something out")
        return self._conclude(listed)

    def _whole(self, thread_id: str) -> Block | None:
        block = self._known.get(thread_id)
        return block if block is not None and block.problem is None else None

    def _threads(self) -> dict[str, Json]:
        def progress(count: int) -> None:
            self._progress.show(lambda: f"{count} threads listed")

        found = self._api.threads(progress)
        if found.problem is not None:
            self._problem(f"the list of threads isn't whole: {found.problem}")
        threads = {thread["id"]: thread for thread in found.rows if isinstance(thread.get("id"), str)}
        if any(not isinstance(thread.get("id"), str) for thread in found.rows):
            self._problem("there are threads without an id, whose items can't be asked for")
        self._repeated |= found.repeated
        self._progress.tell(f"{len(threads)} threads are listed")
        return threads

    def _same_account(self, listed: dict[str, Json]) -> None:
        """Another project's key must not make all that was exported look deleted."""
        known = self._known.threads
        if known and not any(id in listed for id in known):
            raise Stop(
                f"none of the {len(known)} threads in the file is in this account: is this the key of "
                "another project? Nothing was changed. For another project take another file"
            )

    def _fetch_all(self, threads: list[Json]) -> None:
        rate = Rate(len(threads))
        for thread in threads:
            self._fetch(thread, rate)
            rate.done += 1
            self._progress.show(lambda: f"{rate}, {self._known.items} items in all")

    def _fetch(self, thread: Json, rate: Rate) -> None:
        thread_id = thread["id"]

        def progress(count: int) -> None:
            self._progress.show(lambda: f"{rate}, {thread_id}: {count} items so far")

        found = self._api.items(thread_id, progress)
        had = self._known.get(thread_id)
        if found.missing and not self._api.exists(thread_id):
            self._deleted.append(thread_id)
            if had is not None:
                self._writer.gone(thread_id)
            return
        if found.missing:
            found.problem = "its items can't be found, though it is there"
        self._repeated |= found.repeated
        self._tired = self._tired + 1 if found.tired else 0
        if found.problem is not None:
            self._progress.tell(f"{thread_id}: {found.problem}")
        # A part is better than nothing, but not than a larger one.
        if found.problem is None or (found.rows and (had is None or had.items < len(found.rows))):
            self._writer.thread(thread, found.rows, found.problem)
        if self._tired == FAILED_THREADS:
            raise Stop(f"{FAILED_THREADS} threads in a row can't be read ({found.problem}). Run it again later")

    def _vanished(self, listed: dict[str, Json]) -> None:
        for thread_id in [id for id in self._known.threads if id not in listed]:
            if self._api.exists(thread_id):
                self._progress.tell(f"{thread_id} isn't listed any more, but still there")
            else:
                self._progress.tell(f"{thread_id} was deleted after it had been exported; it is marked as gone")
                self._writer.gone(thread_id)

    def _changed(self, threads: list[Json]) -> list[Json]:
        """Those that are no longer what was written."""
        changed = []
        rate = Rate(len(threads))
        for thread in threads:
            block = self._whole(thread["id"])
            # What isn't there, or not all of it, has just been asked for.
            if block and (block.digest != digest(thread) or (not self._quick and self._has_grown(thread["id"], block))):
                changed.append(thread)
            rate.done += 1
            self._progress.show(lambda: f"comparing: {rate}")
        return changed

    def _has_grown(self, thread_id: str, block: Block) -> bool:
        """Counts what is listed where one page has it all, and looks at the newest item otherwise."""
        try:
            page = self._api.last_items(thread_id)
        except (openai.APIError, Unreadable):
            return True  # Fetching it says what is wrong.
        oldest_first = page["data"][::-1]
        return newest(oldest_first) != block.newest or (
            page.get("has_more") is False and distinct(oldest_first) != block.ids
        )

    def _problem(self, text: str) -> None:
        if text not in self._problems:
            self._problems.append(text)

    def _conclude(self, listed: dict[str, Json]) -> bool:
        for thread_id in listed:
            block = self._known.get(thread_id)
            if block is None and thread_id not in self._deleted:
                self._problem(f"{thread_id} isn't there")
            elif block is not None and block.problem is not None:
                self._problem(f"{thread_id} isn't whole: {block.items} items, then {block.problem}")
        whole = not self._problems
        self._writer.summary(whole, self._problems)
        tell = self._progress.tell
        if self._deleted:
            tell(f"{len(self._deleted)} threads were deleted while they were read: {some(self._deleted)}")
        if self._repeated:
            tell(f"{len(self._repeated)} rows were listed twice, and are written once: {some(self._repeated)}")
        tell(f"{len(self._known.threads)} threads with {self._known.items} items are in the file")
        for problem in self._problems:
            tell(f"MISSING: {problem}")
        tell("All of it is there." if whole else "Run it again: what is missing is asked for anew.")
        return whole


def some(ids: Iterable[str]) -> str:
    first = sorted(ids)[:6]
    return ", ".join(first[:5]) + (", …" if len(first) > 5 else "")


def arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("out", type=Path, metavar="OUT.jsonl", help="is written on if it is there")
    parser.add_argument("--base-url", help="instead of OPENAI_BASE_URL; without both OpenAI's own")
    parser.add_argument("--page-size", type=int, default=100, choices=range(1, 101), metavar="1-100")
    parser.add_argument(
        "--quick", action="store_true", help="compare the threads, but don't ask each one whether it has grown"
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    options = arguments(argv)
    progress = Progress()
    if not os.environ.get("OPENAI_API_KEY"):
        progress.tell("OPENAI_API_KEY is not set: an API key of the project that ChatKit runs in")
        return 1
    writer = None
    try:
        client = OpenAI(base_url=options.base_url, timeout=60)
        address = urlsplit(str(client.base_url))
        base_url = f"{address.scheme}://{address.netloc.rpartition('@')[2]}{address.path}".rstrip("/")
        writer = Writer(options.out, {"base_url": base_url})
        begun_with = writer.contents.header["base_url"]
        if begun_with != base_url:
            raise Unusable(f"it was begun with {begun_with}, and this is {base_url}. Take another file")
        if writer.cut_off:
            progress.tell(f"{writer.cut_off} bytes of a thread that an earlier run didn't finish are cut off")
        api = Api(client, Patience(progress.tell), options.page_size)
        return 0 if Export(api, writer, progress, options.quick).run() else 1
    except KeyboardInterrupt:
        progress.tell("Stopped. What is written stays; the same command goes on from there.")
        return 130
    except Unusable as error:
        progress.tell(f"{options.out}: {error}")
    except Stop as error:
        progress.tell(f"Stopped: {error}. What is written stays; the same command goes on from there.")
    except OSError as error:
        progress.tell(f"{options.out} can't be written: {error}")
    except openai.OpenAIError as error:
        progress.tell(f"Stopped: {said(error)}")
    finally:
        if writer is not None:
            writer.close()
    return 1


if __name__ == "__main__":
    sys.exit(main())
