"""What the server knows of a request, beyond its body."""

from __future__ import annotations

from dataclasses import dataclass, field

from fastapi import Request

from gateway_proof import Caller


@dataclass
class RequestContext:
    """Made for every request and handed to the store, respond() and action().

    ``user_id`` is what the gateway put into ``x-user-id``. This server only keeps a note of it:
    it has no notion of who owns a thread, which is the usual state of a server that was started
    from the quickstart, and the reason to put a gateway in front of it.
    """

    user_id: str
    base_url: str
    caller: Caller | None = None
    """Who that is by the gateway's proof; none if this server asks for none."""
    fail: str = ""
    """Store call that must fail, as ``name[:n]``; only probe.py reads it."""
    calls: dict[str, int] = field(default_factory=dict)
    """How often each store call was made so far; only probe.py counts."""

    @classmethod
    def of(cls, request: Request) -> RequestContext:
        return cls(
            user_id=request.headers.get("x-user-id", ""),
            base_url=str(request.base_url).rstrip("/"),
            caller=getattr(request.state, "gateway", None),
            fail=request.headers.get("x-test-fail", ""),
        )
