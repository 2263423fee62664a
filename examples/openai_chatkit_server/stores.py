"""Where threads are kept: in memory, in memory with the quickstart's defect, or in SQLite."""

from __future__ import annotations

import asyncio
import secrets
import sqlite3
from typing import Any, Callable, TypeVar

from chatkit.store import NotFoundError, Store, StoreItemType
from chatkit.types import Attachment, Page, ThreadItem, ThreadMetadata
from pydantic import TypeAdapter

from context import RequestContext

T = TypeVar("T")

_ITEM: TypeAdapter[Any] = TypeAdapter(ThreadItem)
_ATTACHMENT: TypeAdapter[Any] = TypeAdapter(Attachment)


def open_store(name: str) -> Store[RequestContext]:
    """The store that ``--store`` or ``CHATKIT_STORE`` names."""
    kind, _, path = name.partition(":")
    if kind == "memory":
        return MemoryStore()
    if kind == "quickstart":
        return QuickstartStore()
    if kind == "sqlite" and path:
        return SqliteStore(path)
    raise SystemExit(f"unknown store {name!r}: expected memory, quickstart or sqlite:FILE")


def _page(rows: list[T], after: str | None, limit: int, order: str, key: Callable[[T], str]) -> Page:
    """One page of ``rows``, which are in the order of their creation."""
    if order == "desc":
        rows = rows[::-1]
    start = 0
    if after is not None:
        start = next((i + 1 for i, row in enumerate(rows) if key(row) == after), -1)
        if start < 0:
            # Starting over, as the sample stores do, would send a client round in circles.
            raise NotFoundError(f"no row {after!r} to continue after")
    data = rows[start : start + limit]
    has_more = start + limit < len(rows)
    return Page(data=data, has_more=has_more, after=key(data[-1]) if has_more and data else None)


class LongIds(Store[RequestContext]):
    """Ids with 96 random bits more than the SDK's, which are 32: of those, one comes twice some day."""

    def generate_thread_id(self, context: RequestContext) -> str:
        return super().generate_thread_id(context) + secrets.token_hex(12)

    def generate_item_id(
        self, item_type: StoreItemType, thread: ThreadMetadata, context: RequestContext
    ) -> str:
        return super().generate_item_id(item_type, thread, context) + secrets.token_hex(12)


class MemoryStore(LongIds):
    """Everything in dictionaries, copied on the way in and out; gone when the process ends."""

    def __init__(self) -> None:
        self.threads: dict[str, ThreadMetadata] = {}
        self.items: dict[str, dict[str, ThreadItem]] = {}
        self.attachments: dict[str, Attachment] = {}

    async def load_thread(self, thread_id: str, context: RequestContext) -> ThreadMetadata:
        if thread_id not in self.threads:
            raise NotFoundError(f"no thread {thread_id!r}")
        return self.threads[thread_id].model_copy(deep=True)

    async def save_thread(self, thread: ThreadMetadata, context: RequestContext) -> None:
        # During its first turn the SDK saves a thread as a Thread, items and all. Only the
        # metadata may be kept: see QuickstartStore.
        self.threads[thread.id] = _metadata(thread).model_copy(deep=True)

    async def load_threads(
        self, limit: int, after: str | None, order: str, context: RequestContext
    ) -> Page[ThreadMetadata]:
        page = _page(list(self.threads.values()), after, limit, order, lambda thread: thread.id)
        page.data = [thread.model_copy(deep=True) for thread in page.data]
        return page

    async def delete_thread(self, thread_id: str, context: RequestContext) -> None:
        self.threads.pop(thread_id, None)
        self.items.pop(thread_id, None)

    async def load_thread_items(
        self, thread_id: str, after: str | None, limit: int, order: str, context: RequestContext
    ) -> Page[ThreadItem]:
        rows = list(self.items.get(thread_id, {}).values())
        page = _page(rows, after, limit, order, lambda item: item.id)
        page.data = [item.model_copy(deep=True) for item in page.data]
        return page

    async def add_thread_item(self, thread_id: str, item: ThreadItem, context: RequestContext) -> None:
        await self.save_item(thread_id, item, context)

    async def save_item(self, thread_id: str, item: ThreadItem, context: RequestContext) -> None:
        self.items.setdefault(thread_id, {})[item.id] = item.model_copy(deep=True)

    async def load_item(self, thread_id: str, item_id: str, context: RequestContext) -> ThreadItem:
        try:
            return self.items[thread_id][item_id].model_copy(deep=True)
        except KeyError:
            raise NotFoundError(f"no item {item_id!r} in {thread_id!r}") from None

    async def delete_thread_item(self, thread_id: str, item_id: str, context: RequestContext) -> None:
        self.items.get(thread_id, {}).pop(item_id, None)

    async def save_attachment(self, attachment: Attachment, context: RequestContext) -> None:
        self.attachments[attachment.id] = attachment.model_copy(deep=True)

    async def load_attachment(self, attachment_id: str, context: RequestContext) -> Attachment:
        if attachment_id not in self.attachments:
            raise NotFoundError(f"no attachment {attachment_id!r}")
        return self.attachments[attachment_id].model_copy(deep=True)

    async def delete_attachment(self, attachment_id: str, context: RequestContext) -> None:
        self.attachments.pop(attachment_id, None)


class QuickstartStore(MemoryStore):
    """The store of the SDK's quickstart as far as its best-known defect goes.

    It keeps the very object it is given. The SDK hands over a ``Thread``, which has ``items``,
    when respond() changes the title in a thread's first turn; from then on ``threads.get_by_id``
    raises ``Thread() got multiple values for keyword argument 'items'`` for this thread for ever,
    while every other operation goes on working.
    """

    async def load_thread(self, thread_id: str, context: RequestContext) -> ThreadMetadata:
        if thread_id not in self.threads:
            raise NotFoundError(f"no thread {thread_id!r}")
        return self.threads[thread_id]

    async def save_thread(self, thread: ThreadMetadata, context: RequestContext) -> None:
        self.threads[thread.id] = thread


class SqliteStore(LongIds):
    """Everything in one SQLite file, so that it outlives the process.

    Calls are made on a worker thread, one after the other. Like with every store that really
    awaits, a stream whose client leaves loses its unfinished message: the SDK's cancellation
    hook is itself cancelled at its first store call.
    """

    _SCHEMA = """
        CREATE TABLE IF NOT EXISTS threads (seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, body TEXT NOT NULL);
        CREATE TABLE IF NOT EXISTS items (
            seq INTEGER PRIMARY KEY, thread_id TEXT NOT NULL, id TEXT NOT NULL, body TEXT NOT NULL,
            UNIQUE (thread_id, id)
        );
        CREATE TABLE IF NOT EXISTS attachments (id TEXT PRIMARY KEY, body TEXT NOT NULL);
    """

    def __init__(self, path: str) -> None:
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.executescript(self._SCHEMA)
        self._lock = asyncio.Lock()

    async def _rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        async with self._lock:
            return await asyncio.to_thread(lambda: self._db.execute(sql, values).fetchall())

    async def _one(self, what: str, sql: str, *values: Any) -> Any:
        rows = await self._rows(sql, *values)
        if not rows:
            raise NotFoundError(f"no {what} {values[-1]!r}")
        return rows[0][0]

    async def load_thread(self, thread_id: str, context: RequestContext) -> ThreadMetadata:
        body = await self._one("thread", "SELECT body FROM threads WHERE id = ?", thread_id)
        return ThreadMetadata.model_validate_json(body)

    async def save_thread(self, thread: ThreadMetadata, context: RequestContext) -> None:
        await self._rows(
            "INSERT INTO threads (id, body) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET body = excluded.body",
            thread.id,
            _metadata(thread).model_dump_json(exclude_none=True),
        )

    async def load_threads(
        self, limit: int, after: str | None, order: str, context: RequestContext
    ) -> Page[ThreadMetadata]:
        rows = await self._rows("SELECT body FROM threads ORDER BY seq")
        threads = [ThreadMetadata.model_validate_json(body) for (body,) in rows]
        return _page(threads, after, limit, order, lambda thread: thread.id)

    async def delete_thread(self, thread_id: str, context: RequestContext) -> None:
        await self._rows("DELETE FROM items WHERE thread_id = ?", thread_id)
        await self._rows("DELETE FROM threads WHERE id = ?", thread_id)

    async def load_thread_items(
        self, thread_id: str, after: str | None, limit: int, order: str, context: RequestContext
    ) -> Page[ThreadItem]:
        rows = await self._rows("SELECT body FROM items WHERE thread_id = ? ORDER BY seq", thread_id)
        items = [_ITEM.validate_json(body) for (body,) in rows]
        return _page(items, after, limit, order, lambda item: item.id)

    async def add_thread_item(self, thread_id: str, item: ThreadItem, context: RequestContext) -> None:
        await self.save_item(thread_id, item, context)

    async def save_item(self, thread_id: str, item: ThreadItem, context: RequestContext) -> None:
        await self._rows(
            "INSERT INTO items (thread_id, id, body) VALUES (?, ?, ?)"
            " ON CONFLICT (thread_id, id) DO UPDATE SET body = excluded.body",
            thread_id,
            item.id,
            item.model_dump_json(exclude_none=True),
        )

    async def load_item(self, thread_id: str, item_id: str, context: RequestContext) -> ThreadItem:
        sql = "SELECT body FROM items WHERE thread_id = ? AND id = ?"
        return _ITEM.validate_json(await self._one("item", sql, thread_id, item_id))

    async def delete_thread_item(self, thread_id: str, item_id: str, context: RequestContext) -> None:
        await self._rows("DELETE FROM items WHERE thread_id = ? AND id = ?", thread_id, item_id)

    async def save_attachment(self, attachment: Attachment, context: RequestContext) -> None:
        body = attachment.model_dump_json(exclude_none=True)
        await self._rows("INSERT OR REPLACE INTO attachments (id, body) VALUES (?, ?)", attachment.id, body)

    async def load_attachment(self, attachment_id: str, context: RequestContext) -> Attachment:
        sql = "SELECT body FROM attachments WHERE id = ?"
        return _ATTACHMENT.validate_json(await self._one("attachment", sql, attachment_id))

    async def delete_attachment(self, attachment_id: str, context: RequestContext) -> None:
        await self._rows("DELETE FROM attachments WHERE id = ?", attachment_id)


def _metadata(thread: ThreadMetadata) -> ThreadMetadata:
    """``thread`` without the items that a ``Thread`` has on top."""
    return ThreadMetadata.model_validate(thread.model_dump(include=set(ThreadMetadata.model_fields)))
