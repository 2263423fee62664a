"""What is said on stderr while a program runs."""

from __future__ import annotations

import sys
import time
from typing import Callable, TextIO

ON_TERMINAL, IN_LOG = 0.2, 5.0
"""Seconds between two lines of progress."""


class Progress:
    """One line that is written over on a terminal; elsewhere one every few seconds."""

    def __init__(self, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream or sys.stderr
        self._clock = clock
        self._terminal = self._stream.isatty()
        self._last = clock()
        self._shown = False

    def show(self, line: Callable[[], str]) -> None:
        """Shows where things stand, unless it has just been done."""
        now = self._clock()
        if now - self._last < (ON_TERMINAL if self._terminal else IN_LOG):
            return
        self._last = now
        if self._terminal:
            self._write(f"\r\x1b[K{line()}")
            self._shown = True
        else:
            self._write(f"{line()}\n")

    def tell(self, line: str) -> None:
        """Says something that stays."""
        self._write(("\r\x1b[K" if self._shown else "") + f"{line}\n")
        self._shown = False

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


class Rate:
    """How fast it goes, and how long it will take."""

    def __init__(self, total: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.done, self._total, self._clock, self._begun = 0, total, clock, clock()

    def __str__(self) -> str:
        per_second = self.done / max(self._clock() - self._begun, 0.001)
        left = (self._total - self.done) / per_second / 60 if per_second else 0
        return f"{self.done} of {self._total} threads, {per_second:.1f}/s, about {left:.0f} min left"
