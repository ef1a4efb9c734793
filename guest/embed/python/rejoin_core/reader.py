"""One reader's way through the log, as server-sent events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable

from .store import Closed, Store, Unavailable
from .types import Cursor, Entry

# What one reader may hold: this, and one entry.
_PAGE_BYTES = 64 * 1024
_KEEP_ALIVE_S, _KEEP_ALIVE = 15.0, ": keep-alive\n\n"
# A store that cannot be reached is asked again.
_AGAIN_S = 0.5

Snapshot = Callable[[str], Awaitable[tuple[Cursor, str]]]


def _frames(entry: Entry, after: int) -> str:
    found = []
    for number, (line, kind) in enumerate(zip(entry.lines, entry.kinds), entry.first.sequence):
        if number > after and kind != "internal":
            event = "event: error\n" if kind == "failure" else ""
            found.append(f"{event}id: {entry.first.generation}-{number}\ndata: {line}\n\n")
    return "".join(found)


def _sync(at: Cursor, state: str, reset: bool) -> str:
    mark = '"reset":true,' if reset else ""
    # JSON on one line: raw line breaks can only stand between tokens.
    line = state.replace("\n", " ").replace("\r", " ")
    return f'id: {at}\ndata: {{"sync":true,{mark}"resumeState":{line},"generation":{at.generation}}}\n\n'


def _reconcile(generation: int) -> str:
    told = '"final":true,"reconcile":true,"reconcileReason":"generation_replaced"'
    return f'data: {{{told},"generation":{generation}}}\n\n'


async def frames(
    store: Store, snapshot: Snapshot, stream: str, generation: int, position: Cursor | None, reset: bool
) -> AsyncGenerator[str, None]:
    """Frames of every record after `position`, once, in order, live to the end; without one, the whole state first.

    Pulled by whoever sends: nothing is prepared for a reader that does not read, what it misses stays in the log.
    """
    yield "retry: 1000\n\n"
    if position is None:
        position, state = await snapshot(stream)
        if position.generation != generation:
            yield _reconcile(position.generation)
            return
        yield _sync(position, state, reset)
    clock = asyncio.get_running_loop().time
    sent_s = clock()
    while True:
        try:
            page = await store.read(stream, position, _PAGE_BYTES)
            hole = isinstance(page, list) and page and page[0].first.sequence > position.sequence + 1
            job = await store.job(stream) if page == [] or hole else None
        except Closed:
            return
        except Unavailable:
            # The connection lives: browsers do not come back after an answer that is an error.
            await asyncio.sleep(_AGAIN_S)
            if clock() >= sent_s + _KEEP_ALIVE_S:
                sent_s = clock()
                yield _KEEP_ALIVE
            continue
        if page is None:
            return
        if hole and job and job.cursor == position:
            # It is damage beyond the end of the log, where a state would lead back to: the log ends here.
            page, hole = [], False
        if isinstance(page, Cursor) and page.generation != generation:
            yield _reconcile(page.generation)
            return
        if hole or isinstance(page, Cursor):
            # The reader cannot go on from where it is: it gets the present state.
            position, state = await snapshot(stream)
            if position.generation != generation:
                yield _reconcile(position.generation)
                return
            yield _sync(position, state, True)
            sent_s = clock()
            continue
        text, ended = "", False
        for entry in page:
            if entry.first.sequence > position.sequence + 1:
                break
            text += _frames(entry, position.sequence)
            position, ended = Cursor(generation, max(entry.last, position.sequence)), entry.ends
        if text:
            sent_s = clock()
            yield text
        if ended:
            return
        if page or job is None or job.generation != generation or job.head > position.sequence:
            continue
        if not job.active:
            return
        try:
            await store.changed(stream, job, max(0.0, sent_s + _KEEP_ALIVE_S - clock()))
        except Closed:
            return
        if clock() >= sent_s + _KEEP_ALIVE_S:
            sent_s = clock()
            yield _KEEP_ALIVE
