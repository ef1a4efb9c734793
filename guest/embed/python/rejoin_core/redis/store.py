"""`RedisStore`: the keys, scripts, records and messages of the Rust server's store in Redis."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from types import TracebackType
from typing import Any

from ..component import Overloaded
from ..shared import Shared
from ..store import ACCEPTED, Append, Closed, Ticket, Unavailable, Written
from ..tasks import end
from ..types import TERMINAL, Cursor, Entry, Job, now_ms
from .link import Away, Link, failed
from .presence import Presence
from .wakes import Wakes
from .wire import (
    Head,
    Lifetimes,
    Placed,
    Row,
    append_arguments,
    read_answer,
    read_entry,
    read_head,
    read_row,
    row_columns,
    text_of,
    ticket_text,
)

log = logging.getLogger("rejoin_core")

# Index keys outlive the rows that they speak of by this.
_TTL_MORE_MS = 3_600_000
_SWEEP_MAX = 256
# An idle job that could not be ended is named again after this.
_NAMED_AGAIN_MS = 1_000
_ESCAPED = {ord(sign): f"%{ord(sign):02X}" for sign in "{}%"}


class RedisStore:
    """For all processes over one Redis (7 or newer, or Valkey, one server): of Python, Node, and the Rust server alike.

    `url`: `redis://[user:password@]host[:port][/db]`, `rediss://…` or `unix:///path[?db=]`. `prefix`, without braces,
    and the three times are those of the other replicas. `jobs_max` active jobs in all, `jobs_per_user_max` of one user. A
    command waits `wait_s` for a Redis that cannot be reached, then it raises `Unavailable`; one that is full raises
    `Overloaded`, and what is stored already stays. For one event loop; `close` it, or use it as `async with`.
    """

    def __init__(
        self,
        url: str,
        *,
        prefix: str = "rejoin",
        idle_ms: int = 30 * 60_000,
        paused_idle_ms: int = 24 * 3_600_000,
        retention_ms: int = 5 * 60_000,
        jobs_max: int = 10_000,
        jobs_per_user_max: int = 100,
        wait_s: float = 10.0,
    ) -> None:
        self._link = Link(url, wait_s)
        # Channels know of no database: streams of the same name in two of them would hear one another.
        self._prefix = f"{prefix}.{self._link.db}" if self._link.db else prefix
        self._lifetimes = Lifetimes(idle_ms, paused_idle_ms, retention_ms)
        self._index_ttl_ms = 2 * max(idle_ms, paused_idle_ms) + retention_ms + _TTL_MORE_MS
        self._bounds = f"{jobs_max} {jobs_per_user_max}"
        self._wakes = Wakes(self._link, lambda stream: self._key(stream, "wake"), self._heads)
        self._presence = Presence(self._link, self._key)
        # Thousands of readers that hear of the same record ask once.
        self._rows = Shared(self._row_now)
        self._pages = Shared(self._read_now)
        self._tasks: list[asyncio.Task[None]] = []
        self._closing = False

    async def __aenter__(self) -> RedisStore:
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _at: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Ends its tasks and connections, and who waits for news, within seconds. Streams in Redis live on.

        Cancelled, it ends them all the same, and does not wait for what is under way.
        """
        self._closing = True
        self._wakes.release()
        try:
            await end(self._tasks)
            await self._presence.leave()
        finally:
            await self._link.close()

    def _start(self) -> None:
        # Only now: it may have been made before there was a loop.
        if not self._tasks and not self._closing:
            wakes, presence = self._wakes, self._presence
            all_of_it = (wakes.listen(), wakes.look(), wakes.tick(), presence.tell())
            self._tasks = [asyncio.create_task(one) for one in all_of_it]
            for task in self._tasks:
                task.add_done_callback(_ended)

    @property
    def idle_times(self) -> tuple[int, int]:
        """Of a running job and a paused one, in milliseconds: `Streams` wants them in its `Limits`, too."""
        return self._lifetimes.idle_ms, self._lifetimes.paused_idle_ms

    def _key(self, stream: str, name: str) -> str:
        # A brace would end the part that a Cluster hashes, or make one name look like another's key.
        return f"{self._prefix}:{{{stream.translate(_ESCAPED)}}}:{name}"

    async def _script(self, name: str, stream: str, now: int, arguments: Sequence[str]) -> Any:
        times = self._lifetimes
        settings = f"{now} {times.idle_ms} {times.paused_idle_ms} {times.retention_ms} PUBLISH"
        return await self._link.script(name, [self._key(stream, "job")], [settings, *arguments])

    async def _index(self, name: str, now: int, *arguments: str | bytes) -> Any:
        settings = f"{now} {self._index_ttl_ms}"
        answer = await self._link.script(name, [f"{self._prefix}:{{index}}:places"], [settings, *arguments])
        if answer is None:
            raise Unavailable("Redis: a key of the index holds something else")
        return answer

    async def _row_now(self, stream: str) -> Row | None:
        raw = await self._link.run("HGETALL", self._key(stream, "job"))
        return read_row(raw if isinstance(raw, dict) else None, self._lifetimes)

    async def _heads(self, streams: list[str]) -> list[Head | None]:
        found = await self._link.rows([self._key(stream, "job") for stream in streams], ("gen", "head", "rev"))
        return [read_head(values) if isinstance(values, list) else None for values in found]

    async def job(self, stream: str) -> Job | None:
        row = await self._rows.get(stream)
        return None if row is None or row.is_expired(now_ms()) else row.job.copy()

    async def create(self, stream: str, ticket: Ticket, previous: int, job: Job) -> Written:
        now = now_ms()
        if await self._index("admit", now, self._bounds, stream, job.user_id) != b"A":
            # The index may be behind: the row says whether it is a repeat, a refusal, or takes an active job's place.
            known = await self.job(stream)
            if (known.generation if known else 0) == previous and not (known and known.active):
                raise Overloaded("too many active jobs, of this user or in all: complete or abort one first")
        fresh = job.copy()
        fresh.head, fresh.revision = 0, 1
        head = f"{job.generation} {previous} {ticket_text(ticket)}"
        answer = await self._script("create", stream, now, [head, *row_columns(fresh)])
        return await self._finish(stream, now, answer, True)

    async def append(self, stream: str, append: Append) -> Written:
        now = now_ms()
        changes = append.status is not None and append.status != append.expected_status
        if changes:
            await self._index("intend", now, stream)
        # The end of a generation is written even where there is no memory left.
        script = "ending" if append.status in TERMINAL else "append"
        answers = await self._script(script, stream, now, append_arguments(append, now))
        return await self._finish(stream, now, answers[0] if isinstance(answers, list) and answers else None, changes)

    async def _finish(self, stream: str, now: int, raw: Any, must_place: bool) -> Written:
        """What a script answered; tells the index where it must hear of it."""
        answer = read_answer(raw)
        if answer is None:
            text = text_of(raw) or repr(raw)
            raise failed(text[2:] if text.startswith("E ") else f"a script answered {text}")
        if not isinstance(answer, Placed) and answer != "accepted":
            return Written(*answer)
        try:
            if isinstance(answer, Placed):
                await self._index("place", now, stream, answer.place, answer.due_ms, "", "")
            elif must_place:
                # The first attempt of a repeat may have ended before the index was told.
                await self._place(stream, now, 0)
        except (Unavailable, Overloaded) as error:
            # The row is the truth; the intent makes a sweep place it within seconds.
            log.warning("the index is not told of stream %s, a sweep will: %s", stream, error)
        return ACCEPTED

    async def _place(self, stream: str, now: int, generation: int) -> None:
        """Puts the stream where its row says; without a row it goes, unless there is a newer one than `generation`."""
        row = await self._row_now(stream)
        if row:
            await self._index("place", now, stream, row.place, str(row.due_ms), "", "")
        else:
            await self._index("place", now, stream, "", "0", "", str(generation))

    async def put_checkpoint(self, stream: str, at: Cursor, state: str) -> None:
        await self._script("checkpoint", stream, now_ms(), [f"{at.generation} {at.sequence}", state])

    async def checkpoint(self, stream: str, generation: int) -> tuple[Cursor, str] | None:
        found = await self._link.run("HMGET", self._key(stream, "checkpoint"), "at", "state")
        at, state = (text_of(value) for value in found or (None, None))
        cursor = Cursor.parse(at) if at else None
        return (cursor, state) if cursor and state and cursor.generation == generation else None

    async def read(self, stream: str, after: Cursor, bytes_max: int) -> list[Entry] | Cursor | None:
        return await self._pages.get((stream, after, bytes_max))

    async def _read_now(self, asked: tuple[str, Cursor, int]) -> list[Entry] | Cursor | None:
        stream, after, bytes_max = asked
        start = after.sequence
        while True:
            range = f"{after.generation} {start} {bytes_max}"
            match await self._script("read", stream, now_ms(), [range]):
                case []:
                    return None
                case [bytes(generation), bytes(head)]:
                    return Cursor(int(generation), int(head))
                case [_, bytes(head), _, *found]:
                    # What lies above the row's head is of no log that a writer has made.
                    read = [one for one in map(read_entry, found) if one and one[0].sequence <= int(head)]
                case answer:
                    raise Unavailable(f"Redis answered something unexpected: {answer!r:.100}")
            entries = [entry for _, entry in read if entry]
            # Damaged entries alone are not the end of the log.
            if entries or not read:
                return entries
            start = read[-1][0].sequence

    async def changed(self, stream: str, seen: Job, timeout_s: float) -> None:
        if self._closing:
            raise Closed("the store is closed")
        self._start()
        await self._wakes.changed(stream, seen, timeout_s)

    def readers(self, stream: str, here: bool) -> None:
        self._start()
        self._presence.readers(stream, here)

    def resolved(self, stream: str, generation: int, answer: str) -> None:
        self._start()
        self._presence.resolved(stream, generation, answer)

    async def remove(self, stream: str, generation: int) -> bool:
        now = now_ms()
        await self._index("intend", now, stream)
        removed = await self._script("remove", stream, now, [f"{generation} asked"])
        # In any case: a repeat finds no row, and the index may not have heard of the first attempt.
        await self._place(stream, now, generation)
        return bool(removed == 1)

    async def sweep(self) -> list[str]:
        now, idle = now_ms(), []
        due = await self._index("due", now, str(_SWEEP_MAX))
        for raw, seen in zip(due[::2], due[1::2]):
            stream = text_of(raw)
            try:
                if stream is None:
                    await self._index("place", now, raw, "", "0", seen, "0")
                elif await self._visit(stream, seen, now):
                    idle.append(stream)
            except (Away, Closed):
                # The others would wait for the same, each for `wait_s`. All of them come again in some seconds.
                raise
            except (Unavailable, Overloaded) as error:
                # One bad stream never stops a sweep.
                log.debug("stream %s was not swept: %s", stream, error)
        return idle

    async def _visit(self, stream: str, seen: bytes, now: int) -> bool:
        """Looks at a stream that is due, and forgets it or puts it where it belongs. True: it is active and idle."""
        row = await self._row_now(stream)
        if row and not row.is_expired(now):
            is_idle = row.due_ms <= now
            due_ms = now + _NAMED_AGAIN_MS if is_idle else row.due_ms
            await self._index("place", now, stream, row.place, str(due_ms), seen, "")
            return is_idle
        if row:
            await self._script("remove", stream, now, [f"{row.job.generation} swept"])
            # Not gone when it was replaced just now: then who did that has placed it.
            if await self._link.run("EXISTS", self._key(stream, "job")):
                return False
        await self._index("place", now, stream, "", "0", seen, str(row.job.generation if row else 0))
        return False


def _ended(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()):
        log.error("a task of the store has died: make the store anew, and report this", exc_info=error)
