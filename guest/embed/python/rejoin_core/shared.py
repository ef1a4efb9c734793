"""Answers that are made once for all who ask at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


class Shared(Generic[K, T]):
    """Who asks while an answer is made gets the next one, together with all others who do.

    No answer is older than its question, and no more than one of a key is made at a time.
    """

    def __init__(self, ask: Callable[[K], Awaitable[T]]) -> None:
        self._ask = ask
        self._now: dict[K, asyncio.Task[T]] = {}
        self._next: dict[K, asyncio.Task[T]] = {}

    async def get(self, key: K) -> T:
        task = self._next.get(key)
        if task is None:
            now = self._now.get(key)
            task = asyncio.create_task(self._make(key) if now is None else self._make_after(key, now))
            # One that begins at once has noted itself, and may be over.
            if not task.done():
                (self._now if now is None else self._next)[key] = task
            # Looked at even where all have given up.
            task.add_done_callback(lambda task: task.cancelled() or task.exception())
        # Whoever gives up leaves it to the others.
        return await asyncio.shield(task)

    async def _make(self, key: K) -> T:
        this = self._now[key] = _this()
        try:
            return await self._ask(key)
        finally:
            if self._now.get(key) is this:
                del self._now[key]

    async def _make_after(self, key: K, now: asyncio.Task[T]) -> T:
        self._next[key] = _this()
        try:
            await asyncio.wait({now})
        finally:
            del self._next[key]
        return await self._make(key)


def _this() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    assert task
    return task
