"""A ChatKit server on release 1.4 of the Python SDK, for the live tests.

The store and the probe are those of ``examples/openai_chatkit_server``, whose responder needs a
newer release. A message that starts with one of these words gets that instead of an echo:

===================  ====================================================================
/tool NAME {JSON}    a pending client tool call, which ends the turn
/stall N             N words (default 0), then silence for as long as the client waits
/error               fails before the first word
/custom TEXT         refuses with TEXT, which is meant for the user
/cut                 the connection breaks before the first word
===================  ====================================================================
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import re
import socket
import sys
import threading
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any

import uvicorn
from chatkit.errors import CustomStreamError
from chatkit.server import ChatKitServer, StreamingResult
from chatkit.store import AttachmentStore, Store
from chatkit.types import (
    AssistantMessageContent,
    AssistantMessageContentPartAdded,
    AssistantMessageContentPartDone,
    AssistantMessageContentPartTextDelta,
    AssistantMessageItem,
    Attachment,
    AttachmentCreateParams,
    ClientToolCallItem,
    FileAttachment,
    ThreadItemAddedEvent,
    ThreadItemDoneEvent,
    ThreadItemUpdatedEvent,
    ThreadMetadata,
    ThreadStreamEvent,
    UserMessageItem,
)
from fastapi import FastAPI, Request
from fastapi.responses import Response, StreamingResponse

sys.path.append(str(Path(__file__).resolve().parents[3] / "examples/openai_chatkit_server"))

from context import RequestContext  # noqa: E402
from probe import Probe  # noqa: E402
from stores import open_store  # noqa: E402

ENDPOINT = "/chatkit"

Events = AsyncIterator[ThreadStreamEvent]


class Attachments(AttachmentStore[RequestContext]):
    def __init__(self, store: Store[RequestContext]) -> None:
        self._store = store

    async def create_attachment(self, input: AttachmentCreateParams, context: RequestContext) -> Attachment:
        id = self.generate_attachment_id(input.mime_type, context)
        url = f"{context.base_url}/attachments/{id}"
        attachment = FileAttachment(id=id, name=input.name, mime_type=input.mime_type, upload_url=url)
        # Newer releases do this themselves.
        await self._store.save_attachment(attachment, context)
        return attachment

    async def delete_attachment(self, attachment_id: str, context: RequestContext) -> None:
        """The SDK goes on to delete what the store knows of it, and there is nothing else."""


class EchoServer(ChatKitServer[RequestContext]):
    async def respond(
        self, thread: ThreadMetadata, input_user_message: UserMessageItem | None, context: RequestContext
    ) -> Events:
        if input_user_message is None:
            text = await self._what_came_back(thread, context)
        else:
            text = "".join(part.text for part in input_user_message.content)
        word, _, rest = text.partition(" ")
        match word:
            case "/tool":
                yield ThreadItemDoneEvent(item=self._tool_call(thread, context, rest))
                return
            case "/error":
                raise RuntimeError("a message asked for it")
            case "/custom":
                raise CustomStreamError(rest)
            case "/cut":
                # No UTF-8 has a lone surrogate: the SDK fails when it writes this event.
                cut = AssistantMessageContentPartTextDelta.model_construct(content_index=0, delta="\ud800")
                yield ThreadItemUpdatedEvent(item_id="msg_cut", update=cut)
                return
            case "/stall":
                text = " ".join(f"word{n}" for n in range(int(rest or 0)))
        async for event in self._say(thread, context, text, then_stall=word == "/stall"):
            yield event

    async def _what_came_back(self, thread: ThreadMetadata, context: RequestContext) -> str:
        page = await self.store.load_thread_items(thread.id, None, 1, "desc", context)
        match page.data:
            case [ClientToolCallItem(name=name, output=output)]:
                return f"{name} returned {json.dumps(output)}"
        return "Nothing new."

    def _new(self, kind: Any, thread: ThreadMetadata, context: RequestContext) -> dict[str, Any]:
        id = self.store.generate_item_id(kind, thread, context)
        return {"id": id, "thread_id": thread.id, "created_at": datetime.now()}

    def _tool_call(self, thread: ThreadMetadata, context: RequestContext, rest: str) -> ClientToolCallItem:
        name, _, arguments = rest.partition(" ")
        new = self._new("tool_call", thread, context)
        return ClientToolCallItem(**new, call_id=f"call_{new['id']}", name=name, arguments=json.loads(arguments))

    async def _say(
        self, thread: ThreadMetadata, context: RequestContext, text: str, *, then_stall: bool
    ) -> Events:
        words = re.findall(r"\s*\S+|\s+$", text)
        if then_stall and not words:
            await asyncio.Event().wait()
        item = AssistantMessageItem(**self._new("message", thread, context), content=[])
        content = AssistantMessageContent(text=text)
        yield ThreadItemAddedEvent(item=item)
        for update in (
            AssistantMessageContentPartAdded(content_index=0, content=AssistantMessageContent(text="")),
            *(AssistantMessageContentPartTextDelta(content_index=0, delta=word) for word in words),
        ):
            yield ThreadItemUpdatedEvent(item_id=item.id, update=update)
        if then_stall:
            await asyncio.Event().wait()
        done = AssistantMessageContentPartDone(content_index=0, content=content)
        yield ThreadItemUpdatedEvent(item_id=item.id, update=done)
        yield ThreadItemDoneEvent(item=item.model_copy(update={"content": [content]}))


def create_app(store_name: str) -> FastAPI:
    store = open_store(store_name)
    server = EchoServer(store, Attachments(store))
    app = FastAPI(docs_url=None, redoc_url=None)

    # As the SDK's documentation shows it: nothing is caught.
    @app.post(ENDPOINT)
    async def chatkit(request: Request) -> Response:
        result = await server.process(await request.body(), RequestContext.of(request))
        if isinstance(result, StreamingResult):
            return StreamingResponse(result, media_type="text/event-stream")
        return Response(content=result.json, media_type="application/json")

    app.include_router(Probe(server, store).router())
    return app


class Announcing(uvicorn.Server):
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            host, port = self.servers[0].sockets[0].getsockname()[:2]
            print(f"listening on http://{host}:{port}{ENDPOINT}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=0, help="0: any free port")
    parser.add_argument("--store", default="memory", help="memory, quickstart or sqlite:FILE")
    parser.add_argument("--exit-on-eof", action="store_true", help="stop when stdin is closed")
    options = parser.parse_args()
    logging.basicConfig(stream=sys.stderr, level=os.environ.get("CHATKIT_LOG", "WARNING"))

    app = create_app(options.store)
    config = uvicorn.Config(app, port=options.port, log_config=None, access_log=False, timeout_graceful_shutdown=2)
    if options.exit_on_eof:

        def watch() -> None:
            sys.stdin.buffer.read()
            os._exit(0)

        threading.Thread(target=watch, daemon=True).start()
    Announcing(config).run()


if __name__ == "__main__":
    main()
