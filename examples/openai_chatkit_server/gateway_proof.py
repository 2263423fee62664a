"""Tells whether it is the gateway that calls. One file to copy; it needs PyJWT, and for keys ``PyJWT[crypto]``.

The gateway sends ``chatkit-gateway-proof`` with each request: a JWT that is good for 30 seconds and says in
whose name it asks (``sub``), with what body (``body_sha256``), as which operation (``op``) and of which
request it came (``request_id``). A request that has none, or another one's, is refused with 401::

    proof = GatewayProof.from_env()

    @app.post("/chatkit")
    async def chatkit(request: Request, caller: Caller = Depends(proof)): ...

or, for a whole application, ``app.add_middleware(GatewayOnly, proof=proof)``.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import logging
import os
import time
import urllib.parse
import urllib.request
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import jwt
from fastapi import HTTPException, Request
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADER = "chatkit-gateway-proof"
MAX_TIME = 2**53

log = logging.getLogger(__name__)


class Refused(Exception):
    """Why a request is not the gateway's. It is for the log: whoever asked is told nothing of it."""


@dataclass(frozen=True)
class Caller:
    """In whose name the gateway asks: what a context for ``ChatKitServer.process`` is made of."""

    user_id: str
    """As the id is; in the user's header it may be percent-encoded."""
    operation: str
    request_id: str | None
    claims: dict[str, Any] = field(repr=False)


class GatewayProof:
    """Verifies statements, by secrets that the gateway has one of, or by the keys that it publishes.

    Two secrets are for the time while they are exchanged: the gateway signs by one of them. Keys are read
    when they are needed, kept for five minutes, and looked for again at most once a minute when an unknown
    one signs; those that are known are good as long as nothing else can be read.

    With ``once`` a statement is good for one request. It is remembered while it is good, of at most
    ``remembered`` of them, the oldest of which is forgotten first, in this process: among several workers
    a request may be repeated once with each, within 30 seconds and with the same body. Set it to false if
    something between the two sends a request again by itself.
    """

    def __init__(
        self,
        *,
        audience: str,
        secrets: Sequence[str] = (),
        jwks_url: str | None = None,
        issuer: str = "chatkit-rest",
        user_header: str = "x-user-id",
        leeway: float = 5,
        once: bool = True,
        remembered: int = 100_000,
        max_body_bytes: int = 32 * 1024 * 1024,
    ) -> None:
        if bool(secrets) == bool(jwks_url):
            raise ValueError("expected either secrets or a jwks_url")
        if any(len(secret) < 32 for secret in secrets):
            raise ValueError("a secret has at least 32 characters")
        self._audience, self._issuer, self._leeway = audience, issuer, leeway
        self._secrets = list(secrets)
        self._keys = PublishedKeys(jwks_url) if jwks_url else None
        self._user_header = user_header
        self._seen: OrderedDict[str, float] | None = OrderedDict() if once else None
        self._remembered = remembered
        self.max_body_bytes = max_body_bytes

    @classmethod
    def from_env(cls) -> GatewayProof | None:
        """Takes ``GATEWAY_PROOF_AUDIENCE`` (``http://127.0.0.1:8000``: where the gateway finds this server),
        and ``GATEWAY_PROOF_SECRET_FILE``, ``GATEWAY_PROOF_SECRET`` or ``GATEWAY_PROOF_JWKS_URL``. None if
        none of these is set: whoever connects is believed then."""
        secret, url = os.environ.get("GATEWAY_PROOF_SECRET"), os.environ.get("GATEWAY_PROOF_JWKS_URL")
        if file := os.environ.get("GATEWAY_PROOF_SECRET_FILE"):
            with open(file, encoding="ascii") as opened:
                secret = opened.read().rstrip("\r\n")
        if secret is None and url is None:
            return None
        return cls(
            audience=os.environ["GATEWAY_PROOF_AUDIENCE"],
            secrets=[] if secret is None else [secret],
            jwks_url=url,
        )

    async def __call__(self, request: Request) -> Caller:
        """Is a dependency of FastAPI's."""
        try:
            # Before a byte of the body is read: strangers have none read.
            caller = await self.head(request.headers)
            if int(request.headers.get("content-length") or 0) > self.max_body_bytes:
                raise Refused("the body is too large")
            self.body(caller, await self._read(request))
        except (Refused, ValueError) as why:
            log.warning("refused: %s", why)
            raise HTTPException(401, "This server is for its gateway.") from None
        request.state.gateway = caller
        return caller

    async def _read(self, request: Request) -> bytes:
        """Reads no more of a body than is allowed, whether or not its length was told."""
        body = bytearray()
        try:
            async for piece in request.stream():
                body += piece
                if len(body) > self.max_body_bytes:
                    raise Refused("the body is too large")
        except ClientDisconnect:
            raise Refused("the body was cut") from None
        # Where Request.body() keeps it, for whoever asks for it next.
        request._body = bytes(body)
        return request._body

    async def head(self, headers: Headers) -> Caller:
        """Checks all but the body, which is to be checked with :meth:`body`."""
        tokens = headers.getlist(HEADER)
        if len(tokens) != 1:
            raise Refused(f"there are {len(tokens)} statements")
        claims = await self._claims(tokens[0])
        # The user that the server believes in is the one who was signed for, and there is no other.
        if headers.getlist(self._user_header) != [header_value(claims["sub"])]:
            raise Refused(f"{self._user_header} is not the statement's user")
        return Caller(claims["sub"], str(claims.get("op", "")), claims.get("request_id"), claims)

    def body(self, caller: Caller, body: bytes) -> None:
        """Checks the body, and that the statement is not good for a second request."""
        digest = base64.urlsafe_b64encode(hashlib.sha256(body).digest()).rstrip(b"=").decode()
        if not hmac.compare_digest(digest, caller.claims["body_sha256"]):
            raise Refused("it was signed for another body")
        if not self.first_time(str(caller.claims["jti"]), caller.claims["exp"] + self._leeway):
            raise Refused("the statement was used before")

    def first_time(self, jti: str, until: float) -> bool:
        """Remembers a statement. Several workers that shall know the same override it."""
        if self._seen is None:
            return True
        now = time.time()
        while self._seen and next(iter(self._seen.values())) < now:
            self._seen.popitem(last=False)
        if jti in self._seen:
            return False
        self._seen[jti] = until
        if len(self._seen) > self._remembered:
            self._seen.popitem(last=False)
        return True

    async def _claims(self, token: str) -> dict[str, Any]:
        # Which algorithm is right is never for the token to say.
        if self._keys:
            keys, algorithm = await self._keys.of(token), "EdDSA"
        else:
            keys, algorithm = self._secrets, "HS256"
        why: Exception = Refused("signed by an unknown key")
        for key in keys:
            try:
                claims = jwt.decode(
                    token,
                    key,
                    algorithms=[algorithm],
                    audience=self._audience,
                    issuer=self._issuer,
                    leeway=self._leeway,
                    options={"require": ["aud", "body_sha256", "exp", "iat", "iss", "jti", "sub"]},
                )
            except jwt.InvalidTokenError as error:
                why = error
            else:
                return checked(claims)
        raise Refused(str(why))


def checked(claims: dict[str, Any]) -> dict[str, Any]:
    """Gives claims back if they are what they are read as. PyJWT takes a number that is written as text, too."""
    end, user, digest = claims["exp"], claims["sub"], claims["body_sha256"]
    if type(end) not in (int, float) or end > MAX_TIME:
        raise Refused("exp is no time")
    if not isinstance(user, str) or not isinstance(digest, str) or not digest.isascii():
        raise Refused("sub or body_sha256 is no text")
    return claims


class PublishedKeys:
    """The gateway's key set, read now and then."""

    MAX_BYTES, MAX_KEYS = 64 * 1024, 16
    FRESH, PAUSE, TIMEOUT = 300.0, 60.0, 5.0

    def __init__(self, url: str) -> None:
        if not url.startswith(("https://", "http://")):
            raise ValueError("a jwks_url is an http or https URL")
        self._url = url
        self._keys: dict[str, Any] = {}
        self._read_at = self._tried_at = float("-inf")
        self._lock = asyncio.Lock()

    async def of(self, token: str) -> list[Any]:
        """Gives the key that the token names; nothing if there is none."""
        try:
            kid = str(jwt.get_unverified_header(token).get("kid"))
        except jwt.InvalidTokenError as error:
            raise Refused(str(error)) from None
        if self._is_due(kid):
            async with self._lock:
                # Whoever waited finds it read.
                if self._is_due(kid):
                    self._tried_at = time.monotonic()
                    await self._read()
        return [self._keys[kid]] if kid in self._keys else []

    def _is_due(self, kid: str) -> bool:
        now = time.monotonic()
        if kid in self._keys and now < self._read_at + self.FRESH:
            return False
        # A gateway that has just begun to listen is asked again soon; nobody makes it more than that.
        pause = self.PAUSE if self._keys else 1.0
        return now >= self._tried_at + pause

    async def _read(self) -> None:
        try:
            found = await asyncio.to_thread(self._fetch)
        # Whatever a URL answers, known keys stay good, and without any nobody is let in.
        except Exception as error:  # noqa: BLE001
            log.warning("the gateway's keys could not be read: %r", error)
            return
        self._keys, self._read_at = found, time.monotonic()

    def _fetch(self) -> dict[str, Any]:
        with urllib.request.urlopen(self._url, timeout=self.TIMEOUT) as answer:  # noqa: S310
            text = answer.read(self.MAX_BYTES + 1)
        if len(text) > self.MAX_BYTES:
            raise ValueError("too large")
        keys = json.loads(text)["keys"][: self.MAX_KEYS]
        usable = [key for key in keys if key.get("kty") == "OKP" and key.get("crv") == "Ed25519"]
        return {str(key["kid"]): jwt.PyJWK(key, algorithm="EdDSA").key for key in usable}


class GatewayOnly:
    """Lets nobody but the gateway pass: a middleware for all paths, but those that begin as ``open`` says.

    Who asks is ``request.state.gateway`` from then on.
    """

    def __init__(self, app: ASGIApp, proof: GatewayProof, open: Sequence[str] = ()) -> None:
        self._app, self._proof, self._open = app, proof, tuple(open)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket") or scope["path"].startswith(self._open):
            await self._app(scope, receive, send)
            return
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        try:
            caller = await self._proof.head(Headers(scope=scope))
            body = await self._read(receive)
            self._proof.body(caller, body)
        except (Refused, ValueError) as why:
            log.warning("refused: %s", why)
            refusal = JSONResponse({"detail": "This server is for its gateway."}, 401)
            await refusal(scope, receive, send)
            return
        scope.setdefault("state", {})["gateway"] = caller
        await self._app(scope, replaying(body, receive), send)

    async def _read(self, receive: Receive) -> bytes:
        body, more = bytearray(), True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise Refused("the body was cut")
            body += message.get("body", b"")
            if len(body) > self._proof.max_body_bytes:
                raise Refused("the body is too large")
            more = message.get("more_body", False)
        return bytes(body)


def replaying(body: bytes, receive: Receive) -> Receive:
    """Gives the body that was read, and then what else comes."""
    left: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def received() -> Message:
        return left.pop() if left else await receive()

    return received


def header_value(user_id: str) -> str:
    """Gives a user's id as the gateway writes it into a header: what is not visible ASCII, and ``%``, is
    percent-encoded."""
    visible = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) != "%")
    return urllib.parse.quote(user_id, safe=visible)
