"""The official `openai` client against the gateway, with nothing changed but its base URL.

    python openai_client.py CHECK

`ROOT` is the gateway, `OTHER` a second one on the same store, `UPSTREAM` the ChatKit server behind
them, `KEY` a service's key. tests/live/openai.rs starts them and runs one check after the other.
"""

from __future__ import annotations

import json
import os
import sys
import time
import urllib.error
import urllib.request
from typing import Any

import openai
from openai import OpenAI

ROOT, OTHER, KEY = os.environ["ROOT"], os.environ["OTHER"], os.environ["KEY"]
UPSTREAM = os.environ["UPSTREAM"]
REST = "/api/v1/chatkit"


class Counting:
    """A client that knows how often it asked."""

    def __init__(self, api_key: str = KEY, root: str = ROOT) -> None:
        self.asked = 0
        http = openai.DefaultHttpxClient(event_hooks={"request": [self._count]})
        self.chatkit = OpenAI(api_key=api_key, base_url=f"{root}/v1", http_client=http).beta.chatkit

    def _count(self, _: Any) -> None:
        self.asked += 1


def call(secret: str, method: str, path: str, body: Any = None, root: str = ROOT) -> tuple[int, Any, Any]:
    """What a page in a browser does with its client secret."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"authorization": f"Bearer {secret}", "content-type": "application/json"}
    request = urllib.request.Request(root + path, data, headers, method=method)
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, answer.headers, json.loads(answer.read())
    except urllib.error.HTTPError as answer:
        return answer.code, answer.headers, json.loads(answer.read())


def secret_of(user: str, requests: int = 1000) -> str:
    session = Counting().chatkit.sessions.create(
        user=user, workflow={"id": "wf_1"}, rate_limits={"max_requests_per_1_minute": requests}
    )
    return session.client_secret


def conversation(user: str, *messages: str) -> str:
    """A conversation of the user's; gives the upstream's id of its thread."""
    secret = secret_of(user)
    status, _, created = call(secret, "POST", f"{REST}/sessions")
    assert status == 200, created
    session = created["data"]["id"]
    thread = ""
    for message in messages:
        path = f"{REST}/sessions/{session}/threads/{session}/runs"
        status, _, answer = call(secret, "POST", path, {"message": message, "stream": False})
        assert status == 200, answer
        thread = answer["data"]["thread_id"]
    return thread


def raises(kind: type[openai.APIStatusError], status: int, ask: Any) -> openai.APIStatusError:
    try:
        answer = ask()
    except kind as error:
        assert type(error) is kind and error.status_code == status, error
        assert error.request_id, error
        return error
    raise AssertionError(f"{kind.__name__} is due, and not {answer!r}")


def sessions() -> None:
    client = Counting()
    session = client.chatkit.sessions.create(
        user="hosted-sessions",
        workflow={"id": "wf_1", "state_variables": {"plan": "pro"}},
        rate_limits={"max_requests_per_1_minute": 3},
    )
    assert session.status == "active" and session.user == "hosted-sessions", session
    assert session.object == "chatkit.session" and session.id.startswith("cksess_"), session
    assert 595 <= session.expires_at - time.time() <= 601, session
    assert session.max_requests_per_1_minute == session.rate_limits.max_requests_per_1_minute == 3
    assert session.workflow.state_variables == {"plan": "pro"} and session.workflow.tracing.enabled
    configuration = session.chatkit_configuration
    assert configuration.automatic_thread_titling.enabled and configuration.history.enabled
    assert not configuration.file_upload.enabled and configuration.file_upload.max_files == 10

    # REST and the pass-through, and then its own limit.
    secret = session.client_secret
    status, _, created = call(secret, "POST", f"{REST}/sessions")
    assert status == 200 and created["data"]["user_id"] == "hosted-sessions", created
    listed = {"type": "threads.list", "params": {}}
    for body in (listed, listed):
        status, headers, answer = call(secret, "POST", REST, body)
        assert (status, answer) == (200, {"data": [], "has_more": False}), answer
    assert headers["ratelimit-policy"] == '"session";q=3;w=60', headers
    status, headers, answer = call(secret, "POST", REST, listed)
    assert status == 429 and headers["retry-after"] == "20", answer

    # Revoked here and on the other replica.
    second = secret_of("hosted-sessions")
    assert call(second, "GET", f"{REST}/sessions", root=OTHER)[0] == 200
    cancelled = client.chatkit.sessions.cancel(session.id)
    assert cancelled.status == "cancelled" and cancelled.client_secret == secret, cancelled
    assert client.chatkit.sessions.cancel(session.id).status == "cancelled"
    for root in (ROOT, OTHER):
        status, headers, _ = call(secret, "GET", f"{REST}/sessions", root=root)
        assert status == 401 and 'error="invalid_token"' in headers["www-authenticate"]
        assert call(second, "GET", f"{REST}/sessions", root=root)[0] == 200
    raises(openai.NotFoundError, 404, lambda: client.chatkit.sessions.cancel("cksess_none"))


def replicas() -> None:
    """Made by one and used on the other, revoked there and refused here."""
    here, there = Counting(), Counting(root=OTHER)
    session = here.chatkit.sessions.create(user="hosted-replicas", workflow={"id": "w"})
    assert call(session.client_secret, "GET", f"{REST}/sessions", root=OTHER)[0] == 200
    assert call(session.client_secret, "GET", f"{REST}/sessions")[0] == 200
    there.chatkit.sessions.cancel(session.id)
    assert call(session.client_secret, "GET", f"{REST}/sessions")[0] == 401
    assert call(session.client_secret, "GET", f"{REST}/sessions", root=OTHER)[0] == 401


def expiry() -> None:
    client = Counting()
    begun = time.time()
    session = client.chatkit.sessions.create(
        user="hosted-expiry", workflow={"id": "w"}, expires_after={"anchor": "created_at", "seconds": 1}
    )
    # It lasts at least as long as was asked for, and less than a second longer.
    assert session.status == "active" and begun + 1 <= session.expires_at < time.time() + 2, session
    while time.time() < session.expires_at:
        time.sleep(session.expires_at - time.time())
    status, headers, answer = call(session.client_secret, "GET", f"{REST}/sessions")
    assert status == 401 and "expired" in headers["www-authenticate"], answer
    assert client.chatkit.sessions.cancel(session.id).status == "expired"


def threads() -> None:
    client = Counting()
    made = [conversation("hosted-threads", f"/title Number {n}" if n == 3 else "Hi") for n in range(5)]
    other = conversation("hosted-threads-other", "Hi")
    user = "hosted-threads"

    thread = client.chatkit.threads.retrieve(made[0])
    assert (thread.id, thread.object, thread.user) == (made[0], "chatkit.thread", user), thread
    assert thread.status.type == "active" and abs(thread.created_at - time.time()) < 60, thread

    listed = list(client.chatkit.threads.list(user=user, limit=2, order="asc"))
    assert [thread.id for thread in listed] == made, listed
    assert {thread.user for thread in listed} == {user} and listed[3].title == "Number 3", listed
    client.asked = 0
    listed = list(client.chatkit.threads.list(user=user, limit=2))
    assert [thread.id for thread in listed] == made[::-1] and client.asked == 3, client.asked
    everybody = [thread.id for thread in client.chatkit.threads.list(limit=100)]
    assert {other, *made} <= set(everybody) and everybody.index(other) < everybody.index(made[4])
    assert [thread.id for thread in client.chatkit.threads.list(user="nobody-at-all")] == []

    before = client.chatkit.threads.list(user=user, before=made[1], limit=2)
    assert [thread.id for thread in before.data] == [made[3], made[2]] and before.has_more, before
    assert [thread.id for thread in before] == [made[3], made[2]], before
    between = client.chatkit.threads.list(user=user, after=made[4], before=made[0], limit=2)
    assert [thread.id for thread in between] == [made[3], made[2], made[1]], between
    assert list(client.chatkit.threads.list(user=user, limit=0)) == []

    deleted = client.chatkit.threads.delete(made[2])
    assert deleted.deleted and deleted.id == made[2] and deleted.object == "chatkit.thread.deleted"
    listed = [thread.id for thread in client.chatkit.threads.list(user=user, limit=1, order="asc")]
    assert listed == made[:2] + made[3:], listed
    raises(openai.NotFoundError, 404, lambda: client.chatkit.threads.retrieve(made[2]))
    raises(openai.NotFoundError, 404, lambda: client.chatkit.threads.delete(made[2]))

    # Whoever clears a user deletes what the next page is to come after.
    made = [conversation("hosted-threads-cleared", "Hi") for _ in range(7)]
    deleted = []
    for thread in client.chatkit.threads.list(user="hosted-threads-cleared", limit=2, order="asc"):
        deleted.append(client.chatkit.threads.delete(thread.id).id)
    assert deleted == made, deleted
    assert list(client.chatkit.threads.list(user="hosted-threads-cleared")) == []


def items() -> None:
    client = Counting()
    words = ['/tool look {"n": 1.50, "a": [null]}', "/widget", "/workflow", "/task", "/structured", "Bye"]
    thread = conversation("hosted-items", "Hello there", *words)
    kinds = [
        "chatkit.user_message", "chatkit.assistant_message",
        "chatkit.user_message", "chatkit.client_tool_call",
        "chatkit.user_message", "chatkit.widget",
        "chatkit.user_message", "chatkit.task_group", "chatkit.assistant_message",
        "chatkit.user_message", "chatkit.task",
        "chatkit.user_message",
        "chatkit.user_message", "chatkit.assistant_message",
    ]  # fmt: skip
    whole = list(client.chatkit.threads.list_items(thread, order="asc", limit=100).data)
    assert [item.type for item in whole] == kinds, [item.type for item in whole]
    assert all(item.object == "chatkit.thread_item" and item.thread_id == thread for item in whole)
    assert whole[0].content[0].text == "Hello there" and whole[0].inference_options is None
    assert whole[1].content[0].type == "output_text" and whole[1].content[0].text
    assert whole[3].name == "look" and json.loads(whole[3].arguments) == {"n": 1.5, "a": [None]}
    assert whole[3].status == "in_progress" and whole[3].output is None, whole[3]
    assert json.loads(whole[5].widget)["type"] == "Card", whole[5]
    assert [task.type for task in whole[7].tasks] == ["custom", "thought"], whole[7]
    assert whole[10].task_type == "custom" and whole[10].heading == "A task", whole[10]

    ids = [item.id for item in whole]
    for limit in (1, 2, 3, 5, 20):
        for order, expected in (("asc", ids), ("desc", ids[::-1])):
            page = client.chatkit.threads.list_items(thread, order=order, limit=limit)
            assert [item.id for item in page] == expected, (limit, order)
    for limit in (1, 3, 100):
        page = client.chatkit.threads.list_items(thread, order="asc", before=ids[3], limit=limit)
        assert [item.id for item in page] == ids[:3][-limit:], (limit, page)
    page = client.chatkit.threads.list_items(thread, order="asc", after=ids[1], before=ids[6], limit=2)
    assert [item.id for item in page] == ids[2:6], page
    for name in ("after", "before"):
        error = raises(
            openai.BadRequestError, 400,
            lambda: client.chatkit.threads.list_items(thread, **{name: "msg_unknown"}, limit=2),
        )  # fmt: skip
        assert error.param == name, error.body


def errors() -> None:
    client = Counting()
    thread = conversation("hosted-errors", "Hi")
    for path in ("thr_none", "cthr/../x y", "%2F", "ö"):
        client.asked = 0
        error = raises(openai.NotFoundError, 404, lambda: client.chatkit.threads.retrieve(path))
        assert error.type == "invalid_request_error" and client.asked == 1, error.body
    raises(openai.NotFoundError, 404, lambda: client.chatkit.threads.list_items("thr_none"))
    error = raises(
        openai.BadRequestError, 400,
        lambda: client.chatkit.sessions.create(
            user="u", workflow={"id": "w"}, expires_after={"anchor": "created_at", "seconds": 601}
        ),
    )  # fmt: skip
    assert error.param == "expires_after.seconds", error.body
    secret = secret_of("hosted-errors")
    for key in ("sk-wrong", secret):
        stranger = Counting(api_key=key)
        error = raises(openai.AuthenticationError, 401, lambda: stranger.chatkit.threads.list())
        assert error.code == "invalid_api_key" and stranger.asked == 1, error.body
    # A service's key is nobody's token.
    assert call(KEY, "GET", f"{REST}/sessions")[0] == 401

    # A server that fails for good is asked once by the client.
    fail = f"{UPSTREAM}/_test/fail?user=hosted-errors&call="
    urllib.request.urlopen(urllib.request.Request(fail + "load_thread_items", b"{}", method="POST"))
    client.asked = 0
    raises(openai.InternalServerError, 502, lambda: client.chatkit.threads.list_items(thread))
    assert client.asked == 1, client.asked
    # And one that can't show a thread by its id, as some can't for ever, still lists it.
    urllib.request.urlopen(urllib.request.Request(fail + "load_thread", b"{}", method="POST"))
    assert client.chatkit.threads.retrieve(thread).id == thread


if __name__ == "__main__":
    globals()[sys.argv[1]]()
    print("ok")
