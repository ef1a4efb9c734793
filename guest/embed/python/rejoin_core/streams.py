"""Streams of this process: what producers, readers and those who stop them call."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from . import reader
from .component import Overloaded, Refused, Trapped
from .memory import MemoryStore
from .session import Limits, Producer, Pushed, Session
from .sessions import Sessions
from .store import Closed, Store, Told, Unavailable
from .tasks import end
from .text import json_text, lines_of
from .translator import Dialect, Lines, Translated, Translator
from .types import Cursor, Entry, Job, now_ms, stream_id_error

T = TypeVar("T")
log = logging.getLogger("rejoin_core")

# Characters of one call into the component: so long at most nothing else runs in this process.
_PIECE = 64 * 1024
_SWEEP_S = 1.0
_AGAIN_S = 1.0
# Milliseconds for which the name of a generation may be ahead of the clock.
_NAME_WAITS_MAX = 20


@dataclass(frozen=True)
class Aborted:
    """What the one who stopped a generation gets: what there is of the answer."""

    job: Job
    text: str
    final_event: dict[str, Any]


def _pieces(text: str) -> Iterable[str]:
    start = 0
    while start < len(text):
        end = len(text) if len(text) - start <= _PIECE else text.rfind("\n", start, start + _PIECE) + 1
        if end <= start:
            end = text.find("\n", start) + 1 or len(text)
        yield text[start:end]
        start = end


class Streams:
    """All streams over one store, on one event loop. Use it as `async with Streams() as streams`: that sweeps.

    Bounds, each answered by `Overloaded`: `sessions_max` streams at work at a time, `waiting_max` commands that wait
    for one stream, `subscribers_max` readers of all streams and `subscribers_per_stream_max` of one, `bodies_max`
    providers' bodies in progress. `ValueError` where the `idle_times` of the store are not those of `limits`.
    """

    def __init__(
        self,
        store: Store | None = None,
        limits: Limits = Limits(),
        *,
        sessions_max: int = 1000,
        waiting_max: int = 100,
        subscribers_max: int = 10_000,
        subscribers_per_stream_max: int = 2000,
        bodies_max: int = 1000,
    ) -> None:
        self.store: Store = store or MemoryStore(idle_ms=limits.idle_ms, paused_idle_ms=limits.paused_idle_ms)
        times = getattr(self.store, "idle_times", None)
        if times not in (None, (limits.idle_ms, limits.paused_idle_ms)):
            raise ValueError(
                f"the store names jobs that are idle for {times} ms (running, paused), the limits end them after "
                f"{(limits.idle_ms, limits.paused_idle_ms)} ms: give both the same idle_ms and paused_idle_ms"
            )
        self._sessions = Sessions(self.store, limits, sessions_max, waiting_max)
        self._subscribers_max, self._subscribers_per_stream_max = subscribers_max, subscribers_per_stream_max
        self._subscribers: Counter[str] = Counter()
        self._bodies, self._bodies_max = 0, bodies_max
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._sweeper: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Streams:
        self._sweeper = asyncio.create_task(self._sweep())
        return self

    async def __aexit__(self, *_error: object) -> None:
        if self._sweeper:
            await end([self._sweeper])

    async def create(
        self,
        stream: str,
        request: dict[str, Any] | None = None,
        *,
        user_id: str | None = None,
        idempotency_key: str | None = None,
    ) -> tuple[bool, Job]:
        """Makes a new generation; false when the key had made it before. `request`: see `wit/session.wit` `create`."""
        text = json_text(request or {})

        def create(session: Session) -> bool:
            return session.create(user_id, idempotency_key, text)

        return await self._sessions.run(
            stream, create, lambda session, made, _: (made, session.job()), row_alone=True
        )

    async def append(
        self,
        stream: str,
        events: str | Iterable[Any],
        *,
        generation: int | None = None,
        producer: Producer | None = None,
    ) -> Pushed:
        """Appends JSON lines, or a list of texts and objects: durable when it returns. Errors: nothing was taken.

        What is longer than 64 KiB is appended piece by piece; `taken` of an error other than `Refused` says what was.
        Without `generation` all of it goes to the one that took its first record.
        """
        text = lines_of(events)
        done, lines = Pushed(), 0
        for piece in _pieces(text) if text else [""]:
            offset = done.appended + done.duplicate
            try:
                done = done.then(await self._push(stream, piece, generation, producer, offset), lines)
            except Refused as error:
                done = done.then(Pushed(stopped=(1, error)), lines)
            except (Trapped, Overloaded, Unavailable) as error:
                error.taken = offset
                raise
            if done.stopped:
                break
            if generation is None and done.last:
                generation = done.last.generation
            lines += piece.count("\n")
            if lines and len(text) > _PIECE:
                await asyncio.sleep(0)
        if done.stopped and done.appended + done.duplicate == 0:
            raise done.stopped[1]
        return done

    async def _push(
        self, stream: str, lines: str, generation: int | None, producer: Producer | None, offset: int
    ) -> Pushed:
        def push(session: Session) -> Pushed:
            return session.push(lines, generation, producer, offset)

        return await self._sessions.run(stream, push, lambda _, pushed, __: pushed)

    async def append_body(
        self, stream: str, body: AsyncIterable[str | bytes], dialect: Dialect, *, generation: int | None = None
    ) -> Pushed:
        """Appends a model provider's response body, as it is and as it comes, in pieces of any size.

        Without `generation` all of it goes to the one that took its first record. Errors: `Refused`, also for a line
        that is not what the dialect says; what came before it is durable.
        """
        if self._bodies >= self._bodies_max:
            raise Overloaded(f"{self._bodies_max} bodies are read already")
        self._bodies += 1
        try:
            return await self._translate(stream, body, Translator(dialect), generation)
        finally:
            self._bodies -= 1

    async def _translate(
        self, stream: str, body: AsyncIterable[str | bytes], translator: Translator, generation: int | None
    ) -> Pushed:
        lines, done = Lines(), Pushed()

        async def take(translate: Callable[[int], Translated]) -> None:
            nonlocal done, generation
            # The place that a step gets is free until it is in the log: one body of a stream at a time.
            async with self._turns.setdefault(stream, asyncio.Lock()):
                given = translate(await self.next_index(stream))
                if given.records:
                    done = done.then(await self.append(stream, given.records, generation=generation), 0)
                    if done.stopped:
                        raise done.stopped[1]
                    if generation is None and done.last:
                        generation = done.last.generation
            if given.bad:
                raise Refused("invalid", f"line {given.bad.line} of the body: {given.bad.reason}")

        async for piece in body:
            for part in _pieces(lines.push(piece)):
                await take(partial(translator.push, part))
        if rest := lines.rest():
            await take(partial(translator.push, rest))
        await take(translator.finish)
        return done

    async def next_index(self, stream: str) -> int:
        """The `index` that a new run step may take without meeting an earlier one's."""
        return await self._sessions.run(stream, lambda session: session.next_index(), lambda _, index, __: int(index))

    async def update(self, stream: str, fields: dict[str, Any]) -> Job:
        """Writes metadata: known fields; None removes one."""
        text = json_text(fields)
        return await self._change(stream, lambda session: session.update(text))

    async def complete(
        self, stream: str, *, generation: int | None = None, final_event: dict[str, Any] | None = None
    ) -> Job:
        """Ends well, with `final_event` as the last record or one made from the content."""
        event = json_text(final_event) if final_event is not None else None
        return await self._change(stream, lambda session: session.complete(generation, event))

    async def fail(self, stream: str, reason: str, *, generation: int | None = None) -> Job:
        """Ends in `error`."""
        return await self._change(stream, lambda session: session.fail(generation, reason))

    async def abort(self, stream: str, *, generation: int | None = None) -> Aborted:
        """Stops for the reader's sake. Errors: `not-active` for all but the winner."""

        def after(session: Session, _value: None, entry: Entry | None) -> Aborted:
            return Aborted(session.job(), session.text(), json.loads(entry.lines[-1]) if entry else {})

        return await self._sessions.run(stream, lambda session: session.abort(generation), after)

    async def pause(self, stream: str, action: dict[str, Any], *, generation: int | None = None) -> Job:
        """Pauses until a person answers. `action["id"]` names it; one is made where it has none."""
        text = json_text(action)
        return await self._change(stream, lambda session: session.pause(generation, text))

    async def resolve(self, stream: str, action_id: str, decision: Any, *, generation: int | None = None) -> Job:
        """A person's answer: exactly one wins."""
        text = json_text(decision)
        return await self._change(stream, lambda session: session.resolve(generation, action_id, text))

    async def _change(self, stream: str, command: Callable[[Session], None]) -> Job:
        return await self._sessions.run(stream, command, lambda session, *_: session.job())

    async def content(self, stream: str) -> tuple[Job, list[Any]]:
        """Job and folded content from one cut."""
        return await self._sessions.run(stream, lambda _: None, lambda session, *_: (session.job(), session.content()))

    async def snapshot(self, stream: str) -> tuple[Cursor, str]:
        """What a returning reader needs (a JSON object), and the cursor that it covers."""
        return await self._sessions.run(stream, lambda _: None, lambda session, *_: session.snapshot())

    async def subscribe(
        self, stream: str, *, last_event_id: str | None = None, resume: bool = False
    ) -> AsyncGenerator[str, None] | None:
        """Server-sent events: every record after the cursor `last_event_id`, once, in order, live to the end.

        None: nothing is to come, answer 204, where a browser's `EventSource` stops by itself. Without a cursor it
        begins with the first record, or with `resume` with one frame that holds the whole state. A cursor that cannot
        be continued gets the state too, marked `reset`. Errors: `Refused` (`not-found`, `invalid`), `Overloaded`.
        """
        if error := stream_id_error(stream):
            raise Refused("invalid", error)
        after = Cursor.parse(last_event_id) if last_event_id else None
        if last_event_id and after is None:
            raise Refused("invalid", "a cursor is <generation>-<sequence>, the id of a record")
        job = await self.store.job(stream)
        if job is None:
            if after:
                return None
            raise Refused("not-found")
        if after == job.cursor and not job.active:
            return None
        reset = after is not None and (after.generation != job.generation or after.sequence > job.head)
        first = Cursor(job.generation, 0)
        position = None if reset or (resume and after is None) else after or first
        self._check_room(stream)
        return self._read(stream, reader.frames(self.store, self.snapshot, stream, job.generation, position, reset))

    def _check_room(self, stream: str) -> None:
        if self._subscribers[stream] >= self._subscribers_per_stream_max:
            raise Overloaded(f"stream {stream} has {self._subscribers_per_stream_max} readers already")
        if self._subscribers.total() >= self._subscribers_max:
            raise Overloaded(f"{self._subscribers_max} readers are here already")

    async def _read(self, stream: str, frames: AsyncGenerator[str, None]) -> AsyncGenerator[str, None]:
        # Again, because it is only now that it begins.
        self._check_room(stream)
        self._subscribers[stream] += 1
        if self._subscribers[stream] == 1:
            self._tell(stream, True)
        try:
            async for frame in frames:
                yield frame
        finally:
            self._subscribers[stream] -= 1
            if not self._subscribers[stream]:
                del self._subscribers[stream]
                self._tell(stream, False)
            await frames.aclose()

    def _tell(self, stream: str, readers: bool) -> None:
        if isinstance(self.store, Told):
            self.store.readers(stream, readers)

    async def stopped(self, stream: str, generation: int) -> None:
        """Returns when the generation has ended, was replaced or is gone, whoever did it. Errors: `Closed`."""
        while True:
            try:
                job = await self.store.job(stream)
                if job is None or job.generation != generation or not job.active:
                    return
                await self.store.changed(stream, job, 60.0)
            except Closed:
                raise
            except Unavailable:
                # It says nothing about the generation.
                await asyncio.sleep(_AGAIN_S)

    async def remove(self, stream: str) -> bool:
        """Forgets the stream. False: it was not there."""
        job = await self.store.job(stream)
        if job is None:
            return False
        # Not in the millisecond that it is named after: made anew in the same one, the stream would have equal cursors.
        for _ in range(_NAME_WAITS_MAX):
            if now_ms() > job.generation:
                break
            await asyncio.sleep(0.001)
        return await self.store.remove(stream, job.generation)

    async def sweep(self) -> None:
        """To be called each second where `async with` is not: ends idle jobs as timed out, gives memory back."""
        try:
            for stream in await self.store.sweep():
                try:
                    await self._sessions.run(stream, lambda session: session.time_out(), lambda *_: None)
                except Refused:
                    # Somebody was first.
                    pass
                except Exception:
                    # It is named again next time; until then the others are not to wait for it.
                    log.exception("stream %s is idle and was not ended", stream)
        finally:
            self._sessions.drop_idle()

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_S)
            try:
                await self.sweep()
            except Closed:
                return
            except Exception:
                log.exception("the sweep goes on in a second")
