"""Who waits here for news of which stream, and how other writers are heard: a channel for each, in one connection.

What is heard is a hint, which may get lost: the rows are looked at each second besides, and whenever the two differ.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from ..component import Overloaded
from ..store import Unavailable
from ..tasks import end
from ..types import Cursor, Job
from .link import LOST, Link
from .wire import Head, read_wake

log = logging.getLogger("rejoin_core")

_LOOK_S = 1.0
_LOOK_AT_ONCE = 256
# A reader that looks at the log is back soon: its channel is not left meanwhile.
_LEAVE_S = 5.0
# Streams that nobody waits for, and that are followed all the same.
_LEFT_MAX = 1024
_PING_S, _SILENCE_S = 5.0, 15.0
_AGAIN_MIN_S, _AGAIN_MAX_S = 0.05, 0.5


@dataclass(eq=False)
class _Room:
    stream: str
    waiting: dict[asyncio.Future[None], Job] = field(default_factory=dict)
    # Redis has said that it tells of the stream.
    follows: bool = False
    known: Cursor | None = None
    heard: int = 0
    used_s: float = 0.0

    def tell(self, differs: Callable[[Job], bool]) -> None:
        for waiting, seen in self.waiting.items():
            if not waiting.done() and differs(seen):
                waiting.set_result(None)


class Wakes:
    """`channel` names that of a stream; `heads` says where streams stand, asked once.

    Bound: a room for each stream that is waited for, and `_LEFT_MAX` others.
    """

    def __init__(
        self, link: Link, channel: Callable[[str], str], heads: Callable[[list[str]], Awaitable[list[Head | None]]]
    ) -> None:
        self._link, self._channel, self._heads = link, channel, heads
        self._rooms: dict[str, _Room] = {}
        self._by_channel: dict[bytes, _Room] = {}
        self._unsure: set[str] = set()
        self._look_now, self._ask_now = asyncio.Event(), asyncio.Event()

    async def changed(self, stream: str, seen: Job, timeout_s: float) -> None:
        loop = asyncio.get_running_loop()
        room = self._rooms.get(stream) or self._open(stream)
        waiting: asyncio.Future[None] = loop.create_future()
        room.waiting[waiting] = seen
        try:
            # Before the channel told of it, and whenever it has told of something else: the row is looked at.
            if not room.follows or room.known != seen.cursor:
                self._look_at(stream)
            # Not `wait_for`: before Python 3.12 it loses a cancel that comes together with the news.
            await asyncio.wait({waiting}, timeout=timeout_s)
        finally:
            del room.waiting[waiting]
            room.used_s = loop.time()

    def release(self) -> None:
        """Ends all waiting: nothing will be heard any more."""
        for room in self._rooms.values():
            room.tell(lambda _: True)

    def _open(self, stream: str) -> _Room:
        if len(self._rooms) >= _LEFT_MAX:
            self._leave(float("inf"))
        room = self._rooms[stream] = _Room(stream)
        self._by_channel[self._channel(stream).encode()] = room
        self._ask_now.set()
        return room

    def _leave(self, before_s: float) -> None:
        for room in [room for room in self._rooms.values() if not room.waiting and room.used_s < before_s]:
            del self._rooms[room.stream], self._by_channel[self._channel(room.stream).encode()]
            self._ask_now.set()

    def _look_at(self, stream: str) -> None:
        self._unsure.add(stream)
        self._look_now.set()

    async def tick(self) -> None:
        """Each second all that is waited for is looked at, and channels that nobody needs are left."""
        while True:
            await asyncio.sleep(_LOOK_S)
            self._leave(asyncio.get_running_loop().time() - _LEAVE_S)
            for stream, room in self._rooms.items():
                if room.waiting:
                    self._look_at(stream)

    async def look(self) -> None:
        while True:
            await self._look_now.wait()
            self._look_now.clear()
            unsure, self._unsure = list(self._unsure), set()
            for start in range(0, len(unsure), _LOOK_AT_ONCE):
                rooms = [self._rooms[name] for name in unsure[start : start + _LOOK_AT_ONCE] if name in self._rooms]
                before = [room.heard for room in rooms]
                try:
                    heads = await self._heads([room.stream for room in rooms])
                except (Unavailable, Overloaded):
                    # It says nothing about the streams: in a second it is asked again.
                    continue
                for room, heard, head in zip(rooms, before, heads):
                    _compare(room, head, room.heard == heard)

    async def listen(self) -> None:
        """Holds the connection that hears, and makes it again."""
        clock, pause_s = asyncio.get_running_loop().time, _AGAIN_MIN_S
        while True:
            connection, began_s = self._link.listener(), clock()
            try:
                await connection.connect()
                await self._connected(connection)
            except LOST as error:
                log.debug("the connection that hears of other writers is lost: %s", error)
            finally:
                for room in self._rooms.values():
                    room.follows = False
                await connection.disconnect(nowait=True)
            # One that was of use is made again at once.
            pause_s = _AGAIN_MIN_S if clock() > began_s + _AGAIN_MAX_S else min(2 * pause_s, _AGAIN_MAX_S)
            await asyncio.sleep(pause_s)

    async def _connected(self, connection: Any) -> None:
        both = [asyncio.create_task(self._hear(connection)), asyncio.create_task(self._ask(connection))]
        try:
            done, _ = await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            # Who hears ends at once.
            await connection.disconnect(nowait=True)
            await end(both)

    async def _ask(self, connection: Any) -> None:
        """Asks for the channels that are wanted, leaves the others, and shows that it is alive."""
        asked: dict[bytes, _Room] = {}
        while True:
            self._ask_now.clear()
            wanted = dict(self._by_channel)
            left = [channel for channel in asked if channel not in wanted]
            # Asked for again for a room that was left and opened again: it waits for the answer.
            new = [channel for channel, room in wanted.items() if asked.get(channel) is not room]
            for command, channels in (("UNSUBSCRIBE", left), ("SUBSCRIBE", new)):
                for start in range(0, len(channels), _LOOK_AT_ONCE):
                    await connection.send_command(command, *channels[start : start + _LOOK_AT_ONCE])
            asked = wanted
            waiting = asyncio.create_task(self._ask_now.wait())
            try:
                await asyncio.wait({waiting}, timeout=_PING_S)
            finally:
                waiting.cancel()
            if not self._ask_now.is_set():
                await connection.send_command("PING")

    async def _hear(self, connection: Any) -> None:
        while True:
            said: Any = await connection.read_response(timeout=_SILENCE_S)
            if said is None:
                raise TimeoutError(f"Redis has said nothing for {_SILENCE_S:g} s")
            match said:
                case [b"message", bytes(channel), bytes(message)] if room := self._by_channel.get(channel):
                    _hear(room, message)
                case [b"subscribe", bytes(channel), _] if room := self._by_channel.get(channel):
                    room.follows = True
                    # What was said before is in the row.
                    self._look_at(room.stream)


def _hear(room: _Room, message: bytes) -> None:
    wake = read_wake(message)
    if wake is None:
        return
    room.heard += 1
    if wake.at and (room.known is None or room.known < wake.at):
        room.known = wake.at
    known = room.known
    room.tell(lambda seen: wake.is_change or known is None or seen.cursor < known)


def _compare(room: _Room, head: Head | None, is_newest: bool) -> None:
    """`is_newest`: nothing was heard since it was asked for."""
    if is_newest:
        room.known = head.cursor if head else None
    elif head and (room.known is None or room.known < head.cursor):
        room.known = head.cursor
    room.tell(lambda seen: head is None or (head.cursor.generation, head.revision) != (seen.generation, seen.revision))
