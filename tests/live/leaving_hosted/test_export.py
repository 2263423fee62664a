"""export.py against a stand-in for the hosted API."""

from __future__ import annotations

import contextlib
import functools
import io
import json
import os
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import unittest
from pathlib import Path
from typing import Any, Callable
from unittest import mock

import export
from leaving import records
from leaving.api import Api, Patience, Stop, said
from export import Export
from hosted import KEY, Answer, Cut, Hosted, Json, of_every_type, page, refusal, thread, user_message
from openai import OpenAI
from leaving.progress import Progress
from leaving.records import Unusable, Writer

PROGRAM = Path(export.__file__)
CLIENT = OpenAI(api_key=KEY)
"""Making one takes longer than a whole export."""


def account() -> list[tuple[Json, list[Json]]]:
    """Threads 1 to 7, of which the second has 205 items and the third none."""
    many = [user_message(1000 + n, thread_id="cthr_2") for n in range(205)]
    first = (thread(1, title="Every\u2028type", status={"type": "locked", "reason": None}, new={"a": 1}), of_every_type())
    others = [(thread(n), [user_message(n * 10, thread_id=f"cthr_{n}")]) for n in range(4, 8)]
    return [first, (thread(2, user="bob"), many), (thread(3), []), *others]


class Case(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.out = Path(folder.name) / "out.jsonl"
        self.hosted = Hosted(account())
        self.addCleanup(self.hosted.close)
        self.waits: list[float] = []

    def run_export(self, page_size: int = 100, quick: bool = False, retries: int = 0) -> tuple[bool, str]:
        """Whether all is there, and what was said."""
        said = io.StringIO()
        progress = Progress(said)
        client = CLIENT.with_options(base_url=self.hosted.url, max_retries=retries)
        patience = Patience(progress.tell, sleep=self.waits.append, jitter=lambda: 0)
        writer = Writer(self.out, {"base_url": self.hosted.url})
        with contextlib.closing(writer):
            return Export(Api(client, patience, page_size), writer, progress, quick).run(), said.getvalue()

    def written(self) -> dict[str, tuple[Json, list[Json]]]:
        with self.out.open("rb") as file:
            contents = records.scan(file)
            return {id: records.read_block(file, contents.blocks[id]) for id in contents.threads}

    def assert_whole(self) -> None:
        self.assertEqual(self.written(), self.hosted.threads)
        with self.out.open("rb") as file:
            self.assertTrue(records.scan(file).finished)

    def once(self, wanted: str, trick: Callable[[], Any]) -> None:
        """Plays a trick on the first request for this."""
        left = [wanted]

        def play(asked: str, answer: Json) -> Json:
            if left and asked == left[0]:
                left.pop()
                return trick() or answer
            return answer

        self.hosted.trick = play


def throw(error: Exception) -> None:
    raise error


class Whole(Case):
    def test_everything_is_written_as_it_came(self) -> None:
        for page_size in (1, 3, 100):
            self.out.unlink(missing_ok=True)
            whole, said = self.run_export(page_size)
            self.assertTrue(whole, said)
            self.assert_whole()
            self.assertIn("7 threads with 220 items are in the file\nAll of it is there.\n", said)
        self.assertEqual(stat.S_IMODE(self.out.stat().st_mode), 0o600)
        self.assertEqual(self.waits, [])
        self.assertNotIn(KEY, self.out.read_text() + said)

    def test_a_server_with_smaller_pages_than_asked_for(self) -> None:
        self.hosted.largest = 2
        self.assertTrue(self.run_export()[0])
        self.assert_whole()

    def test_what_is_there_is_not_fetched_again(self) -> None:
        self.run_export()
        before = self.out.read_bytes()
        self.hosted.asked.clear()
        whole, said = self.run_export(quick=True)
        self.assertTrue(whole)
        self.assertEqual(self.hosted.asked, ["/threads order=asc"] * 2)
        self.assertIn("7 of 7 threads are there already", said)
        self.hosted.asked.clear()
        self.assertTrue(self.run_export()[0])
        self.assertEqual(len(self.hosted.asked), 2 + 7, "each thread is asked for its last items")
        after = self.out.read_bytes()
        self.assertTrue(after.startswith(before))
        self.assertEqual(after[len(before) :].count(b"\n"), 2, "two more summaries")

    def test_an_item_listed_twice_is_written_once_and_a_new_version_of_it_too(self) -> None:
        first, *rest = self.hosted.threads["cthr_1"][1]
        changed = first | {"content": []}
        self.once("/threads/cthr_1/items order=asc", lambda: page([first, first, changed, *rest], False))
        whole, said = self.run_export()
        self.assertTrue(whole, said)
        self.assertEqual(self.written()["cthr_1"][1], [first, changed, *rest])
        self.assertIn("1 rows were listed twice, and are written once: cthi_0\n", said)

    def test_a_thread_listed_twice_is_written_once(self) -> None:
        rows = [thread for thread, _ in self.hosted.threads.values()]
        self.once("/threads order=asc", lambda: page([*rows, rows[0]], False))
        whole, said = self.run_export()
        self.assertTrue(whole, said)
        self.assert_whole()
        self.assertIn("1 rows were listed twice", said)


class Paging(Case):
    def test_an_empty_page_that_promises_more_is_not_the_end(self) -> None:
        self.hosted.cursors["behind what is hidden"] = "cthi_1099"
        empty = page([], True) | {"last_id": "behind what is hidden"}
        self.once("/threads/cthr_2/items order=asc after=cthi_1099", lambda: empty)
        whole, said = self.run_export()
        self.assertTrue(whole, said)
        self.assertIn("/threads/cthr_2/items order=asc after=behind what is hidden", self.hosted.asked)
        self.assert_whole()

    def test_a_page_without_last_id_goes_on_behind_its_last_row(self) -> None:
        def forgets(asked: str, answer: Json) -> Json:
            return answer | {"last_id": None} if "data" in answer else answer

        self.hosted.trick = forgets
        whole, said = self.run_export(page_size=2)
        self.assertTrue(whole, said)
        self.assert_whole()

    def test_without_has_more_the_client_s_rule_holds(self) -> None:
        def forgets(asked: str, answer: Json) -> Json:
            return {name: value for name, value in answer.items() if name != "has_more"}

        self.hosted.trick = forgets
        self.assertTrue(self.run_export(page_size=2, quick=True)[0])
        self.assert_whole()

    def test_a_list_that_goes_round_in_circles_is_told_and_its_rows_are_kept(self) -> None:
        def circle(asked: str, answer: Json) -> Json:
            if asked.startswith("/threads/cthr_2/items order=asc after=cthi_1199"):
                return page(self.hosted.threads["cthr_2"][1][:100], True)
            return answer

        self.hosted.trick = circle
        whole, said = self.run_export()
        self.assertFalse(whole)
        self.assertIn("MISSING: cthr_2 isn't whole: 200 items, then the list goes round in circles", said)
        self.assertEqual(len(self.written()["cthr_2"][1]), 200)
        # It comes right.
        self.hosted.trick = lambda asked, answer: answer
        self.assertTrue(self.run_export()[0])
        self.assert_whole()

    def test_less_than_there_was_is_not_written_over_it(self) -> None:
        def until(after: str) -> Callable[[str, Json], Json]:
            def trick(asked: str, answer: Json) -> Json:
                return throw(refusal(400)) or answer if asked.endswith(f"order=asc after={after}") else answer

            return trick

        for after, kept in (("cthi_1199", 200), ("cthi_1099", 200)):
            self.hosted.trick = until(after)
            self.assertFalse(self.run_export()[0])
            self.assertEqual(len(self.written()["cthr_2"][1]), kept)

    def test_a_promise_without_a_place_is_told(self) -> None:
        nowhere = page([], True)
        for wanted, said in (
            ("/threads order=asc", "the list of threads isn't whole"),
            ("/threads/cthr_4/items order=asc", "cthr_4 isn't there"),
        ):
            self.out.unlink(missing_ok=True)
            self.hosted.trick = lambda asked, answer: nowhere if asked == wanted else answer
            if wanted.startswith("/threads order"):
                with self.assertRaisesRegex(Stop, "without saying where"):
                    self.run_export()
            else:
                whole, told = self.run_export()
                self.assertFalse(whole)
                self.assertIn(said, told)

    def test_endless_empty_pages_end(self) -> None:
        count = iter(range(1000))

        def more(asked: str, answer: Json) -> Json:
            if asked.startswith("/threads/cthr_3/items"):
                return page([], True) | {"last_id": f"cursor_{next(count)}"}
            return answer

        self.hosted.trick = more
        whole, said = self.run_export()
        self.assertFalse(whole)
        self.assertIn("cthr_3 isn't there", said)


class Meanwhile(Case):
    def test_a_thread_that_is_deleted_before_it_is_read(self) -> None:
        def delete(asked: str, answer: Json) -> Json:
            if asked.startswith("/threads/cthr_1/items"):
                self.hosted.threads.pop("cthr_5", None)
            return answer

        self.hosted.trick = delete
        whole, said = self.run_export()
        self.assertTrue(whole, said)
        self.assertIn("1 threads were deleted while they were read: cthr_5\n", said)
        self.assert_whole()

    def test_a_thread_that_is_deleted_after_it_was_written(self) -> None:
        self.run_export()
        del self.hosted.threads["cthr_5"]
        whole, said = self.run_export()
        self.assertTrue(whole, said)
        self.assertIn("cthr_5 was deleted after it had been exported", said)
        self.assert_whole()
        self.assertIn(b"cthr_5", self.out.read_bytes(), "it is still in the file")

    def test_a_thread_that_is_deleted_between_the_last_list_and_its_comparison(self) -> None:
        self.run_export()
        deleted = self.hosted.threads["cthr_5"]

        def delete(asked: str, answer: Json) -> Json:
            if asked == "/threads/cthr_4/items order=desc":
                self.hosted.threads.pop("cthr_5", None)
            return answer

        self.hosted.trick = delete
        whole, said = self.run_export()
        self.assertTrue(whole, said)
        self.assert_whole()
        self.hosted.threads["cthr_5"] = deleted

    def test_a_thread_that_is_not_listed_but_there(self) -> None:
        self.run_export()
        rows = [thread for id, (thread, _) in self.hosted.threads.items() if id != "cthr_6"]
        self.hosted.trick = lambda asked, answer: page(rows, False) if asked == "/threads order=asc" else answer
        whole, said = self.run_export()
        self.assertTrue(whole, said)
        self.assertIn("cthr_6 isn't listed any more, but still there", said)
        self.assertIn("cthr_6", self.written())

    def test_items_that_cannot_be_found_though_the_thread_is_there(self) -> None:
        self.hosted.trick = lambda asked, answer: (
            throw(refusal(404)) or answer if asked.startswith("/threads/cthr_5/items") else answer
        )
        whole, said = self.run_export()
        self.assertFalse(whole)
        self.assertIn("MISSING: cthr_5 isn't there", said)

    def test_threads_that_begin_grow_and_are_renamed_while_it_runs(self) -> None:
        def live(asked: str, answer: Json) -> Json:
            if asked == "/threads/cthr_7/items order=asc" and "cthr_8" not in self.hosted.threads:
                self.hosted.threads["cthr_8"] = (thread(8), [user_message(80, thread_id="cthr_8")])
                self.hosted.threads["cthr_4"][1].append(user_message(41, thread_id="cthr_4"))
                self.hosted.threads["cthr_5"][0]["title"] = "Renamed"
                self.hosted.threads["cthr_1"][1][-1]["status"] = "completed"
            return answer

        self.hosted.trick = live
        whole, said = self.run_export()
        self.assertTrue(whole, said)
        self.assertIn("1 threads have begun meanwhile", said)
        self.assertIn("3 threads have changed since they were written", said)
        self.assert_whole()

    def test_what_the_lists_do_not_agree_about_is_told(self) -> None:
        items = self.hosted.threads["cthr_1"][1]
        self.hosted.trick = lambda asked, answer: (
            page([*items[:3], *items[4:]], False) if asked == "/threads/cthr_1/items order=asc" else answer
        )
        whole, said = self.run_export()
        self.assertFalse(whole)
        self.assertIn("MISSING: cthr_1 isn't the same twice", said)


class Failures(Case):
    def test_limits_and_failures_are_waited_for(self) -> None:
        for trick, waits in (
            (lambda: throw(refusal(429, retry_after="7")), [7]),
            (lambda: throw(refusal(429)), [2]),
            (lambda: throw(refusal(503, retry_after="Fri, 31 Dec 1999 23:59:59 GMT")), [2]),
            (lambda: throw(refusal(500)), [2]),
            (lambda: throw(Cut()), [2]),
            (lambda: throw(Answer(200, b"<html>", content_type="text/html")), [2]),
            (lambda: throw(Answer(200, {"data": None})), [2]),
        ):
            for wanted in ("/threads order=asc", "/threads/cthr_2/items order=asc after=cthi_1099"):
                self.out.unlink(missing_ok=True)
                self.waits.clear()
                self.once(wanted, trick)
                whole, said = self.run_export()
                self.assertTrue(whole, said)
                self.assertEqual(self.waits, waits, said)
                self.assertIn("; waiting ", said)
                self.assert_whole()

    def test_patience_grows_and_ends(self) -> None:
        self.hosted.trick = lambda asked, answer: throw(refusal(429))
        with self.assertRaisesRegex(Stop, "limit of requests"):
            self.run_export()
        self.assertEqual(self.waits, [2, 4, 8, 16, 32, 60, 60, 60, 60])
        self.hosted.trick = lambda asked, answer: throw(refusal(429, retry_after="3600"))
        with self.assertRaisesRegex(Stop, "come back in 60 min"):
            self.run_export()

    def test_a_server_that_is_gone(self) -> None:
        self.hosted.close()
        with self.assertRaisesRegex(Stop, "can't be reached"):
            self.run_export()

    def test_one_thread_that_cannot_be_read_does_not_keep_the_others(self) -> None:
        for error in (refusal(400), refusal(500, x_should_retry="false"), refusal(500)):
            self.out.unlink(missing_ok=True)
            self.hosted.trick = lambda asked, answer: (
                throw(error) or answer if asked == "/threads/cthr_2/items order=asc after=cthi_1099" else answer
            )
            whole, said = self.run_export()
            self.assertFalse(whole)
            self.assertIn("MISSING: cthr_2 isn't whole: 100 items, then ", said)
            self.assertEqual(len(self.written()), 7)

    def test_an_outage_ends_it_and_it_goes_on_later(self) -> None:
        self.hosted.trick = lambda asked, answer: (
            throw(refusal(500)) or answer if "/items" in asked and "cthr_1" not in asked else answer
        )
        with self.assertRaisesRegex(Stop, "3 threads in a row"):
            self.run_export()
        self.assertEqual(list(self.written()), ["cthr_1"])
        self.hosted.trick = lambda asked, answer: answer
        self.hosted.asked.clear()
        self.assertTrue(self.run_export()[0])
        self.assertNotIn("/threads/cthr_1/items order=asc", self.hosted.asked)
        self.assert_whole()

    def test_the_key_of_another_project_changes_nothing(self) -> None:
        self.run_export()
        before = self.out.read_bytes()
        for others in ([], [(thread(99), [])]):
            self.hosted.threads = {thread["id"]: (thread, items) for thread, items in others}
            with self.assertRaisesRegex(Stop, "the key of another project"):
                self.run_export()
            self.assertEqual(self.out.read_bytes(), before)


class Files(Case):
    def test_it_goes_on_wherever_it_was_torn(self) -> None:
        self.hosted = Hosted(account()[:1] + account()[3:5])
        self.addCleanup(self.hosted.close)
        self.run_export()
        whole = self.out.read_bytes()
        second = whole.index(b'{"kind":"thread","thread":{"id":"cthr_4"')
        for end in range(len(records.BEGIN) - 4, len(whole), 61):
            self.out.write_bytes(whole[:end])
            self.hosted.asked.clear()
            self.assertTrue(self.run_export(quick=True)[0], end)
            self.assert_whole()
            self.assertEqual("/threads/cthr_1/items order=asc" in self.hosted.asked, end < second, end)
            lines = self.out.read_bytes().splitlines()
            self.assertTrue(all(json.loads(line) for line in lines), end)

    def test_what_was_torn_leaves_nothing_behind(self) -> None:
        self.run_export()
        whole = self.out.read_bytes()
        self.out.write_bytes(whole[: whole.index(b"cthi_1200")])
        for id in list(self.hosted.threads)[1:]:
            del self.hosted.threads[id]
        self.assertTrue(self.run_export()[0])
        self.assert_whole()

    def test_what_is_no_export_is_not_touched(self) -> None:
        for text in ("shopping list", '{"kind":"export","format":2}\n', '{"a":1}\n', '{"kind":"thread"}\n'):
            self.out.write_text(text)
            with self.assertRaisesRegex(Unusable, "this is no export"):
                Writer(self.out, {"base_url": ""})
            self.assertEqual(self.out.read_text(), text)

    def test_what_was_edited_is_not_touched(self) -> None:
        self.run_export()
        lines = self.out.read_text().splitlines(keepends=True)
        for edited in (
            lines[:1] + ["{\n"] + lines[1:],
            lines[:3] + lines[4:],
            lines[:1] + lines[2:],
            lines[:1] + ['{"kind":"thread"}\n'] + lines[2:],
            lines[:1] + ['{"kind":"moon"}\n'] + lines[1:],
        ):
            self.out.write_text("".join(edited))
            with self.assertRaises(Unusable):
                Writer(self.out, {"base_url": ""})
            self.assertEqual(self.out.read_text(), "".join(edited))

    def test_two_at_once(self) -> None:
        with contextlib.closing(Writer(self.out, {"base_url": ""})):
            with self.assertRaisesRegex(Unusable, "another run"):
                Writer(self.out, {"base_url": ""})


class Program(Case):
    """As a user starts it."""

    def environment(self, key: str | None = KEY) -> dict[str, str]:
        others = {name: value for name, value in os.environ.items() if not name.startswith("OPENAI_")}
        return others | {"OPENAI_BASE_URL": self.hosted.url} | ({} if key is None else {"OPENAI_API_KEY": key})

    def start(self) -> subprocess.Popen[str]:
        command = [sys.executable, str(PROGRAM), str(self.out)]
        # What a shell starts in the background ignores SIGINT, and so does all that it starts.
        heeds = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
        program = subprocess.Popen(
            command, env=self.environment(), stderr=subprocess.PIPE, text=True, preexec_fn=heeds
        )
        self.addCleanup(program.wait)
        self.addCleanup(program.kill)
        return program

    def finish(self, *arguments: str, key: str | None = KEY) -> tuple[int, str]:
        said = io.StringIO()
        with mock.patch.dict(os.environ, self.environment(key), clear=True), contextlib.redirect_stderr(said):
            return export.main([str(self.out), *arguments]), said.getvalue()

    def test_killed_and_interrupted_it_goes_on(self) -> None:
        # The client's own retry is seen here, too.
        refused = threading.Event()

        def hold(asked: str, answer: Json) -> Json:
            if not refused.is_set():
                refused.set()
                raise refusal(429, retry_after_ms="1")
            if asked.startswith("/threads/cthr_4/items"):
                reached.set()
                release.wait(120)
            return answer

        for number, code, said in ((signal.SIGKILL, -9, ""), (signal.SIGINT, 130, "the same command goes on from there")):
            reached, release = threading.Event(), threading.Event()
            self.hosted.trick = hold
            program = self.start()
            self.assertTrue(reached.wait(120))
            program.send_signal(number)
            _, told = program.communicate(timeout=120)
            release.set()
            self.assertEqual(program.returncode, code, told)
            self.assertIn(said, told)
            self.assertNotIn("Traceback", told)
            self.assertEqual(list(self.written()), ["cthr_1", "cthr_2", "cthr_3"])
        self.hosted.trick = lambda asked, answer: answer
        self.hosted.asked.clear()
        code, told = self.finish()
        self.assertEqual((code, KEY in told), (0, False), told)
        self.assertIn("3 of 7 threads are there already", told)
        self.assertNotIn("/threads/cthr_2/items order=asc", self.hosted.asked)
        self.assert_whole()

    def test_what_is_missing_is_its_status(self) -> None:
        self.hosted.trick = lambda asked, answer: (
            throw(refusal(400)) or answer if asked.startswith("/threads/cthr_5/items") else answer
        )
        code, said = self.finish()
        self.assertEqual(code, 1)
        self.assertIn("MISSING: cthr_5 isn't there\nRun it again", said)

    def test_what_keeps_it_from_beginning(self) -> None:
        for key, said in ((None, "OPENAI_API_KEY is not set"), ("sk-another", "a key of the project that ChatKit runs in")):
            code, told = self.finish(key=key)
            self.assertEqual(code, 1)
            self.assertIn(said, told)
            self.assertNotIn("sk-another", told)
        # A run in which nothing was read binds the file to nothing.
        code, told = self.finish("--base-url", f"{self.hosted.url}/elsewhere")
        self.assertEqual(code, 1)
        self.assertIn("is OPENAI_BASE_URL right?", told)
        code, told = self.finish()
        self.assertEqual(code, 0, told)
        self.assert_whole()
        before = self.out.read_bytes()
        code, told = self.finish("--base-url", f"{self.hosted.url}/elsewhere")
        self.assertEqual((code, self.out.read_bytes()), (1, before))
        self.assertIn("Take another file", told)
        self.out = self.out / "missing" / "folder"
        code, told = self.finish()
        self.assertEqual(code, 1)
        self.assertIn("can't be written", told)

    def test_progress_is_shown_in_one_line_on_a_terminal(self) -> None:
        class Terminal(io.StringIO):
            def isatty(self) -> bool:
                return True

        for stream, expected in (
            (Terminal(), "\r\x1b[Kline 1\r\x1b[Kline 3\r\x1b[Kdone\n"),
            (io.StringIO(), "line 4\ndone\n"),
        ):
            times = iter([0, 1, 1.1, 2, 5, 6] if stream.isatty() else [0, 1, 2, 3, 6])
            progress = Progress(stream, lambda: next(times))
            for n in (1, 2, 3) if stream.isatty() else (1, 2, 3, 4):
                progress.show(lambda: f"line {n}")
            progress.tell("done")
            self.assertEqual(stream.getvalue(), expected)

    def test_the_key_is_not_repeated(self) -> None:
        with mock.patch.dict(os.environ, {"OPENAI_API_KEY": "sk-1"}):
            self.assertEqual(said(ValueError("no sk-1\nhere")), "no … here")


if __name__ == "__main__":
    unittest.main()
