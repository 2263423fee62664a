"""What is asked of the hosted API: through the client, with patience, page after page to the end."""

from __future__ import annotations

import email.utils
import json
import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

import openai
from openai import OpenAI, omit

from leaving.records import Json, digest

T = TypeVar("T")

EMPTY_PAGES = 100
"""So many in a row, each of which promises more, are no list but a loop."""


class Stop(Exception):
    """It makes no sense to go on. Says why."""


class Unreadable(Exception):
    """An answer with a good status that isn't a page."""


@dataclass
class Patience:
    """Asks again what may come right by itself.

    The client itself asks three times, with a second or so in between, before anything gets here.
    """

    tell: Callable[[str], None]
    attempts: int = 10
    longest: float = 60
    """Seconds to wait at most, unless the server asks for more."""
    far_too_long: float = 900
    sleep: Callable[[float], None] = time.sleep
    jitter: Callable[[], float] = random.random

    def ask(self, request: Callable[[], T]) -> T:
        for attempt in range(1, self.attempts + 1):
            try:
                return request()
            except (openai.APIConnectionError, openai.APIStatusError, Unreadable) as error:
                if attempt == self.attempts or not passes(error):
                    raise
                wanted = retry_after(error)
                if wanted > self.far_too_long:
                    raise Stop(f"{said(error)}. The server asks to come back in {wanted / 60:.0f} min") from None
                wait = max(wanted, min(2.0**attempt, self.longest)) * (1 + self.jitter() / 4)
                self.tell(f"{said(error)}; waiting {wait:.0f} s (attempt {attempt} of {self.attempts})")
                self.sleep(wait)
        raise AssertionError("the last attempt returns or raises")


def passes(error: Exception) -> bool:
    if not isinstance(error, openai.APIStatusError):
        return True
    if error.response.headers.get("x-should-retry") == "false":
        return False
    return error.status_code in (408, 409, 429) or error.status_code >= 500


def retry_after(error: Exception) -> float:
    """The seconds that the server asks to wait; 0 without."""
    value = error.response.headers.get("retry-after") if isinstance(error, openai.APIStatusError) else None
    if value is None:
        return 0
    try:
        return max(float(value), 0)
    except ValueError:
        pass
    try:
        return max(email.utils.parsedate_to_datetime(value).timestamp() - time.time(), 0)
    except ValueError:
        return 0


def said(error: Exception) -> str:
    """An error in one line, without the key that some servers repeat."""
    text = " ".join(str(error).split())[:300]
    key = os.environ.get("OPENAI_API_KEY")
    return text.replace(key, "…") if key else text


@dataclass
class Listing:
    """All rows of a list, each of which is there once."""

    rows: list[Json] = field(default_factory=list)
    repeated: set[str] = field(default_factory=set)
    """The ids of those that were listed more than once, all the same."""
    problem: str | None = None
    """Why they aren't all."""
    missing: bool = False
    """There is no such thread any more."""
    tired: bool = False
    """The problem is that all of the patience was in vain."""


class Api:
    """The two lists, through the client but for its paging and its models.

    A model keeps what it knows: an item of a type that the client doesn't know would become a user
    message that says nothing. And the client takes a cursor that leads nowhere for the end.
    """

    def __init__(self, client: OpenAI, patience: Patience, page_size: int) -> None:
        self._threads = client.beta.chatkit.threads.with_raw_response
        self._base_url = str(client.base_url)
        self._patience = patience
        self._page_size = page_size

    def threads(self, progress: Callable[[int], None]) -> Listing:
        found = self._all(lambda after: self._threads.list(after=after, order="asc", limit=self._page_size), progress)
        if found.missing:
            raise Stop(f"{self._base_url} has no ChatKit threads: is OPENAI_BASE_URL right?")
        if found.tired or (found.problem and not found.rows):
            raise Stop(f"the threads can't be listed: {found.problem}")
        return found

    def items(self, thread_id: str, progress: Callable[[int], None]) -> Listing:
        limit = self._page_size
        return self._all(
            lambda after: self._threads.list_items(thread_id, after=after, order="asc", limit=limit), progress
        )

    def last_items(self, thread_id: str) -> Json:
        """The page with a thread's last items, newest first."""
        return self._page(lambda: self._threads.list_items(thread_id, order="desc", limit=self._page_size))

    def exists(self, thread_id: str) -> bool:
        """Whether there is such a thread; also if nobody can tell."""
        try:
            self._patience.ask(lambda: self._threads.retrieve(thread_id))
        except openai.NotFoundError:
            return False
        except openai.APIStatusError:
            return True
        except openai.APIConnectionError as error:
            raise refused(error, self._base_url) from None
        return True

    def _page(self, ask: Callable[[], Any]) -> Json:
        def request() -> Json:
            text = ask().text
            try:
                page = json.loads(text)
            except ValueError:
                page = None
            if not is_page(page):
                raise Unreadable("the answer is no page of a list")
            return cast(Json, page)

        try:
            return self._patience.ask(request)
        except (openai.AuthenticationError, openai.PermissionDeniedError) as error:
            raise refused(error, self._base_url) from None

    def _all(self, ask: Callable[[Any], Any], progress: Callable[[int], None]) -> Listing:
        """Follows the cursors to the end."""
        found = Listing()
        seen: set[bytes] = set()
        cursors: set[str] = set()
        after: Any = omit
        empty = 0
        while True:
            try:
                page = self._page(lambda: ask(after))
            except openai.NotFoundError:
                found.missing = True
                return found
            except (openai.APIConnectionError, openai.RateLimitError) as error:
                raise refused(error, self._base_url) from None
            except (openai.APIStatusError, Unreadable) as error:
                found.problem, found.tired = said(error), passes(error)
                return found
            for row in page["data"]:
                # The same id with other words is a version of its own.
                key = digest(row)
                if isinstance(row.get("id"), str) and key in seen:
                    found.repeated.add(row["id"])
                    continue
                seen.add(key)
                found.rows.append(row)
            progress(len(found.rows))

            more, last = page.get("has_more"), page.get("last_id")
            if more is False or (more is None and not (page["data"] and last)):
                return found
            # Where there are more the client would stop at an empty page, and without a last_id.
            after = last or (page["data"][-1].get("id") if page["data"] else None)
            empty = 0 if page["data"] else empty + 1
            if not isinstance(after, str):
                found.problem = "a page promises more without saying where"
            elif after in cursors:
                found.problem = f"the list goes round in circles: it leads to {after} again"
            elif empty == EMPTY_PAGES:
                found.problem = f"{EMPTY_PAGES} empty pages in a row promise more"
            else:
                cursors.add(after)
                continue
            return found


def is_page(answer: Any) -> bool:
    data = answer.get("data") if isinstance(answer, dict) else None
    return isinstance(data, list) and all(isinstance(row, dict) for row in data)


def refused(error: Exception, base_url: str) -> Stop:
    """What keeps all of it from going on."""
    if isinstance(error, openai.AuthenticationError):
        advice = f"OPENAI_API_KEY isn't accepted by {base_url}. It has to be a key of the project that ChatKit runs in"
    elif isinstance(error, openai.PermissionDeniedError):
        advice = "OPENAI_API_KEY may not read ChatKit threads. Take one that may, of the project that ChatKit runs in"
    elif isinstance(error, openai.RateLimitError):
        advice = "the server's limit of requests doesn't let anything through. Run it again later"
    else:
        advice = f"{base_url} can't be reached, or doesn't answer. Run it again when it can"
    return Stop(f"{advice} ({said(error)})")
