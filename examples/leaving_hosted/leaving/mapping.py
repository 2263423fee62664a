"""Threads and items in the words of the hosted API → the same in openai-chatkit's. Pure.

What has no counterpart is noted, and never made up.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

from chatkit.types import (
    Annotation,
    AssistantMessageContent,
    AssistantMessageItem,
    Attachment,
    ClientToolCallItem,
    CustomTask,
    FileAttachment,
    FileSource,
    ImageAttachment,
    InferenceOptions,
    Task,
    TaskItem,
    ThoughtTask,
    ThreadItem,
    ThreadMetadata,
    URLSource,
    UserMessageContent,
    UserMessageItem,
    UserMessageTextContent,
    WidgetItem,
    Workflow,
    WorkflowItem,
)
from chatkit.widgets import DynamicWidgetRoot
from pydantic import ValidationError

from leaving.records import Json

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


class NoCounterpart(Exception):
    """The item can't be loaded."""

    def __init__(self, what: str, more: str) -> None:
        super().__init__(what, more)
        self.what, self.more = what, more


Note = Callable[[str, str], None]
"""Takes what kind of thing was lost, for counting, and more about this one."""


@dataclass
class Clock:
    """Unix seconds → the times that a server keeps.

    The SDK writes ``datetime.now()``, without a zone, and compares and subtracts such times; one
    with a zone among them is an error there, and in every store that sorts. So these have none
    either, and are ``offset`` from UTC, which is what the gateway takes them for. Those of the same
    second are a microsecond apart, in their order, so that a store that sorts keeps it.
    """

    offset: timedelta | None = timedelta(0)
    """None: with a zone, for a store that has nothing else."""
    _in_second: Counter[int] = field(default_factory=Counter)

    def instant(self, created_at: Any) -> datetime | None:
        """In UTC, with its zone; None for what is no time. Counts: to be called once for each."""
        if isinstance(created_at, bool) or not isinstance(created_at, (int, float)):
            return None
        try:
            second = math.floor(created_at)
            instant = EPOCH + timedelta(seconds=second)
        except (OverflowError, ValueError):
            return None
        nth = self._in_second[second]
        self._in_second[second] += 1
        return instant + timedelta(microseconds=min(nth, 999_999))

    def kept(self, instant: datetime) -> datetime:
        return instant if self.offset is None else (instant + self.offset).replace(tzinfo=None)

    def told(self, kept: datetime) -> str:
        """What the gateway is told of a time that a server keeps: in UTC, and saying so."""
        instant = kept if self.offset is None else kept - self.offset
        return instant.replace(tzinfo=None).isoformat() + "Z"


def thread(raw: Json, created_at: datetime, note: Note) -> ThreadMetadata:
    status = raw.get("status") or {"type": "active"}
    try:
        return _thread(raw, created_at, status)
    except ValidationError as error:
        note("unknown status of a thread, loaded as active", why(error))
        return _thread(raw, created_at, {"type": "active"})


def _thread(raw: Json, created_at: datetime, status: Any) -> ThreadMetadata:
    title = raw.get("title") if isinstance(raw.get("title"), str) else None
    known = {"id": raw["id"], "title": title, "created_at": created_at, "status": status}
    return ThreadMetadata.model_validate(known)


def item(raw: Json, thread_id: str, created_at: datetime, note: Note) -> ThreadItem:
    """An item; raises NoCounterpart for one that can't be loaded."""
    kind = str(raw.get("type")).removeprefix("chatkit.")
    convert = _ITEMS.get(kind)
    if convert is None:
        raise NoCounterpart("item of an unknown type", _word(raw.get("type")))
    try:
        return convert(raw, {"id": raw.get("id"), "thread_id": thread_id, "created_at": created_at}, note)
    except ValidationError as error:
        raise NoCounterpart(f"{kind} that isn't valid", why(error)) from None
    except (AttributeError, KeyError, TypeError) as error:
        raise NoCounterpart(f"{kind} that isn't valid", repr(error)[:100]) from None


def why(error: ValidationError) -> str:
    """Where, and what, but not with whose words."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"[:200]


def _word(value: Any) -> str:
    """A name of the API's; what else is in its place may be anybody's words."""
    return value[:100] if isinstance(value, str) else type(value).__name__


def attachments(item: ThreadItem) -> list[Attachment]:
    return item.attachments if isinstance(item, UserMessageItem) else []


def _user_message(raw: Json, common: Json, note: Note) -> ThreadItem:
    quoted: list[str] = []
    content: list[UserMessageContent] = []
    for part in raw.get("content") or []:
        if part.get("type") == "quoted_text":
            quoted.append(part["text"])
        elif part.get("type") == "input_text":
            content.append(UserMessageTextContent(text=part["text"]))
        else:
            note("part of a user message of an unknown type", _word(part.get("type")))
    options = raw.get("inference_options") or {}
    return UserMessageItem(
        **common,
        content=content,
        attachments=[_attachment(each, common["thread_id"], note) for each in raw.get("attachments") or []],
        quoted_text="\n".join(quoted) or None,
        inference_options=InferenceOptions(model=options.get("model"), tool_choice=options.get("tool_choice")),
    )


def _attachment(raw: Json, thread_id: str, note: Note) -> Attachment:
    note("attachment without its bytes, which the hosted API doesn't hand out", _word(raw.get("id")))
    common = {"id": raw["id"], "name": raw["name"], "mime_type": raw["mime_type"], "thread_id": thread_id}
    if raw.get("type") == "image":
        try:
            return ImageAttachment.model_validate(common | {"preview_url": raw.get("preview_url")})
        except ValidationError:
            note("image without a preview, loaded as a file", _word(raw.get("id")))
    return FileAttachment(**common)


def _assistant_message(raw: Json, common: Json, note: Note) -> ThreadItem:
    content = []
    for part in raw.get("content") or []:
        if part.get("type") == "output_text":
            annotations = list(_annotations(part, note))
            content.append(AssistantMessageContent(text=part["text"], annotations=annotations))
        else:
            note("part of an assistant's message of an unknown type", _word(part.get("type")))
    return AssistantMessageItem(**common, content=content)


def _annotations(part: Json, note: Note) -> Iterator[Annotation]:
    for annotation in part.get("annotations") or []:
        source = annotation.get("source") or {}
        match source:
            # A source has a title here, and none there.
            case {"type": "url", "url": str(url)}:
                yield Annotation(source=URLSource(title=url, url=url))
            case {"type": "file", "filename": str(name)}:
                yield Annotation(source=FileSource(title=name, filename=name))
            case _:
                note("annotation of an unknown type", _word(source.get("type")))


def _widget(raw: Json, common: Json, note: Note) -> ThreadItem:
    tree = raw["widget"]
    if isinstance(tree, str):
        try:
            tree = json.loads(tree)
        except ValueError as error:
            raise NoCounterpart("widget that isn't valid", f"no JSON: {error}") from None
    item = WidgetItem(**common, widget=tree)
    known = item.widget.model_dump(mode="json", by_alias=True, exclude_unset=True)
    if _without_nulls(known) == _without_nulls(tree):
        return item
    note("widget with more than openai-chatkit knows: stored with it, but shown without", _word(tree.get("type")))
    return item.model_copy(update={"widget": DynamicWidgetRoot.model_validate(tree)})


def _without_nulls(tree: Any) -> Any:
    """What the SDK makes of a widget whenever it writes one."""
    if isinstance(tree, dict):
        return {name: _without_nulls(value) for name, value in tree.items() if value is not None}
    return [_without_nulls(value) for value in tree] if isinstance(tree, list) else tree


def _client_tool_call(raw: Json, common: Json, note: Note) -> ThreadItem:
    arguments, output = raw.get("arguments"), raw.get("output")
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments) if arguments.strip() else {}
        except ValueError as error:
            raise NoCounterpart("client_tool_call that isn't valid", f"arguments: no JSON: {error}") from None
    if isinstance(output, str):
        try:
            output = json.loads(output)
        except ValueError:
            note("tool call's output that is no JSON, loaded as a text", _word(raw.get("name")))
    completed = raw["status"] == "completed"
    if not completed:
        # It was waiting there too. The SDK tells no model of it, and goes on with the next message.
        note("tool call without an output, loaded as pending", _word(raw["status"]))
    call = {"call_id": raw["call_id"], "name": raw["name"], "arguments": arguments, "output": output}
    return ClientToolCallItem.model_validate(common | call | {"status": "completed" if completed else "pending"})


def _task(kind: Any, raw: Json, note: Note) -> Task:
    heading, summary = raw.get("heading"), raw.get("summary")
    if kind == "thought":
        return ThoughtTask(title=heading, content=summary or "")
    if kind != "custom":
        note("task of an unknown type, loaded as custom", _word(kind))
    return CustomTask(title=heading, content=summary)


def _task_item(raw: Json, common: Json, note: Note) -> ThreadItem:
    return TaskItem(**common, task=_task(raw.get("task_type"), raw, note))


def _task_group(raw: Json, common: Json, note: Note) -> ThreadItem:
    tasks = [_task(task.get("type"), task, note) for task in raw.get("tasks") or []]
    reasoning = bool(tasks) and all(isinstance(task, ThoughtTask) for task in tasks)
    return WorkflowItem(**common, workflow=Workflow(type="reasoning" if reasoning else "custom", tasks=tasks))


_ITEMS: dict[str, Callable[[Json, Json, Note], ThreadItem]] = {
    "user_message": _user_message,
    "assistant_message": _assistant_message,
    "widget": _widget,
    "client_tool_call": _client_tool_call,
    "task": _task_item,
    "task_group": _task_group,
}
