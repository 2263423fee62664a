"""URLs that clients can reach, although a gateway is in between."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send


class PublicAddress:
    """Takes the public address from the gateway, which says it in ``x-forwarded-*``.

    ``request.url_for`` and ``request.base_url`` are made of the ``Host`` field, the scheme and the
    root path. The gateway's ``Host`` is this server's own name, and of the rest uvicorn reads
    ``x-forwarded-proto`` only, if it comes from an address that it trusts. As with ``x-user-id``,
    nothing but the gateway may be able to connect, or whoever is in between must take these fields
    off.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            told = dict(scope["headers"])
            if host := told.get(b"x-forwarded-host"):
                others = [(name, value) for name, value in scope["headers"] if name != b"host"]
                prefix = told.get(b"x-forwarded-prefix", b"").decode("latin-1")
                scope = {
                    **scope,
                    "headers": [*others, (b"host", host)],
                    "scheme": told.get(b"x-forwarded-proto", b"http").decode("latin-1"),
                    # The path has the root path in front (ASGI); routes are matched without it.
                    "root_path": prefix + scope.get("root_path", ""),
                    "path": prefix + scope["path"],
                }
        await self._app(scope, receive, send)
