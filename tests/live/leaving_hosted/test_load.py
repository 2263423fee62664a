"""load.py: what becomes of hosted items, and how they get into a store."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import sqlite3
import sys
import tempfile
import unittest
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from unittest import mock

import example_store
import load
from leaving import mapping
from chatkit.store import NotFoundError, Store
from chatkit.types import Page, ThreadItem
from hosted import Json, item, of_every_type, thread, user_message
from load import Loader, Report, Unsuited
from leaving.mapping import Clock, NoCounterpart
from pydantic import TypeAdapter
from leaving.records import Writer

NOON = datetime(2026, 11, 21, 12, 0, 0)
ACTION = {"handler": "server", "loadingBehavior": "auto", "streaming": True}
"""What the SDK says of an action that says nothing of it."""
ITEM: TypeAdapter[ThreadItem] = TypeAdapter(ThreadItem)


def mapped(raw: Json) -> tuple[Json | None, list[tuple[str, str]]]:
    """The item as a server keeps it, without what all have, and what was noted."""
    notes: list[tuple[str, str]] = []
    try:
        item = mapping.item(raw, "cthr_1", NOON, lambda *note: notes.append(note))
    except NoCounterpart as error:
        return None, [*notes, error.args]
    kept = json.loads(item.model_dump_json(exclude_none=True))
    assert json.loads(ITEM.validate_python(kept).model_dump_json(exclude_none=True))["type"] == kept["type"]
    common = {"id": raw["id"], "thread_id": "cthr_1", "created_at": "2026-11-21T12:00:00"}
    assert {name: kept.pop(name) for name in common} == common
    return kept, notes


class Mapping(unittest.TestCase):
    maxDiff = None

    def test_every_type(self) -> None:
        bytes_lost = "attachment without its bytes, which the hosted API doesn't hand out"
        common = {"thread_id": "cthr_1", "name": "p.png", "mime_type": "image/png"}
        expected: list[tuple[Json | None, list[tuple[str, str]]]] = [
            ({
                "type": "user_message", "content": [{"type": "input_text", "text": "Look \U0001f600"}],
                "quoted_text": "what?", "inference_options": {"model": "m", "tool_choice": {"id": "t"}},
                "attachments": [
                    common | {"id": "cfile_1", "type": "image", "preview_url": "https://x.test/p"},
                    common | {"id": "cfile_2", "type": "file", "name": "q.png"},
                    common | {"id": "cfile_3", "type": "file", "name": "f.txt", "mime_type": "text/plain"},
                ],
            }, [
                (bytes_lost, "cfile_1"), (bytes_lost, "cfile_2"), ("image without a preview, loaded as a file", "cfile_2"),
                (bytes_lost, "cfile_3"),
            ]),
            ({"type": "assistant_message", "content": [
                {"type": "output_text", "text": "a", "annotations": [
                    {"type": "annotation", "source": {"type": "file", "title": "f.txt", "filename": "f.txt"}},
                    {"type": "annotation", "source": {"type": "url", "title": "https://x.test/", "url": "https://x.test/"}},
                ]},
                {"type": "output_text", "text": "b", "annotations": []},
            ]}, [("annotation of an unknown type", "moon")]),
            ({"type": "widget", "widget": {"type": "Card", "children": [{"type": "Text", "value": "Hello"}]}}, []),
            ({"type": "client_tool_call", "status": "completed", "call_id": "call_1", "name": "pick",
              "arguments": {"from": [1, None]}, "output": {"picked": None}}, []),
            ({"type": "task", "task": {"type": "thought", "status_indicator": "none", "content": ""}}, []),
            ({"type": "task", "task": {"type": "custom", "status_indicator": "none", "title": "Looked it up",
                                       "content": "Twice"}}, []),
            ({"type": "workflow", "workflow": {"type": "custom", "expanded": False, "tasks": [
                {"type": "custom", "status_indicator": "none", "title": "A"},
                {"type": "thought", "status_indicator": "none", "content": "B"},
            ]}}, []),
            (None, [("item of an unknown type", "chatkit.something_new")]),
            ({"type": "user_message", "content": [{"type": "input_text", "text": "unprefixed"}], "attachments": [],
              "inference_options": {}}, []),
            (None, [("widget that isn't valid", mock.ANY)]),
            ({"type": "client_tool_call", "status": "pending", "call_id": "call_2", "name": "wait", "arguments": {}},
             [("tool call without an output, loaded as pending", "in_progress")]),
        ]  # fmt: skip
        for raw, wanted in zip(of_every_type(), expected, strict=True):
            self.assertEqual(mapped(raw), wanted, raw)

    def test_a_group_of_thoughts_is_reasoning(self) -> None:
        for kinds, wanted in ((["thought", "thought"], "reasoning"), (["thought", "custom"], "custom"), ([], "custom")):
            tasks = [{"type": kind, "heading": None, "summary": "S"} for kind in kinds]
            kept, _ = mapped(item(1, "chatkit.task_group", tasks=tasks))
            self.assertEqual(kept["workflow"]["type"], wanted)

    def test_a_tool_call_s_json(self) -> None:
        call = {"call_id": "c", "name": "f", "status": "completed", "arguments": "{}", "output": "null"}
        for given, wanted, notes in (
            ({}, {"arguments": {}}, 0),
            ({"arguments": ""}, {"arguments": {}}, 0),
            ({"arguments": '{"a":1.0}', "output": '"x"'}, {"arguments": {"a": 1.0}, "output": "x"}, 0),
            ({"output": "no JSON"}, {"arguments": {}, "output": "no JSON"}, 1),
            ({"output": "0"}, {"arguments": {}, "output": 0}, 0),
            ({"arguments": "[]"}, None, 1),
            ({"arguments": "{"}, None, 1),
            ({"arguments": None}, None, 1),
            ({"name": None}, None, 1),
        ):
            kept, said = mapped(item(1, "chatkit.client_tool_call", **call | given))
            if kept is not None:
                kept = {name: kept[name] for name in ("arguments", "output") if name in kept}
            self.assertEqual((kept, len(said)), (wanted, notes), given)

    def test_a_widget_with_more_than_the_sdk_knows_is_kept_whole(self) -> None:
        for tree, notes in (
            ({"type": "Card", "children": [], "size": "sm", "background": None}, 0),
            ({"type": "Card", "confirm": {"label": "Go", "action": {"type": "go", "payload": {"a": None}} | ACTION}}, 0),
            ({"type": "Card", "children": [{"type": "Nova", "glow": 1}]}, 0),
            ({"type": "Card", "children": [{"type": "Text", "value": "x", "glow": 1}]}, 1),
        ):
            for widget in (json.dumps(tree), tree):
                kept, said = mapped(item(1, "chatkit.widget", widget=widget))
                self.assertEqual(kept["widget"], mapping._without_nulls(tree))
                self.assertEqual(len(said), notes, tree)

    def test_what_is_not_valid_is_no_crash_and_nobody_s_words_are_told(self) -> None:
        for kind in ("user_message", "assistant_message", "widget", "client_tool_call", "task", "task_group"):
            for name in ("content", "attachments", "inference_options", "widget", "arguments", "status", "tasks"):
                for wrong in (None, 7, "private", ["private"], {"private": "private"}, [{"type": "private", "text": 7}]):
                    raw = item(1, f"chatkit.{kind}", call_id="c", name="n", task_type="custom", heading="h", summary="s")
                    raw |= {"widget": '{"type":"Card"}', "arguments": "{}", "status": "completed"} | {name: wrong}
                    _, notes = mapped(raw)
                    self.assertFalse([more for what, more in notes if "'private" in more], (kind, name, wrong))
        for raw in (item(1, "chatkit.user_message") | {"id": None}, {"id": "x"}, {"id": "x", "type": None}):
            with self.assertRaises(NoCounterpart):
                mapping.item(raw, "cthr_1", NOON, lambda *_: None)

    def test_threads(self) -> None:
        def kept(**other: Any) -> tuple[Json, int]:
            notes: list[str] = []
            made = mapping.thread(thread(1, **other), NOON, lambda what, _: notes.append(what))
            return json.loads(made.model_dump_json(exclude_none=True)), len(notes)

        common = {"id": "cthr_1", "created_at": "2026-11-21T12:00:00", "metadata": {}}
        active = {"type": "active"}
        self.assertEqual(kept(), (common | {"status": active}, 0))
        self.assertEqual(kept(title="T")[0]["title"], "T")
        closed = {"type": "closed", "reason": "Over."}
        self.assertEqual(kept(status=closed), (common | {"status": closed}, 0))
        self.assertEqual(kept(status={"type": "locked", "reason": None}), (common | {"status": {"type": "locked"}}, 0))
        self.assertEqual(kept(status={"type": "frozen"}), (common | {"status": active}, 1))
        self.assertEqual(kept(status=None), (common | {"status": active}, 0))


class Times(unittest.TestCase):
    def test_those_of_a_second_keep_their_order_and_their_second(self) -> None:
        for offset, at, zone in (
            (timedelta(0), "2023-11-14T22:13:20", ""),
            (timedelta(hours=5, minutes=30), "2023-11-15T03:43:20", ""),
            (None, "2023-11-14T22:13:20", "+00:00"),
        ):
            clock = Clock(offset)
            times = [clock.kept(clock.instant(second)) for second in (1_700_000_000, 1_700_000_000, 1_700_000_000.9)]
            expected = [f"{at}{fraction}{zone}" for fraction in ("", ".000001", ".000002")]
            self.assertEqual([time.isoformat() for time in times], expected)
            self.assertEqual({clock.told(time)[:19] + "Z" for time in times}, {"2023-11-14T22:13:20Z"})

    def test_what_is_no_time(self) -> None:
        for wrong in (None, "1700000000", True, [], 1e300, float("nan"), float("inf"), 10**20):
            self.assertIsNone(Clock().instant(wrong), wrong)
        self.assertEqual(Clock().instant(-1), datetime(1969, 12, 31, 23, 59, 59, tzinfo=timezone.utc))

    def test_they_can_be_sorted_with_the_sdk_s_own_and_subtracted_from_them(self) -> None:
        # What chatkit.agents does with the workflow that a thread ends with.
        clock = Clock()
        ours = clock.kept(clock.instant(1_700_000_000))
        self.assertLess(ours, datetime.now())
        self.assertGreater((datetime.now() - ours).total_seconds(), 0)

    def test_the_gateway_s_offsets(self) -> None:
        for text, hours in (("+00:00", 0), ("Z", 0), ("+05:30", 5.5), ("-03:00", -3)):
            self.assertEqual(load.utc_offset(text), timedelta(hours=hours))
        for wrong in ("Europe/Berlin", "5", "+5:00"):
            with self.assertRaises(Exception):
                load.utc_offset(wrong)


class Case(unittest.TestCase):
    maxDiff = None

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.file = self.folder / "export.jsonl"
        self.database = self.folder / "chatkit.db"
        self.write(
            (thread(1, title="Every type", status={"type": "locked", "reason": None}), of_every_type()),
            (thread(2, user="bob"), []),
            (thread(2, id="cthr_3", title="The same second"), [user_message(30, thread_id="cthr_3")]),
        )

    def write(self, *threads: tuple[Json, list[Json]], finished: bool = True) -> None:
        with contextlib.closing(Writer(self.file, {"base_url": "http://hosted.test/v1"})) as writer:
            for raw, items in threads:
                writer.thread(raw, items)
            if finished:
                writer.summary(True, [])

    def run_load(self, *arguments: str, store: str = "example_store:make_store") -> tuple[int, str]:
        given = [str(self.file), "--store", store, "--adopt", str(self.folder / "adopt.jsonl"), *arguments]
        said = io.StringIO()
        environment = {"CHATKIT_STORE": f"sqlite:{self.database}"}
        with mock.patch.dict(os.environ, environment), contextlib.redirect_stderr(said):
            return load.main(given), said.getvalue()

    def adopt(self) -> list[Json]:
        return [json.loads(line) for line in (self.folder / "adopt.jsonl").read_text().splitlines()]

    def kept(self) -> dict[str, list[Any]]:
        """What is in the database, in its order."""
        with contextlib.closing(sqlite3.connect(self.database)) as database:
            return {
                "threads": [json.loads(body) for (body,) in database.execute("SELECT body FROM threads ORDER BY seq")],
                "items": [row[0] for row in database.execute("SELECT id FROM items ORDER BY seq")],
                "attachments": [row[0] for row in database.execute("SELECT id FROM attachments ORDER BY id")],
            }


ITEMS = [f"cthi_{n}" for n in (0, 1, 2, 3, 4, 5, 6, 8, 10, 30)]
ADOPT = [
    {"attachment_id": "cfile_1", "user_id": "ada"},
    {"attachment_id": "cfile_2", "user_id": "ada"},
    {"attachment_id": "cfile_3", "user_id": "ada"},
    {"thread_id": "cthr_1", "user_id": "ada", "title": "Every type", "created_at": "2023-11-14T22:13:21Z",
     "updated_at": "2023-11-14T22:15:03.000001Z"},
    {"thread_id": "cthr_2", "user_id": "bob", "created_at": "2023-11-14T22:13:22Z", "updated_at": "2023-11-14T22:13:22Z"},
    {"thread_id": "cthr_3", "user_id": "ada", "title": "The same second", "created_at": "2023-11-14T22:13:22.000001Z",
     "updated_at": "2023-11-14T22:15:10Z"},
]  # fmt: skip


class Loading(Case):
    def test_all_of_it_and_then_nothing_twice(self) -> None:
        code, said = self.run_load()
        self.assertEqual(code, 1, "an item has no counterpart")
        self.assertEqual(self.adopt(), ADOPT)
        kept = self.kept()
        self.assertEqual(kept["items"], ITEMS)
        self.assertEqual(kept["attachments"], ["cfile_1", "cfile_2", "cfile_3"])
        self.assertEqual(kept["threads"][0], {
            "id": "cthr_1", "title": "Every type", "created_at": "2023-11-14T22:13:21", "status": {"type": "locked"},
            "metadata": {},
        })  # fmt: skip
        self.assertIn("loaded: 1 assistant_message, 3 attachments, 2 client_tool_call, 2 task, 3 threads", said)
        self.assertIn("LEFT OUT: item of an unknown type: 1 (cthr_1/cthi_7)\n", said)
        self.assertIn("LEFT OUT: widget that isn't valid: 1 (cthr_1/cthi_9)\n", said)
        self.assertIn("note: tool call without an output, loaded as pending: 1 (cthr_1/cthi_10)\n", said)

        code, said = self.run_load()
        self.assertEqual((code, self.kept(), self.adopt()), (1, kept, ADOPT))
        self.assertNotIn("\nloaded:", f"\n{said}")
        self.assertIn("there already: 1 assistant_message, 3 attachments", said)

    def test_what_was_changed_since_is_left_alone(self) -> None:
        self.run_load()
        with contextlib.closing(sqlite3.connect(self.database)) as database:
            database.execute("UPDATE threads SET body = replace(body, 'Every type', 'Renamed')")
            database.commit()
        self.run_load()
        self.assertEqual(self.kept()["threads"][0]["title"], "Renamed")

    def test_it_goes_on_where_it_was_broken_off(self) -> None:
        import example_store
        from stores import SqliteStore

        for calls in range(1, 18):
            self.database.unlink(missing_ok=True)
            (self.folder / "adopt.jsonl").unlink(missing_ok=True)
            left = [calls]

            class Breaks(SqliteStore):
                async def _rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
                    if sql.lstrip().startswith("INSERT"):
                        left[0] -= 1
                        if left[0] == 0:
                            raise RuntimeError("the disk is full")
                    return await super()._rows(sql, *values)

            with mock.patch.object(example_store, "make_store", lambda: Breaks(str(self.database))):
                if calls < 17:
                    with self.assertRaisesRegex(RuntimeError, "the disk is full"):
                        self.run_load()
                    self.assertFalse((self.folder / "adopt.jsonl").exists())
                else:
                    self.run_load()
            self.run_load()
            self.assertEqual((self.kept()["items"], self.adopt()), (ITEMS, ADOPT), calls)

    def test_a_dry_run_touches_nothing(self) -> None:
        code, said = self.run_load("--dry-run")
        self.assertEqual(code, 1)
        self.assertIn("loaded: 1 assistant_message", said)
        self.assertIn("LEFT OUT: item of an unknown type", said)
        self.assertEqual([path.name for path in self.folder.iterdir()], ["export.jsonl"])

    def test_everything_is_in_the_report(self) -> None:
        self.run_load("--report", str(self.folder / "report.jsonl"))
        lines = [json.loads(line) for line in (self.folder / "report.jsonl").read_text().splitlines()]
        self.assertEqual(
            [(line["loaded"], line["item_id"], line["more"]) for line in lines if not line["loaded"]],
            [(False, "cthi_7", "chatkit.something_new"), (False, "cthi_9", mock.ANY)],
        )
        self.assertEqual(len(lines), 2 + 6)

    def test_users_get_their_new_names(self) -> None:
        users = self.folder / "users.json"
        users.write_text('{"ada": "auth0|1", "nobody": "x"}')
        code, said = self.run_load("--user-map", str(users))
        self.assertEqual(code, 1)
        self.assertIn("LEFT OUT: thread of a user who isn't in the map: 1 (cthr_2)\n", said)
        self.assertEqual({line["user_id"] for line in self.adopt()}, {"auth0|1"})
        self.assertEqual([thread["id"] for thread in self.kept()["threads"]], ["cthr_1", "cthr_3"])
        for wrong in ("[]", '{"ada": 1}', "{"):
            users.write_text(wrong)
            code, said = self.run_load("--user-map", str(users))
            self.assertEqual(code, 1)
            self.assertIn("Stopped: ", said)

    def test_an_export_that_is_not_finished_is_loaded_and_told(self) -> None:
        whole = self.file.read_bytes()
        self.file.write_bytes(whole[: whole.index(b'{"kind":"thread","thread":{"id":"cthr_3"') + 20])
        code, said = self.run_load()
        self.assertEqual(code, 1)
        self.assertIn("isn't finished: run export.py again", said)
        self.assertEqual([line.get("thread_id") for line in self.adopt()][3:], ["cthr_1", "cthr_2"])
        self.file.write_bytes(whole)
        self.run_load()
        self.assertEqual((self.kept()["items"], self.adopt()), (ITEMS, ADOPT))
        self.file.write_bytes(b"")
        self.assertIn("there is nothing in it", self.run_load()[1])

    def test_the_last_version_counts_and_what_was_deleted_stays_deleted(self) -> None:
        with contextlib.closing(Writer(self.file, {})) as writer:
            writer.thread(thread(2, user="bob", title="Renamed"), [user_message(20), user_message(20, "again")])
            writer.gone("cthr_1")
            writer.thread(thread(4), [user_message(40)], "the server failed")
            writer.summary(False, ["cthr_4"])
        code, said = self.run_load()
        self.assertEqual(code, 1)
        self.assertIn("note: thread that was deleted after it had been exported, not loaded: 1 (cthr_1)", said)
        self.assertIn("note: item that was listed in two versions, of which the last is loaded: 1 (cthr_2/cthi_20)", said)
        self.assertIn("LEFT OUT: the rest of a thread, which export.py couldn't read: 1 (cthr_4)", said)
        self.assertEqual(self.kept()["items"], ["cthi_20", "cthi_30", "cthi_40"])
        # Its place in the order, and so its time, is the one that it had.
        renamed = {"title": "Renamed", "updated_at": "2023-11-14T22:15:06Z"}
        self.assertEqual(self.adopt()[:2], [ADOPT[4] | renamed, ADOPT[5]])

    def test_times_stay_the_same_when_the_file_grows(self) -> None:
        with contextlib.closing(Writer(self.file, {})) as writer:
            writer.gone("cthr_2")
            writer.thread(thread(1), [])
            writer.summary(True, [])
        self.run_load()
        times = {line["thread_id"]: line["created_at"] for line in self.adopt() if "thread_id" in line}
        self.assertEqual(times, {line["thread_id"]: line["created_at"] for line in (ADOPT[3], ADOPT[5])})

    def test_nothing_is_left_out_and_so_it_succeeds(self) -> None:
        self.file.unlink()
        self.write((thread(1), [user_message(1), *of_every_type()[1:7]]))
        code, said = self.run_load()
        self.assertEqual(code, 0, said)
        self.assertIn("1 lines are in", said)

    def test_the_command_that_comes_next_can_be_pasted_anywhere(self) -> None:
        adopt = self.folder / "my files" / "adopt.jsonl"
        adopt.parent.mkdir()
        here = os.getcwd()
        self.addCleanup(os.chdir, here)
        os.chdir(self.folder)
        _, said = self.run_load("--adopt", "my files/adopt.jsonl")
        self.assertTrue(adopt.exists())
        self.assertIn(f": chatkit-rest adopt '{adopt.resolve()}' --config YOUR.toml\n", said)

    def test_threads_that_cannot_be_owned_or_dated_are_left_out(self) -> None:
        self.file.unlink()
        self.write((thread(1, user=None), []), (thread(2, user=""), []), (thread(3, created_at="soon"), []))
        code, said = self.run_load()
        self.assertEqual((code, self.adopt()), (1, []))
        self.assertIn("LEFT OUT: thread without a time: 1 (cthr_3)", said)
        self.assertIn("LEFT OUT: thread without a user: 2 (cthr_1, cthr_2)", said)

    def test_what_is_no_store(self) -> None:
        for store, said in (
            ("example_store", "expected module:factory"),
            ("no_such_module:make_store", "no_such_module"),
            ("example_store:no_such", "no_such"),
            ("json:JSONDecoder", "makes a JSONDecoder, which is no chatkit.store.Store"),
        ):
            code, told = self.run_load(store=store)
            self.assertEqual(code, 1)
            self.assertIn(said, told)

    def test_the_example_s_store_outlives_the_program(self) -> None:
        for name in ("memory", "quickstart", "memory:"):
            with mock.patch.dict(os.environ, {"CHATKIT_STORE": name}):
                with self.assertRaisesRegex(SystemExit, "gone with this program; expected sqlite:FILE"):
                    example_store.make_store()


class Sorting(Store[Any]):
    """Keeps objects, and sorts by time as the SDK's quickstart does. Has no place for attachments."""

    def __init__(self) -> None:
        self.threads: dict[str, Any] = {}
        self.items: dict[str, list[Any]] = {}
        self.contexts: list[Any] = []
        self.forgets = ""

    async def load_thread(self, thread_id: str, context: Any) -> Any:
        self.contexts.append(context)
        if thread_id not in self.threads:
            raise NotFoundError
        return self.threads[thread_id]

    async def save_thread(self, thread: Any, context: Any) -> None:
        self.threads[thread.id] = thread

    async def load_thread_items(self, thread_id: str, after: Any, limit: int, order: str, context: Any) -> Any:
        rows = sorted(self.items.get(thread_id, []), key=lambda item: item.created_at)
        start = next((n + 1 for n, row in enumerate(rows) if row.id == after), 0)
        data = rows[start : start + limit]
        more = start + limit < len(rows)
        return Page(data=data, has_more=more, after=data[-1].id if more else None)

    async def add_thread_item(self, thread_id: str, item: Any, context: Any) -> None:
        if item.id != self.forgets:
            self.items.setdefault(thread_id, []).insert(0, item)

    async def load_item(self, thread_id: str, item_id: str, context: Any) -> Any:
        raise NotFoundError

    async def load_attachment(self, attachment_id: str, context: Any) -> Any:
        raise NotImplementedError

    save_attachment = delete_attachment = load_threads = save_item = load_attachment  # type: ignore[assignment]
    delete_thread = delete_thread_item = load_attachment  # type: ignore[assignment]


class Stores(unittest.TestCase):
    def load(self, store: Sorting, raw: Json, items: list[Json]) -> tuple[Loader, Report]:
        report = Report()
        loader = Loader(store, lambda user: {"user_id": user}, report)
        asyncio.run(loader.load(raw, items))
        return loader, report

    def test_one_that_sorts_keeps_the_order_and_goes_on_with_the_sdk_s_times(self) -> None:
        store = Sorting()
        items = [user_message(n) for n in range(250)]
        for raw in items:
            raw["created_at"] = 1_700_000_100
        _, report = self.load(store, thread(1), items)
        self.assertEqual((report.notes, report.left_out), ({}, {}))
        self.assertEqual(report.loaded, {"threads": 1, "user_message": 250})
        newer = store.items["cthr_1"][0].model_copy(update={"id": "msg_new", "created_at": datetime.now()})
        store.items["cthr_1"].append(newer)
        rows = asyncio.run(store.load_thread_items("cthr_1", None, 1000, "asc", None)).data
        self.assertEqual([row.id for row in rows], [raw["id"] for raw in items] + ["msg_new"])
        self.assertEqual(store.contexts, [{"user_id": "ada"}])

    def test_a_newer_version_of_an_item_takes_its_place(self) -> None:
        store = Sorting()
        first, second = (user_message(n) | {"created_at": 1_700_000_100} for n in (1, 2))
        _, report = self.load(store, thread(1), [first, second, first | {"content": []}])
        rows = asyncio.run(store.load_thread_items("cthr_1", None, 10, "asc", None)).data
        self.assertEqual([(row.id, len(row.content)) for row in rows], [("cthi_1", 0), ("cthi_2", 1)])

    def test_one_that_forgets_is_found_out(self) -> None:
        store = Sorting()
        store.forgets = "cthi_2"
        _, report = self.load(store, thread(1), [user_message(n) for n in range(4)])
        self.assertEqual(report.left_out, {"item that the store hasn't kept": ["cthr_1/cthi_2"]})

    def test_one_that_mixes_them_up_is_found_out(self) -> None:
        items = [user_message(n) | {"created_at": 1_700_000_000 - n} for n in range(2)]
        _, report = self.load(Sorting(), thread(1), items)
        self.assertEqual(report.notes, {"thread whose items the store has in another order": ["cthr_1"]})

    def test_one_without_attachments_gets_the_rest(self) -> None:
        loader, report = self.load(Sorting(), thread(1), of_every_type()[:1])
        self.assertEqual(report.loaded, {"threads": 1, "user_message": 1})
        self.assertEqual(len(report.notes["attachment that the store has no place for, but in its message"]), 3)
        self.assertEqual([line.get("thread_id") for line in loader.adopt], ["cthr_1"])

    def test_what_makes_a_store(self) -> None:
        async def later() -> Sorting:
            return Sorting()

        module = mock.Mock(spec=["one", "make", "later"], one=Sorting(), make=Sorting, later=later)
        with mock.patch("importlib.import_module", lambda _: module), mock.patch.object(sys, "path", []):
            for name in ("one", "make", "later"):
                store, make_context = asyncio.run(load.open_store(f"mine:{name}"))
                self.assertIsInstance(store, Sorting)
                self.assertEqual(make_context("ada"), {"user_id": "ada"})
            with self.assertRaises(Unsuited):
                asyncio.run(load.open_store("mine:"))


if __name__ == "__main__":
    unittest.main()
