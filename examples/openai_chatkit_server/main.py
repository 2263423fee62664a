"""A ChatKit server that answers without a model.

One POST endpoint on the official SDK, wired up as its documentation shows. Run it, point a
client or a gateway at ``/chatkit``, and see responder.py for the words that make it do more
than echo.
"""

from __future__ import annotations

import argparse
import logging
import os
import socket
import sys
import threading

import uvicorn
from chatkit.server import StreamingResult
from fastapi import Depends, FastAPI, Request
from fastapi.responses import Response, StreamingResponse

from attachments import Attachments
from context import RequestContext
from gateway_proof import GatewayProof
from public_address import PublicAddress
from responder import EchoServer
from stores import open_store

ENDPOINT = "/chatkit"


def create_app(store_name: str, test: bool) -> FastAPI:
    """Builds the application; with ``test`` it also has the routes of probe.py."""
    store = open_store(store_name)
    attachments = Attachments(store)
    server = EchoServer(store, attachments)
    app = FastAPI(title="ChatKit echo server", docs_url=None, redoc_url=None)
    # For the URLs of attachments.
    app.add_middleware(PublicAddress)

    # Whoever connects is believed unless this is configured.
    proof = GatewayProof.from_env()

    # Nothing is caught here, exactly as in the documentation: a malformed request or an unknown
    # thread is a bare 500 on the operations that answer JSON, and a stream that is cut on those
    # that stream. A gateway has to live with that.
    @app.post(ENDPOINT, dependencies=[Depends(proof)] if proof else [])
    async def chatkit(request: Request) -> Response:
        context = RequestContext.of(request)
        result = await server.process(await request.body(), context)
        if isinstance(result, StreamingResult):
            return StreamingResponse(result, media_type="text/event-stream")
        return Response(content=result.json, media_type="application/json")

    app.include_router(attachments.router())
    if test:
        from probe import Probe

        app.include_router(Probe(server, store).router())
    return app


class Announcing(uvicorn.Server):
    """Says where it listens as soon as connections are accepted, in one line on stdout."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if self.started:
            host, port = self.servers[0].sockets[0].getsockname()[:2]
            print(f"listening on http://{host}:{port}{ENDPOINT}", flush=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    env = os.environ.get
    parser.add_argument("--host", default=env("HOST", "127.0.0.1"))
    parser.add_argument("--port", type=int, default=int(env("PORT", "8000")), help="0: any free port")
    parser.add_argument(
        "--store",
        default=env("CHATKIT_STORE", "memory"),
        help="memory, quickstart (with its famous defect) or sqlite:FILE",
    )
    parser.add_argument("--http", default=env("CHATKIT_HTTP", "auto"), choices=["auto", "h11", "httptools"])
    parser.add_argument(
        "--exit-on-eof", action="store_true", help="stop when stdin is closed, so as not to outlive a test"
    )
    return parser.parse_args()


def main() -> None:
    options = arguments()
    logging.basicConfig(stream=sys.stderr, level=os.environ.get("CHATKIT_LOG", "WARNING"))
    app = create_app(options.store, test=os.environ.get("CHATKIT_TEST") == "1")
    config = uvicorn.Config(
        app,
        host=options.host,
        port=options.port,
        http=options.http,
        log_config=None,
        access_log=False,
        # A stalled stream must not keep the process alive.
        timeout_graceful_shutdown=2,
    )
    if options.exit_on_eof:

        def watch() -> None:
            sys.stdin.buffer.read()
            os._exit(0)

        threading.Thread(target=watch, daemon=True).start()
    Announcing(config).run()


if __name__ == "__main__":
    main()
