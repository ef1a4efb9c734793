"""The sessions that are held ready, and the way of every command: find or open, call, write, settle."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from .component import LimitExceeded, Overloaded, Refused, Trapped
from .session import Limits, Session
from .store import Append, Store, Ticket, Told, Written
from .types import Cursor, Entry, Job, Write, stream_id_error

T = TypeVar("T")
After = Callable[[Session, Any, Entry | None], T]
log = logging.getLogger("rejoin_core")

# How often a command starts over because another producer wrote in between.
_ATTEMPTS = 8
_REPLAY_BYTES = 256 * 1024
# A session without work is dropped after this time; its stream lives on in the store.
_IDLE_S = 5.0


@dataclass
class _Slot:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    session: Session | None = None
    waiting: int = 0
    used_s: float = 0.0


class Sessions:
    """At most `sessions_max` of them; at most `waiting_max` commands of one stream wait for each other."""

    def __init__(self, store: Store, limits: Limits, sessions_max: int, waiting_max: int) -> None:
        self._store = store
        self._limits = limits
        self._sessions_max, self._waiting_max = sessions_max, waiting_max
        self._slots: OrderedDict[str, _Slot] = OrderedDict()

    def __len__(self) -> int:
        return len(self._slots)

    async def run(
        self, stream: str, command: Callable[[Session], Any], after: After[T], *, row_alone: bool = False
    ) -> T:
        """Runs `command`; when the store has accepted what it asked for, `after` looks at the session and the result.

        It is repeated on a freshly opened session when the store says that the present one is behind. One that wrote
        nothing is believed only when the store stands where the session does. `row_alone`: it needs no content.
        """
        slot = self._slot(stream)
        if slot.waiting >= self._waiting_max:
            raise Overloaded(f"{self._waiting_max} commands wait for stream {stream} already")
        slot.waiting += 1
        try:
            async with slot.lock:
                try:
                    return await self._attempts(stream, slot, command, after, row_alone)
                except LimitExceeded:
                    await self._end(stream, "limit exceeded")
                    raise
        finally:
            slot.waiting -= 1
            slot.used_s = time.monotonic()

    def drop_idle(self) -> None:
        """Gives back the memory of sessions without work."""
        before = time.monotonic() - _IDLE_S
        for name in [name for name, slot in self._slots.items() if not slot.waiting and slot.used_s < before]:
            del self._slots[name]

    def _slot(self, stream: str) -> _Slot:
        if error := stream_id_error(stream):
            raise Refused("invalid", error)
        slot = self._slots.get(stream)
        if slot is None:
            if len(self._slots) >= self._sessions_max:
                idle = next((name for name, other in self._slots.items() if not other.waiting), None)
                if idle is None:
                    raise Overloaded(f"all {self._sessions_max} sessions are at work: try again, or raise sessions_max")
                del self._slots[idle]
            slot = self._slots[stream] = _Slot()
        self._slots.move_to_end(stream)
        return slot

    async def _attempts(
        self, stream: str, slot: _Slot, command: Callable[[Session], Any], after: After[T], row_alone: bool
    ) -> T:
        for _ in range(_ATTEMPTS):
            # Until it is known to be true again there is none: whoever gives up in the middle leaves nothing behind.
            session, slot.session = slot.session, None
            fresh = session is None or session.dead
            if session is None or fresh:
                session = await self._open(stream, row_alone)
            value, refusal = None, None
            try:
                value = command(session)
            except Refused as error:
                refusal = error
            write = session.take().write
            if write is None:
                if not fresh and not await self._agrees(stream, session):
                    continue
                self._keep(slot, session)
                if refusal:
                    raise refusal
                return after(session, value, None)
            written = await self._write(stream, session, write)
            if written.answer == "accepted":
                await self._settle(stream, slot, session, write)
                return after(session, value, write.entry)
            # Refused: the session is lost. The job that it knew was removed, replaced or ended behind its back: look
            # again.
            if fresh and not write.job and written.answer != "behind":
                raise Refused(written.answer, written.value)
        raise Overloaded(f"other producers write to stream {stream} all the time")

    async def _settle(self, stream: str, slot: _Slot, session: Session, write: Write) -> None:
        session.revision = 1 if write.job else session.revision + 1
        # A new generation is empty: there is nothing that the session does not know.
        session.whole = session.whole or write.job is not None
        try:
            session.accept(write.ticket)
        except Trapped:
            # It is in the log, whatever the component makes of it: who asked gets the answer where it can still be had.
            return
        asked = session.take()
        self._keep(slot, session)
        if asked.resolved and isinstance(self._store, Told):
            self._store.resolved(stream, *asked.resolved)
        if asked.checkpoint:
            await self._put_checkpoint(stream, *asked.checkpoint)

    def _keep(self, slot: _Slot, session: Session) -> None:
        slot.session = session if session.whole else None

    async def _put_checkpoint(self, stream: str, at: Cursor, state: str) -> None:
        try:
            await self._store.put_checkpoint(stream, at, state)
        except Exception:
            # What it is for was accepted, and it costs time only.
            log.warning("no checkpoint of stream %s", stream, exc_info=True)

    async def _open(self, stream: str, row_alone: bool) -> Session:
        if row_alone:
            session = self._new(stream, await self._store.job(stream), None)
            session.whole = False
            return session
        try:
            found = await self._try_open(stream)
        except LimitExceeded:
            raise
        except Trapped:
            await self._end(stream, "component trapped")
            raise
        if found is None:
            await self._end(stream, "records are missing from the log")
            raise Trapped(f"records are missing from the log of stream {stream}: its generation has ended in error")
        return found

    async def _try_open(self, stream: str) -> Session | None:
        """From the row, its checkpoint and the log after it, up to where the row says that it stands."""
        for attempt in range(_ATTEMPTS):
            job = await self._store.job(stream)
            kept = await self._store.checkpoint(stream, job.generation) if job else None
            if job and kept and kept[0].sequence > job.head:
                # The row has moved on meanwhile. When it does each time, the log tells the same.
                if attempt < _ATTEMPTS - 1:
                    continue
                kept = None
            session = self._new(stream, job, kept[1] if kept else None)
            if job is None or await self._catch_up(stream, session, job):
                return session
        return None

    def _new(self, stream: str, job: Job | None, checkpoint: str | None) -> Session:
        # Drawn for each one: children of a fork would count on from the same number, and the store would take the
        # appends of one for repeats of another's.
        return Session(stream, job, checkpoint, self._limits, number=secrets.randbits(62))

    async def _catch_up(self, stream: str, session: Session, job: Job) -> bool:
        at = session.head()
        while at.sequence < job.head:
            page = await self._store.read(stream, at, _REPLAY_BYTES)
            if not isinstance(page, list):
                # Replaced or removed just now: the session is told so when the store is asked again.
                return True
            lines: list[str] = []
            for entry in page:
                for number, line in enumerate(entry.lines, entry.first.sequence):
                    if at.sequence < number <= job.head:
                        if number != at.sequence + 1:
                            return False
                        lines.append(line)
                        at = Cursor(at.generation, number)
            if not lines:
                return False
            session.replay("\n".join(lines))
            await asyncio.sleep(0)
        return True

    async def _end(self, stream: str, reason: str) -> None:
        """Ends a generation without its content, because that is what cannot be had: its readers must hear of it."""
        for _ in range(_ATTEMPTS):
            session = self._new(stream, await self._store.job(stream), None)
            try:
                session.fail(None, reason)
            except Refused:
                return
            write = session.take().write
            if write and (await self._write(stream, session, write)).answer == "accepted":
                return

    async def _write(self, stream: str, session: Session, write: Write) -> Written:
        ticket = Ticket(session.number, write.ticket)
        if write.job:
            return await self._store.create(stream, ticket, write.previous, write.job)
        append = Append(
            ticket, write.first, write.entry, write.expected_status, session.revision, write.status, write.fields
        )
        return await self._store.append(stream, append)

    async def _agrees(self, stream: str, session: Session) -> bool:
        job, known = await self._store.job(stream), session.head()
        if job is None:
            return known.generation == 0
        return job.cursor == known and job.revision == session.revision
