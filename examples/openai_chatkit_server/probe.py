"""What tests need to see and to break. Mounted only with CHATKIT_TEST=1; never in production.

GET  /_test/stats              requests so far, by operation and by user (``x-user-id``)
GET  /_test/last_stream?user=  the exact bytes of the user's last stream; ``x-stream-end`` says how it ended
GET  /_test/wait?user=         the same, but only after that stream has ended
POST /_test/fail?user=&call=   makes a store call fail in the user's next request, as ``name[:n]``

A request may also carry ``x-test-fail: name[:n]`` itself: the n-th call (from 1) of that store
method, ``save_thread`` for instance, raises.
"""

from __future__ import annotations

import asyncio
import functools
import json
from collections import Counter, defaultdict
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from chatkit.server import ChatKitServer, NonStreamingResult, StreamingResult
from chatkit.store import Store
from fastapi import APIRouter, HTTPException
from fastapi.responses import Response

from context import RequestContext

WAIT_SECONDS = 30


@dataclass
class Recording:
    """What one stream handed to the web server."""

    body: bytearray = field(default_factory=bytearray)
    end: str = "open"
    """``open``, then ``clean``, ``cut`` (it raised) or ``cancelled`` (the client left)."""
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    def response(self) -> Response:
        return Response(bytes(self.body), media_type="text/event-stream", headers={"x-stream-end": self.end})


class Probe:
    """Stands between the endpoint and the server, and between the server and its store."""

    def __init__(self, server: ChatKitServer[RequestContext], store: Store[RequestContext]) -> None:
        self._process = server.process
        self._requests: dict[str, Counter[str]] = defaultdict(Counter)
        self._streams: dict[str, Recording] = {}
        self._fail: dict[str, str] = {}
        server.process = self.process  # type: ignore[method-assign]
        for name in sorted(Store.__abstractmethods__):
            setattr(store, name, self._breakable(name, getattr(store, name)))

    async def process(
        self, request: str | bytes | bytearray, context: RequestContext
    ) -> StreamingResult | NonStreamingResult:
        self._requests[context.user_id][_operation(request)] += 1
        context.fail = self._fail.pop(context.user_id, context.fail)
        result = await self._process(request, context)
        if not isinstance(result, StreamingResult):
            return result
        recording = self._streams[context.user_id] = Recording()
        return StreamingResult(self._recorded(recording, result.json_events))

    @staticmethod
    async def _recorded(
        recording: Recording, events: AsyncGenerator[bytes, None]
    ) -> AsyncGenerator[bytes, None]:
        try:
            async for event in events:
                recording.body += event
                yield event
            recording.end = "clean"
        except (asyncio.CancelledError, GeneratorExit):
            recording.end = "cancelled"
            raise
        except BaseException:
            recording.end = "cut"
            raise
        finally:
            recording.ended.set()

    @staticmethod
    def _breakable(name: str, call: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        @functools.wraps(call)
        async def wrapper(*args: Any, **kwargs: Any) -> Any:
            context: RequestContext = kwargs.get("context", args[-1] if args else None)
            wanted, _, nth = context.fail.partition(":")
            if wanted == name:
                context.calls[name] = context.calls.get(name, 0) + 1
                if context.calls[name] == int(nth or 1):
                    raise RuntimeError(f"{name} fails because a test asked for it")
            return await call(*args, **kwargs)

        return wrapper

    def router(self) -> APIRouter:
        router = APIRouter(prefix="/_test")

        def recording(user: str) -> Recording:
            if user not in self._streams:
                raise HTTPException(404, f"{user!r} has had no stream")
            return self._streams[user]

        @router.get("/stats")
        async def stats() -> dict[str, Any]:
            total: Counter[str] = sum(self._requests.values(), Counter())
            return {"requests": total, "users": self._requests}

        @router.get("/last_stream")
        async def last_stream(user: str = "") -> Response:
            return recording(user).response()

        @router.get("/wait")
        async def wait(user: str = "") -> Response:
            stream = recording(user)
            try:
                await asyncio.wait_for(stream.ended.wait(), WAIT_SECONDS)
            except TimeoutError:
                raise HTTPException(504, "the stream has not ended") from None
            return stream.response()

        @router.post("/fail")
        async def fail(call: str, user: str = "") -> dict[str, Any]:
            if call.partition(":")[0] not in Store.__abstractmethods__:
                raise HTTPException(400, f"no store call {call!r}")
            self._fail[user] = call
            return {}

        return router


def _operation(request: str | bytes | bytearray) -> str:
    try:
        return str(json.loads(request)["type"])
    except (ValueError, KeyError, TypeError):
        return "malformed"
