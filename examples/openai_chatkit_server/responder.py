"""The model's stand-in: says back what it is told, word by word, and does more on request.

A message that starts with one of these words gets that instead of an echo:

===================  ==========================================================================
/tool NAME {JSON}    a pending client tool call, which ends the turn
/widget              a card that is streamed, with a button
/workflow            a workflow of two tasks, then an answer
/task                a task and an end-of-turn marker
/structured          questions for the user, which end the turn
/notice              a notice of each level
/progress            progress updates
/effect              a client effect
/title TEXT          sets the thread's title
/close               closes the thread
/hidden              stores an item that clients never see
/unicode             an answer full of characters that break careless parsers
/long N              an answer of N words
/slow MS TEXT        echoes TEXT with MS milliseconds before each word
/stall N             N words (default 0), then silence for as long as the client waits
/error               fails before the first word
/error-after N       fails after N words
/custom TEXT         refuses with TEXT, which is meant for the user
/cut-after N         the connection breaks after N words
===================  ==========================================================================

After a tool's output or the answers to questions it says what it was given.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from datetime import datetime
from typing import Any

from chatkit.actions import Action
from chatkit.errors import CustomStreamError
from chatkit.server import ChatKitServer, stream_widget
from chatkit.types import (
    AssistantMessageContent,
    AssistantMessageContentPartAdded,
    AssistantMessageContentPartDone,
    AssistantMessageContentPartTextDelta,
    AssistantMessageItem,
    AudioInput,
    ClientEffectEvent,
    ClientToolCallItem,
    ClosedStatus,
    CustomSummary,
    CustomTask,
    EndOfTurnItem,
    FeedbackKind,
    HiddenContextItem,
    NoticeEvent,
    ProgressUpdateEvent,
    StructuredInputFreeform,
    StructuredInputItem,
    StructuredInputMultipleChoice,
    StructuredInputMultipleChoiceOption,
    SyncCustomActionResponse,
    TaskItem,
    ThoughtTask,
    ThreadItemAddedEvent,
    ThreadItemDoneEvent,
    ThreadItemReplacedEvent,
    ThreadItemUpdatedEvent,
    ThreadMetadata,
    ThreadStreamEvent,
    TranscriptionResult,
    UserMessageItem,
    Workflow,
    WorkflowItem,
    WorkflowTaskAdded,
    WorkflowTaskUpdated,
)
from chatkit.widgets import DynamicWidgetRoot
from fastapi import HTTPException

from context import RequestContext

Events = AsyncIterator[ThreadStreamEvent]

AUDIO = {"audio/webm", "audio/ogg", "audio/mp4"}

UNICODE = (
    "family 👩‍👩‍👧‍👦 你好 שלום e\u0301 line\u2028para\u2029nel\u0085bom\ufeff del\u007f nul\u0000 "
    'data: {"type":"error"}\n\ndata: [DONE]\r\n\r\n: comment \\ "quoted" 𝒳'
)


class Broken(Exception):
    """What a model that fails raises. The SDK tells clients nothing of it but ``stream.error``."""


class EchoServer(ChatKitServer[RequestContext]):
    async def respond(
        self, thread: ThreadMetadata, input_user_message: UserMessageItem | None, context: RequestContext
    ) -> Events:
        if input_user_message is None:
            answer = self._say(thread, context, await self._what_came_back(thread, context))
        else:
            text = "".join(part.text for part in input_user_message.content)
            answer = self._answer(thread, context, text)
        async for event in answer:
            yield event

    async def _what_came_back(self, thread: ThreadMetadata, context: RequestContext) -> str:
        """Why respond() was called without a message: the newest item says so."""
        page = await self.store.load_thread_items(thread.id, None, 1, "desc", context)
        match page.data:
            case [ClientToolCallItem(name=name, output=output)]:
                return f"{name} returned {json.dumps(output, ensure_ascii=False)}"
            case [StructuredInputItem(inputs=inputs)]:
                answers = {q.id: q.answer.values if q.answer else [] for q in inputs}
                return f"You answered {json.dumps(answers, ensure_ascii=False)}"
        return "Nothing new."

    def _answer(self, thread: ThreadMetadata, context: RequestContext, text: str) -> Events:
        word, _, rest = text.partition(" ")
        match word:
            case "/tool":
                return self._tool(thread, context, rest)
            case "/widget":
                return stream_widget(thread, _filling_card(), copy_text="Ready")
            case "/workflow":
                return self._workflow(thread, context)
            case "/task":
                return self._task(thread, context)
            case "/structured":
                return self._structured(thread, context)
            case "/notice":
                levels = ("info", "warning", "danger")
                notices = [NoticeEvent(level=at, message=f"A **{at}** notice.", title="Notice") for at in levels]
                return self._first(notices, self._say(thread, context, "Noticed."))
            case "/progress":
                progress = [ProgressUpdateEvent(text=f"Step {step} of 2", icon="bolt") for step in (1, 2)]
                return self._first(progress, self._say(thread, context, "Done."))
            case "/effect":
                effect = ClientEffectEvent(name="highlight", data={"ids": [1, 2], "none": None})
                return self._first([effect], self._say(thread, context, "Look."))
            case "/hidden":
                hidden = HiddenContextItem(**self._new("message", thread, context), content={"secret": 1})
                return self._first([ThreadItemDoneEvent(item=hidden)], self._say(thread, context, "Hidden."))
            case "/title":
                thread.title = rest
                return self._say(thread, context, "Titled.")
            case "/close":
                thread.status = ClosedStatus(reason="The user asked for it.")
                return self._say(thread, context, "Closed.")
            case "/unicode":
                return self._say(thread, context, UNICODE)
            case "/long":
                return self._say(thread, context, " ".join(f"word{n}" for n in range(_number(rest))))
            case "/slow":
                pause, _, echoed = rest.partition(" ")
                return self._say(thread, context, echoed or "slow", pause=_number(pause) / 1000)
            case "/stall":
                return self._say(thread, context, _counted(rest, 0), then=_stall)
            case "/error":
                return self._say(thread, context, "", then=_fail)
            case "/error-after":
                return self._say(thread, context, _counted(rest), then=_fail)
            case "/custom":
                return self._say(thread, context, "", then=lambda: _refuse(rest or "No."))
            case "/cut-after":
                return self._say(thread, context, _counted(rest), then=_unprintable)
        return self._say(thread, context, text)

    def _new(self, kind: Any, thread: ThreadMetadata, context: RequestContext) -> dict[str, Any]:
        """The fields that every new item has."""
        id = self.store.generate_item_id(kind, thread, context)
        return {"id": id, "thread_id": thread.id, "created_at": datetime.now()}

    async def _say(
        self,
        thread: ThreadMetadata,
        context: RequestContext,
        text: str,
        *,
        pause: float = 0,
        then: Any = None,
    ) -> Events:
        """One assistant message, a delta a word.

        ``then`` is awaited after the last word, or before the first event where there are no
        words. It doesn't return, or it returns what can't be written: the message ends there.
        """
        words = re.findall(r"\s*\S+|\s+$", text)
        item = AssistantMessageItem(**self._new("message", thread, context), content=[])

        def update(change: Any) -> ThreadItemUpdatedEvent:
            return ThreadItemUpdatedEvent(item_id=item.id, update=change)

        if then and not words:
            yield update(_delta(await then()))
        yield ThreadItemAddedEvent(item=item)
        yield update(AssistantMessageContentPartAdded(content_index=0, content=AssistantMessageContent(text="")))
        for word in words:
            await asyncio.sleep(pause)
            yield update(_delta(word))
        if then:
            yield update(_delta(await then()))
        content = AssistantMessageContent(text=text)
        yield update(AssistantMessageContentPartDone(content_index=0, content=content))
        yield ThreadItemDoneEvent(item=item.model_copy(update={"content": [content]}))

    async def _first(self, events: Iterable[ThreadStreamEvent], rest: Events) -> Events:
        for event in events:
            yield event
        async for event in rest:
            yield event

    async def _tool(self, thread: ThreadMetadata, context: RequestContext, rest: str) -> Events:
        name, _, arguments = rest.partition(" ")
        new = self._new("tool_call", thread, context)
        yield ThreadItemDoneEvent(
            item=ClientToolCallItem(
                **new,
                call_id=f"call_{new['id']}",
                name=name or "tool",
                arguments=json.loads(arguments or "{}"),
            )
        )

    async def _workflow(self, thread: ThreadMetadata, context: RequestContext) -> Events:
        search = CustomTask(title="Searching", status_indicator="loading")
        thought = ThoughtTask(title="Thinking", content="An echo will do.", status_indicator="complete")
        item = WorkflowItem(**self._new("workflow", thread, context), workflow=Workflow(type="custom", tasks=[]))
        yield ThreadItemAddedEvent(item=item.model_copy(deep=True))
        done = search.model_copy(update={"status_indicator": "complete"})
        for update in (
            WorkflowTaskAdded(task_index=0, task=search),
            WorkflowTaskUpdated(task_index=0, task=done),
            WorkflowTaskAdded(task_index=1, task=thought),
        ):
            yield ThreadItemUpdatedEvent(item_id=item.id, update=update)
        item.workflow.tasks = [done, thought]
        item.workflow.summary = CustomSummary(title="Thought it over")
        yield ThreadItemDoneEvent(item=item)
        async for event in self._say(thread, context, "Worked it out."):
            yield event

    async def _task(self, thread: ThreadMetadata, context: RequestContext) -> Events:
        task = CustomTask(title="A task", content="It was done.", icon="check")
        yield ThreadItemDoneEvent(item=TaskItem(**self._new("task", thread, context), task=task))
        yield ThreadItemDoneEvent(item=EndOfTurnItem(**self._new("message", thread, context)))

    async def _structured(self, thread: ThreadMetadata, context: RequestContext) -> Events:
        options = [StructuredInputMultipleChoiceOption(value=value) for value in ("low", "high")]
        inputs = [
            StructuredInputMultipleChoice(id="priority", question="How urgent is it?", options=options),
            StructuredInputFreeform(id="notes", question="Anything else?", description="Optional."),
        ]
        yield ThreadItemDoneEvent(item=StructuredInputItem(**self._new("message", thread, context), inputs=inputs))

    async def action(self, thread: ThreadMetadata, action: Action[str, Any], sender: Any, context: RequestContext) -> Events:
        """``replace`` puts a new card in place of the sender, ``fail`` raises, the rest is said back."""
        if action.type == "fail":
            raise Broken("an action was asked to fail")
        if action.type == "replace" and sender is not None:
            item = sender.model_copy(update={"widget": _card("Replaced", button=False)})
            yield ThreadItemReplacedEvent(item=item)
            return
        payload = json.dumps(action.payload, ensure_ascii=False)
        async for event in self._say(thread, context, f"{action.type} with {payload}"):
            yield event

    async def sync_action(
        self, thread: ThreadMetadata, action: Action[str, Any], sender: Any, context: RequestContext
    ) -> SyncCustomActionResponse:
        """Puts a new card in place of the sender, if there is one."""
        if action.type == "fail":
            raise Broken("an action was asked to fail")
        if sender is None:
            return SyncCustomActionResponse()
        item = sender.model_copy(update={"widget": _card("Replaced", button=False)})
        await self.store.save_item(thread.id, item, context=context)
        return SyncCustomActionResponse(updated_item=item)

    async def add_feedback(
        self, thread_id: str, item_ids: list[str], feedback: FeedbackKind, context: RequestContext
    ) -> None:
        """Keeps nothing, but insists that what is judged exists."""
        await self.store.load_thread(thread_id, context=context)
        for item_id in item_ids:
            await self.store.load_item(thread_id, item_id, context=context)

    async def transcribe(self, audio_input: AudioInput, context: RequestContext) -> TranscriptionResult:
        """Hears nothing but the length."""
        if audio_input.media_type not in AUDIO:
            raise HTTPException(400, "This kind of audio can't be transcribed.")
        return TranscriptionResult(text=f"{len(audio_input.data)} bytes of {audio_input.media_type}")


def _delta(text: str) -> AssistantMessageContentPartTextDelta:
    # Unchecked, because /cut-after needs a text that is no text.
    return AssistantMessageContentPartTextDelta.model_construct(content_index=0, delta=text)


def _number(text: str, default: int = 1) -> int:
    """``text`` as a count from 0 to 100 000."""
    return max(0, min(100_000, int(text))) if text.strip().isdecimal() else default


def _counted(text: str, default: int = 1) -> str:
    return " ".join(f"word{n}" for n in range(_number(text, default)))


async def _stall() -> str:
    await asyncio.Event().wait()
    return ""


async def _fail() -> str:
    raise Broken("a message asked for it")


async def _refuse(message: str) -> str:
    raise CustomStreamError(message)


async def _unprintable() -> str:
    # A lone surrogate can't be encoded as UTF-8. The SDK meets it when it writes the event, where
    # nothing is caught any more: the response ends in the middle of its chunks.
    return "\ud800"


def _card(text: str, *, button: bool, streaming: bool = False) -> DynamicWidgetRoot:
    children: list[dict[str, Any]] = [
        {"type": "Title", "value": "Echo"},
        {"type": "Text", "id": "status", "value": text, "streaming": streaming},
    ]
    if button:
        action = {"type": "replace", "payload": {"from": "button"}, "handler": "server"}
        children.append({"type": "Button", "label": "Replace", "onClickAction": action})
    return DynamicWidgetRoot.model_validate({"type": "Card", "children": children})


async def _filling_card() -> AsyncGenerator[DynamicWidgetRoot, None]:
    yield _card("", button=True, streaming=True)
    yield _card("Rea", button=True, streaming=True)
    yield _card("Ready", button=True)
