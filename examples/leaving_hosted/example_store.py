"""What ``load.py --store example_store:make_store`` loads into: the store of examples/openai_chatkit_server.

Yours looks like this: something that makes the store of your server, and, beside it, what your server
makes of a request for a user and hands to that store.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent.parent / "openai_chatkit_server"))

from chatkit.store import Store
from context import RequestContext
from stores import open_store


def make_store() -> Store[RequestContext]:
    name = os.environ.get("CHATKIT_STORE", "sqlite:chatkit.db")
    if not name.startswith("sqlite:"):
        raise SystemExit(f"CHATKIT_STORE={name}: a store in memory is gone with this program; expected sqlite:FILE")
    return open_store(name)


def make_context(user_id: str) -> RequestContext:
    return RequestContext(user_id=user_id, base_url="")
