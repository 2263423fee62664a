"""A stand-in for the hosted API's threads, which does to a client what a real one may do.

Nobody has recorded a hosted account: its shapes are those of the types of the `openai` package.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

Json = dict[str, Any]
KEY = "sk-of-the-tests"


def thread(n: int, user: str = "ada", **other: Any) -> Json:
    common = {"id": f"cthr_{n}", "object": "chatkit.thread", "created_at": 1_700_000_000 + n, "user": user}
    return common | {"title": None, "status": {"type": "active"}} | other


def item(n: int, kind: str, thread_id: str = "cthr_1", **other: Any) -> Json:
    common = {"id": f"cthi_{n}", "object": "chatkit.thread_item", "thread_id": thread_id}
    return common | {"created_at": 1_700_000_100 + n // 3, "type": kind} | other


def user_message(n: int, text: str = "Hi", thread_id: str = "cthr_1", **other: Any) -> Json:
    content = [{"type": "input_text", "text": text}]
    more = {"content": content, "attachments": [], "inference_options": None} | other
    return item(n, "chatkit.user_message", thread_id, **more)


def of_every_type() -> list[Json]:
    """All that the client's types know, with nulls and without, and something that they don't."""
    return [
        user_message(
            0,
            content=[{"type": "quoted_text", "text": "what?"}, {"type": "input_text", "text": "Look \U0001f600"}],
            attachments=[
                {"id": "cfile_1", "type": "image", "name": "p.png", "mime_type": "image/png", "preview_url": "https://x.test/p"},
                {"id": "cfile_2", "type": "image", "name": "q.png", "mime_type": "image/png", "preview_url": None},
                {"id": "cfile_3", "type": "file", "name": "f.txt", "mime_type": "text/plain", "preview_url": None},
            ],
            inference_options={"model": "m", "tool_choice": {"id": "t"}},
        ),
        item(1, "chatkit.assistant_message", content=[
            {"type": "output_text", "text": "a", "annotations": [
                {"type": "file", "source": {"type": "file", "filename": "f.txt"}},
                {"type": "url", "source": {"type": "url", "url": "https://x.test/"}},
                {"type": "moon", "source": {"type": "moon"}},
            ]},
            {"type": "output_text", "text": "b", "annotations": []},
        ]),
        item(2, "chatkit.widget", widget='{"type":"Card","children":[{"type":"Text","value":"Hello"}]}'),
        item(3, "chatkit.client_tool_call", call_id="call_1", name="pick", status="completed",
             arguments='{"from":[1,null]}', output='{"picked":null}'),
        item(4, "chatkit.task", task_type="thought", heading=None, summary=None),
        item(5, "chatkit.task", task_type="custom", heading="Looked it up", summary="Twice"),
        item(6, "chatkit.task_group", tasks=[
            {"type": "custom", "heading": "A", "summary": None}, {"type": "thought", "heading": None, "summary": "B"},
        ]),
        item(7, "chatkit.something_new", of={"another": ["age", 1.5, None, "\ud83d"]}),
        item(8, "user_message", content=[{"type": "input_text", "text": "unprefixed"}], attachments=[]),
        item(9, "chatkit.widget", widget='{"type":"Moon"}'),
        item(10, "chatkit.client_tool_call", call_id="call_2", name="wait", status="in_progress",
             arguments="{}", output=None),
    ]  # fmt: skip


class Answer(Exception):
    """Raised by a trick, to answer with something else than a page."""

    def __init__(self, status: int, body: Any, **fields: str) -> None:
        self.status, self.body, self.fields = status, body, fields


class Cut(Exception):
    """Raised by a trick: the connection ends in the middle of the answer."""


def refusal(status: int, message: str = "no", **fields: str) -> Answer:
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": None}
    return Answer(status, {"error": error}, **fields)


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """A client that was killed is none."""


class Hosted:
    """The API with these threads, each with its items, the oldest first."""

    def __init__(self, threads: list[tuple[Json, list[Json]]]) -> None:
        self.threads = {thread["id"]: (thread, items) for thread, items in threads}
        self.asked: list[str] = []
        """The requests so far, by path and cursor."""
        self.trick: Callable[[str, Json], Json] = lambda asked, answer: answer
        """Sees what is asked for and the answer, which it may change. It may raise Answer and Cut."""
        self.largest = 100
        self.cursors: dict[str, str] = {}
        """Cursors that are no ids, and the ids that they stand for."""
        hosted = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                hosted._answer(self)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        url = urlsplit(request.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        asked = unquote(url.path).removeprefix("/v1/chatkit") + "".join(
            f" {name}={query[name]}" for name in ("order", "after") if name in query
        )
        self.asked.append(asked)
        status, fields = 200, {}
        try:
            if request.headers["authorization"] != f"Bearer {KEY}":
                raise refusal(401, f"Incorrect API key provided: {request.headers['authorization']}")
            if request.headers["openai-beta"] != "chatkit_beta=v1":
                raise refusal(400, "not a client of ChatKit's")
            body = self.trick(asked, self._page(unquote(url.path), query))
        except Answer as other:
            status, body, fields = other.status, other.body, other.fields
        except Cut:
            request.wfile.write(b'HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{"object"')
            request.close_connection = True
            return
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        request.send_response(status)
        for name, value in {"content-type": "application/json", "content-length": str(len(data)), **fields}.items():
            request.send_header(name.replace("_", "-"), value)
        request.end_headers()
        request.wfile.write(data)

    def _page(self, path: str, query: dict[str, str]) -> Json:
        match path.removeprefix("/v1/chatkit/threads").split("/")[1:]:
            case []:
                rows = [thread for thread, _ in self.threads.values()]
            case [thread_id] if thread_id in self.threads:
                return self.threads[thread_id][0]
            case [thread_id, "items"] if thread_id in self.threads:
                rows = self.threads[thread_id][1]
            case _:
                raise refusal(404, "No thread found.")
        if query.get("order", "desc") == "desc":
            rows = rows[::-1]
        limit = min(int(query.get("limit", 20)), self.largest)
        ids = [row["id"] for row in rows]
        after = self.cursors.get(query.get("after", ""), query.get("after"))
        # Sample stores, too, begin anew after what they don't know.
        start = ids.index(after) + 1 if after in ids else 0
        return page(rows[start : start + limit], start + limit < len(rows))


def page(rows: list[Json], has_more: bool) -> Json:
    ids = [row["id"] for row in rows]
    ends = {"first_id": ids[0], "last_id": ids[-1]} if ids else {"first_id": None, "last_id": None}
    return {"object": "list", "data": rows, "has_more": has_more, **ends}
