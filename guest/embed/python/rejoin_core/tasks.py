"""The end of tasks that somebody owns."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

# How soon a cancel that had no effect is repeated.
_CANCEL_AGAIN_S = 0.05


async def end(tasks: Iterable[asyncio.Future[Any]]) -> None:
    """Cancels tasks until they are over: a store or its client may keep a cancel to itself, as `wait_for` does before
    Python 3.12.

    A cancel of who waits here is raised when they are over: they use what it clears away then.
    """
    all_of_them, cancelled = list(tasks), False
    while left := {task for task in all_of_them if not task.done()}:
        for task in left:
            task.cancel()
        try:
            await asyncio.wait(left, timeout=_CANCEL_AGAIN_S)
        except asyncio.CancelledError:
            cancelled = True
    for task in all_of_them:
        # Looked at, whatever it is: it ends here.
        task.cancelled() or task.exception()
    if cancelled:
        raise asyncio.CancelledError
