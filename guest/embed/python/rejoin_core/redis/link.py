"""The way to one Redis: connections that are made again, scripts, and what an error of it means."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, TypeVar

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    ConnectionError,
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TimeoutError,
)

from ..component import Overloaded
from ..store import Closed, Unavailable
from ..tasks import end
from .connection import ending
from .scripts import scripts

T = TypeVar("T")

CONNECTIONS_MAX = 16
# A server that says nothing for this long counts as unreachable.
_ANSWER_MAX_S = 5.0
# Of many answers together: each of them has `_ANSWER_MAX_S`.
_ROWS_MAX_S = 10.0
# Whoever is cancelled leaves a command under way.
_UNDER_WAY_MAX = 65_536
_AGAIN_MIN_S, _AGAIN_MAX_S = 0.02, 0.5
# Of what is under way when the link is closed.
_CLOSE_MAX_S = 5.0
_OUT_OF_MEMORY = "OOM command not allowed"
# They hold for every connection: asked again they would be said again.
_FINAL = (AuthenticationError, AuthorizationError, NoPermissionError)


class Away(Unavailable):
    """It may be asked again: a connection that is made now may lead to one that answers."""


def full() -> Overloaded:
    return Overloaded("the store is full: raise maxmemory of Redis, or shorten the retention")


def failed(why: str) -> Exception:
    """What it means that a command in a script failed."""
    return full() if _OUT_OF_MEMORY in why else Unavailable(f"Redis: {why}")


def _closed() -> Closed:
    return Closed("the store is closed")


def _meaning(error: Exception) -> Exception:
    why = str(error) or type(error).__name__
    if isinstance(error, OutOfMemoryError):
        return full()
    if isinstance(error, _FINAL) or "NOAUTH" in why or "WRONGPASS" in why:
        return Unavailable(f"Redis refuses the log-in: {why}; give user and password in the address")
    if isinstance(error, ResponseError) and not (isinstance(error, ReadOnlyError) or why.startswith("BUSY")):
        return failed(why)
    return Away(f"Redis cannot be reached: {why}")


class Link:
    """At most `CONNECTIONS_MAX` connections; who finds none free waits for one. No command waits for ever."""

    def __init__(self, url: str, wait_s: float) -> None:
        # Repeated here, not by the client: it would repeat what was refused, too.
        # redis-py is typed in parts.
        self._pool: Any = BlockingConnectionPool.from_url(
            url,
            max_connections=CONNECTIONS_MAX,
            timeout=_ANSWER_MAX_S,
            socket_timeout=_ANSWER_MAX_S,
            socket_connect_timeout=_ANSWER_MAX_S,
            retry=Retry(NoBackoff(), 0),
            protocol=2,
        )
        self._wait_s, self.closed = wait_s, False
        # Those that are open, of the pool or not.
        self._connections: set[Any] = set()
        self._pool.connection_class = ending(self._pool.connection_class, lambda: self.closed, self._connections)
        self._redis: Any = Redis(connection_pool=self._pool)
        self._under_way: set[asyncio.Future[Any]] = set()
        self.db = int(self._pool.connection_kwargs.get("db") or 0)

    def _check_begins(self) -> None:
        if self.closed:
            raise _closed()
        if len(self._under_way) >= _UNDER_WAY_MAX:
            many = f"{_UNDER_WAY_MAX} commands wait for Redis already"
            raise Overloaded(f"{many}: ask again once it answers, or ask less at a time")

    async def patiently(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Repeats what had no answer; tickets make that harmless. Errors: `Unavailable`, `Closed`, `Overloaded`."""
        clock = asyncio.get_running_loop().time
        until, pause = clock() + self._wait_s, _AGAIN_MIN_S
        while True:
            try:
                return await ask()
            except Away:
                if clock() + pause > until:
                    raise
            await asyncio.sleep(pause)
            pause = min(2 * pause, _AGAIN_MAX_S)

    async def once(self, *words: str | bytes) -> Any:
        """One command, asked once. None where a key holds something else than it should."""
        self._check_begins()
        try:
            return await self._whole(self._redis.execute_command(*words))
        except NoScriptError:
            raise
        except (RedisError, OSError, asyncio.TimeoutError) as error:
            if str(error).startswith("WRONGTYPE"):
                return None
            meaning = _meaning(error)
            if isinstance(meaning, Away):
                # The others that wait here lead to where this one led.
                await self._leave(self._pool._available_connections)
            raise meaning from error

    async def _whole(self, command: Awaitable[Any]) -> Any:
        """A cancel ends the wait at once, and not the command in its middle: there redis-py may keep it to itself."""
        task = asyncio.ensure_future(command)
        self._under_way.add(task)
        task.add_done_callback(self._over)
        await asyncio.wait({task})
        # While it closes, redis-py may raise anything: an `AttributeError` for a connection that is gone.
        if self.closed and (task.cancelled() or task.exception()):
            raise _closed()
        return task.result()

    def _over(self, task: asyncio.Future[Any]) -> None:
        self._under_way.discard(task)
        # Looked at even where nobody waits any longer.
        if not task.cancelled():
            task.exception()

    async def run(self, *words: str | bytes) -> Any:
        return await self.patiently(lambda: self.once(*words))

    async def script(self, name: str, keys: Sequence[str], arguments: Sequence[str | bytes]) -> Any:
        return await self.patiently(lambda: self.script_once(name, keys, arguments))

    async def script_once(self, name: str, keys: Sequence[str], arguments: Sequence[str | bytes]) -> Any:
        script = scripts()[name]
        rest = (str(len(keys)), *keys, *arguments)
        try:
            return await self.once("EVALSHA", script.hash, *rest)
        except NoScriptError:
            return await self.once("EVAL", script.text, *rest)

    async def rows(self, keys: Sequence[str], columns: Sequence[str]) -> list[Any]:
        """The same columns of many hashes, asked once and at once; an exception in place of one that failed."""
        self._check_begins()
        pipeline = self._redis.pipeline(transaction=False)
        for key in keys:
            pipeline.execute_command("HMGET", key, *columns)
        try:
            found: list[Any] = await self._whole(_in_time(pipeline))
        except (RedisError, OSError, asyncio.TimeoutError) as error:
            raise _meaning(error) from error
        return found

    def listener(self) -> Any:
        """A connection of its own, not made yet: redis-py's `Connection`."""
        return self._pool.make_connection()

    async def close(self) -> None:
        """What is under way fails with `Closed`, after `_CLOSE_MAX_S` at the latest. No connection is left or made, not
        even where this is cancelled.
        """
        self.closed = True
        await self._leave(self._connections)
        try:
            if self._under_way:
                await asyncio.wait(set(self._under_way), timeout=_CLOSE_MAX_S)
        finally:
            await end(self._under_way)

    async def _leave(self, connections: Iterable[Any]) -> None:
        # Not by the pool's own `disconnect`: it comes a step later, when a command may have taken one of them.
        for connection in list(connections):
            await connection.disconnect()


async def _in_time(pipeline: Any) -> Any:
    """The answers to all of it. Errors: `TimeoutError` where they are not all there within `_ROWS_MAX_S`."""
    asking = asyncio.ensure_future(pipeline.execute(raise_on_error=False))
    try:
        _, late = await asyncio.wait({asking}, timeout=_ROWS_MAX_S)
    finally:
        # Cancelled in the middle redis-py cuts the connection: what comes yet would be taken for the answer to others.
        await end({asking})
    if late:
        raise TimeoutError(f"its answers together took more than {_ROWS_MAX_S:g} s")
    return asking.result()


# What the end of a connection is told by.
LOST = (ConnectionError, TimeoutError, RedisError, OSError, asyncio.TimeoutError)
