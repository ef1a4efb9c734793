"""What other replicas are told: that streams have readers here, and what a person answered here."""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from ..component import Overloaded
from ..store import Unavailable
from ..types import now_ms
from .link import Link

# How long the last word of a replica counts, and how often it says it again.
_PRESENT_MS, _EVERY_S = 15_000, 5.0
_AT_ONCE = 256
_LEAVE_MAX_S = 2.0
# Answers that wait to be told. Those that are too many stand in the log like all others.
_ANSWERS_MAX = 1000


class Presence:
    """Hints: losing one loses no data. `key` names a key of a stream."""

    def __init__(self, link: Link, key: Callable[[str, str], str]) -> None:
        self._link, self._key = link, key
        self._replica = secrets.token_hex(8)
        self._present: set[str] = set()
        # What has not been told yet.
        self._news: dict[str, bool] = {}
        self._answers: deque[tuple[str, str]] = deque(maxlen=_ANSWERS_MAX)
        self._tell_now = asyncio.Event()

    def readers(self, stream: str, here: bool) -> None:
        (self._present.add if here else self._present.discard)(stream)
        self._news[stream] = here
        self._tell_now.set()

    def resolved(self, stream: str, generation: int, answer: str) -> None:
        self._answers.append((self._key(stream, "wake"), f"r {generation} {self._replica}\n{answer}"))
        self._tell_now.set()

    async def tell(self) -> None:
        """Tells news at once, and everything again while it is true."""
        clock = asyncio.get_running_loop().time
        again_s = clock() + _EVERY_S
        while True:
            waiting = asyncio.create_task(self._tell_now.wait())
            try:
                await asyncio.wait({waiting}, timeout=max(0.0, again_s - clock()))
            finally:
                waiting.cancel()
            self._tell_now.clear()
            if clock() >= again_s:
                again_s = clock() + _EVERY_S
                self._news = {**dict.fromkeys(self._present, True), **self._news}
            # What is left is told again with all that is true.
            with suppress(Unavailable, Overloaded):
                await self._tell_all()

    async def _tell_all(self) -> None:
        while self._answers:
            channel, text = self._answers.popleft()
            # Once: where its answer is lost it may have been told, and it stands in the log.
            await self._link.once("PUBLISH", channel, text)
        while self._news:
            some = dict(list(self._news.items())[:_AT_ONCE])
            for stream in some:
                del self._news[stream]
            await self._say(some)

    async def _say(self, some: dict[str, bool]) -> None:
        now = now_ms()
        keys = [self._key(stream, "present") for stream in some]
        words = [f"{now} {now + _PRESENT_MS} PUBLISH", self._replica, *("1" if here else "0" for here in some.values())]
        await self._link.script_once("presence", keys, words)

    async def leave(self) -> None:
        """Readers that are cut count for some seconds yet, unless it is said that they have left."""
        self._news = dict.fromkeys(self._present, False)
        self._present.clear()
        with suppress(Unavailable, Overloaded, asyncio.TimeoutError):
            await asyncio.wait_for(self._tell_all(), _LEAVE_MAX_S)
