"""Jobs and logs in this process: gone when it ends."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from dataclasses import dataclass, field
from sys import getsizeof

from .component import Overloaded
from .store import ACCEPTED, Append, Ticket, Written
from .types import Cursor, Entry, Job, now_ms

# Of an entry beside its records: the objects around them, its ticket, and its places in the row. Of a row likewise.
_ENTRY_BYTES, _ROW_BYTES = 450, 800


def _entry_bytes(entry: Entry) -> int:
    """What an entry takes, each of its records as an object of its own: of small ones that is most."""
    return _ENTRY_BYTES + getsizeof(entry.lines) + getsizeof(entry.kinds) + sum(map(getsizeof, entry.lines))


def _fields_bytes(fields: list[tuple[str, str]]) -> int:
    return sum(getsizeof(pair) + getsizeof(pair[0]) + getsizeof(pair[1]) + 8 for pair in fields)


def _row_bytes(job: Job) -> int:
    return _ROW_BYTES + getsizeof(job.user_id) + _fields_bytes(job.fields)


@dataclass
class _Row:
    job: Job
    active_ms: int
    by: Ticket
    last: Ticket | None = None
    log: list[Entry] = field(default_factory=list)
    tickets: dict[Ticket, int] = field(default_factory=dict)
    checkpoint: tuple[Cursor, str] | None = None
    bytes: int = 0


class MemoryStore:
    """For one process and one event loop. Full, by `streams_max` or `bytes_max`, it raises `Overloaded`.

    Bytes are those that the objects of all logs, rows and checkpoints take; the end of a generation is always taken.

    An active job without an append for `idle_ms` is named by `sweep`; one that has ended is kept for `retention_ms`.
    """

    def __init__(
        self,
        *,
        idle_ms: int = 30 * 60_000,
        paused_idle_ms: int = 24 * 3_600_000,
        retention_ms: int = 5 * 60_000,
        streams_max: int = 10_000,
        bytes_max: int = 1 << 30,
    ) -> None:
        self._rows: dict[str, _Row] = {}
        self._waiting: dict[str, set[asyncio.Future[None]]] = {}
        self._idle_ms, self._paused_idle_ms, self._retention_ms = idle_ms, paused_idle_ms, retention_ms
        self._streams_max, self._bytes_max, self._bytes = streams_max, bytes_max, 0

    @property
    def idle_times(self) -> tuple[int, int]:
        """Of a running job and a paused one, in milliseconds: `Streams` wants them in its `Limits`, too."""
        return self._idle_ms, self._paused_idle_ms

    def _due_ms(self, row: _Row) -> int:
        if row.job.active:
            return row.active_ms + (self._idle_ms if row.job.status == "running" else self._paused_idle_ms)
        return (row.job.settled_ms or row.active_ms) + self._retention_ms

    def _row(self, stream: str) -> _Row | None:
        row = self._rows.get(stream)
        return None if row and not row.job.active and self._due_ms(row) <= now_ms() else row

    def _forget(self, stream: str) -> None:
        row = self._rows.pop(stream, None)
        self._bytes -= row.bytes if row else 0

    def _tell(self, stream: str) -> None:
        for waiting in self._waiting.pop(stream, set()):
            if not waiting.done():
                waiting.set_result(None)

    def _take(self, row: _Row, more: int) -> None:
        row.bytes += more
        self._bytes += more

    def _check_room(self, more: int) -> None:
        if more > 0 and self._bytes + more > self._bytes_max:
            raise Overloaded(f"the store is full: what it may hold is {self._bytes_max} bytes")

    async def job(self, stream: str) -> Job | None:
        row = self._row(stream)
        return row.job.copy() if row else None

    async def create(self, stream: str, ticket: Ticket, previous: int, job: Job) -> Written:
        row = self._row(stream)
        current = row.job.generation if row else 0
        if row and row.by == ticket and current == job.generation:
            return ACCEPTED
        if current != previous:
            return Written("generation-replaced", current)
        if stream not in self._rows and len(self._rows) >= self._streams_max:
            raise Overloaded(f"the store is full: it holds {self._streams_max} streams")
        old = self._rows.get(stream)
        more = _row_bytes(job)
        self._check_room(more - (old.bytes if old else 0))
        self._forget(stream)
        fresh = job.copy()
        fresh.head, fresh.revision = 0, 1
        self._rows[stream] = row = _Row(fresh, now_ms(), ticket)
        self._take(row, more)
        self._tell(stream)
        return ACCEPTED

    async def append(self, stream: str, append: Append) -> Written:
        row, entry, ticket = self._row(stream), append.entry, append.ticket
        if row is None:
            return Written("not-found")
        job, sequence = row.job, append.first.sequence
        if append.first.generation != job.generation:
            return Written("generation-replaced", job.generation)
        if (row.tickets.get(ticket) == sequence) if entry else (row.last == ticket):
            return ACCEPTED
        fits = (job.status, job.revision) == (append.expected_status, append.expected_revision)
        if not job.active and not (fits and entry is None and append.status is None):
            return Written("not-active", job.status)
        if sequence - 1 != job.head or not fits:
            return Written("behind", job.head)
        more = _entry_bytes(entry) if entry else 0
        before = _fields_bytes(job.fields)
        # The end of a generation is always taken: it makes room.
        if not (entry and entry.ends):
            self._check_room(more + _fields_bytes(append.fields))
        now = now_ms()
        job.revision += 1
        if entry:
            row.log.append(entry)
            row.tickets[ticket] = sequence
            job.head, job.updated_ms = entry.last, now
        else:
            row.last = ticket
        if entry or append.status:
            row.active_ms = now
        if append.status:
            job.status = append.status
            job.settled_ms = None if job.active else now
        for name, value in append.fields:
            job.set_field(name, value)
        self._take(row, more + _fields_bytes(job.fields) - before)
        self._tell(stream)
        return ACCEPTED

    async def put_checkpoint(self, stream: str, at: Cursor, state: str) -> None:
        row = self._row(stream)
        if row is None or at.generation != row.job.generation or at.sequence > row.job.head:
            return
        known = row.checkpoint
        if known is None or known[0] < at:
            more = getsizeof(state) - (getsizeof(known[1]) if known else 0)
            if self._bytes + more <= self._bytes_max:
                self._take(row, more)
                row.checkpoint = (at, state)

    async def checkpoint(self, stream: str, generation: int) -> tuple[Cursor, str] | None:
        row = self._row(stream)
        return row.checkpoint if row and row.job.generation == generation else None

    async def read(self, stream: str, after: Cursor, bytes_max: int) -> list[Entry] | Cursor | None:
        row = self._row(stream)
        if row is None:
            return None
        if after.generation != row.job.generation or after.sequence > row.job.head:
            return row.job.cursor
        start = end = bisect_right(row.log, after.sequence, key=lambda entry: entry.last)
        room = bytes_max
        while end < len(row.log) and (end == start or row.log[end].bytes <= room):
            room -= row.log[end].bytes
            end += 1
        return row.log[start:end]

    async def changed(self, stream: str, seen: Job, timeout_s: float) -> None:
        row = self._row(stream)
        if row is None or (row.job.generation, row.job.revision) != (seen.generation, seen.revision):
            return
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(stream, set()).add(waiting)
        try:
            # Not `wait_for`: before Python 3.12 it loses a cancel that comes together with the news.
            await asyncio.wait({waiting}, timeout=timeout_s)
        finally:
            others = self._waiting.get(stream, set())
            others.discard(waiting)
            if not others:
                self._waiting.pop(stream, None)

    async def remove(self, stream: str, generation: int) -> bool:
        row = self._row(stream)
        if row is None or row.job.generation != generation:
            return False
        self._forget(stream)
        self._tell(stream)
        return True

    async def sweep(self) -> list[str]:
        now = now_ms()
        due = [(stream, row) for stream, row in self._rows.items() if self._due_ms(row) <= now]
        for stream, row in due:
            if not row.job.active:
                self._forget(stream)
        return [stream for stream, row in due if row.job.active]
