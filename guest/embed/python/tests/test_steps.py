"""Whoever reads, writes or closes is cancelled at one step of the event loop after the other, while Redis answers, is cut
off or is silent: all of it ends, nothing is lost or twice, and no connection is left.
"""

import asyncio
import os
import unittest
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from typing import Any
from unittest import mock

from redis.exceptions import ConnectionError

from limits import PATIENCE_S, Case
from over_redis import OverWay, is_, replica, until
from redis_server import Server
from rejoin_core import Closed, MemoryStore, Overloaded, Producer, Refused, Streams
from rejoin_core.redis import RedisStore
from rejoin_core.redis.link import CONNECTIONS_MAX, Away
from support import Distant, delta, read, take

NEVER_S = 3600.0


async def steps(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def some_steps(end: int) -> Iterator[int]:
    """Each of the first ones, and ever fewer of those that follow."""
    at = 0
    while at < end:
        yield at
        at += 1 + at // 8


async def outcome(task: "asyncio.Future[Any]") -> Any:
    """What became of it: a value or an exception."""
    _, late = await asyncio.wait({task}, timeout=PATIENCE_S)
    if late:
        raise AssertionError(f"it does not end: {task}")
    return asyncio.CancelledError() if task.cancelled() else task.exception() or task.result()


async def cancelled(begin: Callable[[], Awaitable[Any]]) -> AsyncIterator[int]:
    """Begins it anew and cancels it, later each time, until it is over before."""
    for at in some_steps(100_000):
        task = asyncio.ensure_future(begin())
        await steps(at)
        was_over = task.done()
        task.cancel()
        await outcome(task)
        yield at
        if was_over:
            return


class Commands:
    """What holds for each store; all of it over one stream."""

    def __init__(self, case: unittest.TestCase, streams: Streams) -> None:
        self._case, self._streams = case, streams

    async def check(self) -> None:
        for test in (self.readers, self.writers, self.creators, self.enders):
            await self._streams.create("s", user_id="u")
            with self._case.subTest(test.__name__):
                await test()

    async def readers(self) -> None:
        lines: list[str] = []

        async def reading() -> None:
            frames = await self._streams.subscribe("s")
            assert frames
            line = delta(f"w{len(lines)} ")
            lines.append(line)
            writing = asyncio.create_task(self._streams.append("s", line))
            try:
                await take(frames, len(lines))
            finally:
                await frames.aclose()
                await outcome(writing)

        async for at in cancelled(reading):
            self._case.assertEqual(self._streams._subscribers.total(), 0, at)
        await self.all_are(lines)

    async def writers(self) -> None:
        lines: list[str] = []

        def write() -> Awaitable[Any]:
            return self._streams.append("s", delta(f"w{len(lines)} "), producer=Producer("p", len(lines) + 1))

        async for at in cancelled(write):
            # The same again: it is there already, or it comes now.
            pushed = await asyncio.wait_for(write(), PATIENCE_S)
            self._case.assertEqual(pushed.appended + pushed.duplicate, 1, at)
            lines.append(delta(f"w{len(lines)} "))
        await self.all_are(lines)

    async def all_are(self, lines: list[str]) -> None:
        await self._streams.complete("s")
        self._case.assertEqual([frame.data for frame in (await read(self._streams))[:-1]], lines)

    async def creators(self) -> None:
        made = 0

        def create() -> Awaitable[Any]:
            return self._streams.create("s", user_id="u", idempotency_key=f"k{made}")

        async for at in cancelled(create):
            _, job = await asyncio.wait_for(create(), PATIENCE_S)
            pushed = await self._streams.append("s", delta("x"))
            # No other generation has come meanwhile.
            self._case.assertEqual(str(pushed.last), f"{job.generation}-1", at)
            made += 1

    async def enders(self) -> None:
        async for at in cancelled(lambda: self._streams.complete("s")):
            with suppress(Refused):
                await asyncio.wait_for(self._streams.complete("s"), PATIENCE_S)
            self._case.assertEqual(len(await asyncio.wait_for(read(self._streams), PATIENCE_S)), 1, at)
            await self._streams.create("s", user_id="u")


class InMemory(Case):
    async def test_whoever_is_cancelled_at_any_step_leaves_a_stream_that_goes_on(self) -> None:
        await Commands(self, Streams(Distant())).check()

    async def test_a_sweep_that_keeps_a_cancel_to_itself_is_ended_all_the_same(self) -> None:
        class Stubborn(MemoryStore):
            sweeps = asyncio.Event()

            async def sweep(self) -> list[str]:
                if not self.sweeps.is_set():
                    self.sweeps.set()
                    with suppress(asyncio.CancelledError):
                        await asyncio.sleep(NEVER_S)
                return []

        store = Stubborn()
        with mock.patch("rejoin_core.streams._SWEEP_S", 0.01):
            async with Streams(store) as streams:
                await store.sweeps.wait()
        assert streams._sweeper
        self.assertTrue(streams._sweeper.cancelled())


class InRedis(OverWay):
    async def test_whoever_is_cancelled_at_any_step_leaves_a_stream_that_goes_on(self) -> None:
        async with replica(self.way.url) as streams:
            await Commands(self, streams).check()
        await until(lambda: is_(lambda: not self.way.connections))

    async def closing(self, meanwhile: Callable[[], Awaitable[None]], last: int = 60) -> None:
        """A store with all kinds of work closes at each step after `meanwhile`."""
        for at in some_steps(last):
            with self.subTest(steps=at):
                await self.way.mend()
                _, job = await self.here.create("s", user_id="u")
                store = RedisStore(self.way.url, wait_s=PATIENCE_S)
                streams = Streams(store)
                store.readers("s", True)
                await store.job("s")
                store._link._wait_s = 0.1
                works = [streams.stopped("s", job.generation), read(streams), streams.append("s", delta("x"))]
                tasks = [asyncio.ensure_future(work) for work in works]
                await steps(at // 2)
                await meanwhile()
                await steps(at)
                self.assertIsNone(await outcome(asyncio.create_task(store.close())))
                # None has died before.
                self.assertEqual([task.cancelled() for task in store._tasks], 4 * [True])
                self.assertEqual(store._link._under_way, set())
                for task in tasks:
                    # What redis-py makes of a connection that is gone is for nobody else.
                    self.assertNotIsInstance(await outcome(task), (AttributeError, RuntimeError))
                self.server.go_on()
                await until(lambda: is_(lambda: not self.way.connections))
                await self.way.cut()

    async def asyncSetUp(self) -> None:
        await super().asyncSetUp()
        self.addCleanup(self.server.go_on)

    def patient(self, url: str = "") -> RedisStore:
        """No command and no handshake of it ends by itself."""
        with mock.patch("rejoin_core.redis.link._ANSWER_MAX_S", NEVER_S):
            return RedisStore(url or self.way.url)

    async def test_a_store_closes_at_any_step_while_channels_are_asked_for_and_left(self) -> None:
        async def nothing() -> None:
            pass

        with mock.patch.multiple("rejoin_core.redis.wakes", _LEAVE_S=0.0, _LOOK_S=0.0):
            await self.closing(nothing)

    async def test_a_store_closes_at_any_step_after_its_connections_were_lost(self) -> None:
        async def lose() -> None:
            for writer in list(self.way._writers):
                writer.transport.abort()

        for meanwhile in (lose, self.way.cut):
            with self.subTest(meanwhile.__name__):
                await self.closing(meanwhile)

    async def test_a_store_closes_at_any_step_while_redis_is_silent(self) -> None:
        async def pause() -> None:
            self.server.pause()

        silent = mock.patch.multiple("rejoin_core.redis.link", _ANSWER_MAX_S=0.2, _CLOSE_MAX_S=0.05)
        with silent, mock.patch("rejoin_core.redis.presence._LEAVE_MAX_S", 0.05):
            await self.closing(pause)

    async def test_a_close_that_is_cancelled_at_any_step_leaves_no_connection(self) -> None:
        _, job = await self.here.create("s", user_id="u")
        for more in (0, 1):
            for at in some_steps(40):
                with self.subTest(steps=at, more=more):
                    store = RedisStore(self.way.url)
                    store.readers("s", True)
                    waiting = asyncio.create_task(store.changed("s", job, NEVER_S))
                    await until(lambda: is_(lambda: self.way.connections >= 2))
                    closing = asyncio.create_task(store.close())
                    # It has begun, as it has where it ends an `async with`.
                    await steps(1 + at)
                    for _ in range(1 + more):
                        closing.cancel()
                        await steps(more)
                    await outcome(closing)
                    await outcome(waiting)
                    await until(lambda: is_(lambda: not self.way.connections))

    async def test_what_a_silent_redis_does_not_take_keeps_no_connection(self) -> None:
        def sockets() -> int:
            found = 0
            for one in os.listdir("/proc/self/fd"):
                # The one that lists them is gone.
                with suppress(FileNotFoundError):
                    found += os.readlink(f"/proc/self/fd/{one}").startswith("socket:")
            return found

        before = sockets()
        with mock.patch("rejoin_core.redis.link._ANSWER_MAX_S", 0.1):
            store = RedisStore(self.server.url, wait_s=PATIENCE_S)
        # Once each of them is there.
        await asyncio.gather(*(store.job(f"s{at}") for at in range(4)))
        store._link._wait_s = 0.0
        self.server.pause()
        large = "x" * (8 << 20)
        writing = [asyncio.create_task(store._link.run("SET", "large", large)) for _ in range(4)]
        await asyncio.gather(*writing, return_exceptions=True)
        await until(lambda: is_(lambda: sockets() == before))
        await store.close()

    async def test_nothing_is_sent_to_a_connection_that_is_lost(self) -> None:
        store = RedisStore(self.way.url)
        connection = store._link.listener()
        await connection.connect()
        connection._writer.transport.abort()
        with self.assertRaisesRegex(ConnectionError, "is lost"):
            await connection.send_command("PING")
        await store.close()

    async def test_a_store_that_is_closed_connects_no_more(self) -> None:
        store = self.patient()
        self.server.pause()
        # More than there are connections: the others wait for one.
        asking = [asyncio.create_task(store.job(f"s{at}")) for at in range(40)]
        before = self.way.accepted
        await until(lambda: is_(lambda: self.way.accepted == before + CONNECTIONS_MAX))
        with mock.patch("rejoin_core.redis.link._CLOSE_MAX_S", NEVER_S):
            self.assertIsNone(await outcome(asyncio.create_task(store.close())))
        await until(lambda: is_(lambda: not self.way.connections))
        self.assertEqual(self.way.accepted, before + CONNECTIONS_MAX)
        self.server.go_on()
        for task in asking:
            self.assertIsInstance(await outcome(task), Closed)

    async def test_a_close_at_any_step_of_a_handshake_that_is_silent_waits_for_no_time_out(self) -> None:
        server = Server(tcp=True)
        self.addCleanup(server.stop)
        server.pause()
        for url in (f"unix://{server.path}", server.url):
            for at in some_steps(40):
                with self.subTest(url=url, steps=at), mock.patch("rejoin_core.redis.link._CLOSE_MAX_S", NEVER_S):
                    store = self.patient(url)
                    asking = asyncio.create_task(store.job("s"))
                    await steps(at)
                    self.assertIsNone(await outcome(asyncio.create_task(store.close())))
                    self.assertIsInstance(await outcome(asking), Closed)

    async def test_commands_that_are_left_under_way_are_bounded(self) -> None:
        store = self.patient()
        self.server.pause()
        with mock.patch("rejoin_core.redis.link._UNDER_WAY_MAX", 40):
            for at in range(40):
                asking = asyncio.create_task(store._link.run("GET", f"k{at}"))
                await steps(1)
                asking.cancel()
                self.assertIsInstance(await outcome(asking), asyncio.CancelledError)
            for more in (store._link.run("GET", "more"), store._link.rows(["more"], ["gen"])):
                refused = await outcome(asyncio.ensure_future(more))
                self.assertIsInstance(refused, Overloaded)
                self.assertIn("40 commands wait for Redis already: ask again once it answers", str(refused))
            self.server.go_on()
            await until(lambda: is_(lambda: not store._link._under_way))
            self.assertIsNone(await store._link.run("GET", "more"))
        await store.close()

    async def test_rows_that_trickle_in_are_given_up_together_and_their_connection_is_cut(self) -> None:
        keys = 256 * ["rejoin:{s}:job"]
        async with RedisStore(self.way.url) as store:
            await store.job("s")
            # Each answer comes in time; all of them would take a minute.
            self.way.trickle_s = 0.25
            with mock.patch("rejoin_core.redis.link._ROWS_MAX_S", 0.5):
                failed = await outcome(asyncio.create_task(store._link.rows(keys, ["gen", "head", "rev"])))
                self.assertIsInstance(failed, Away)
                self.assertIn("together", str(failed))
                await until(lambda: is_(lambda: not self.way.connections))
                # Nor does it go on where nobody waits any longer.
                left = asyncio.create_task(store._link.rows(keys, ["gen", "head", "rev"]))
                await until(lambda: is_(lambda: self.way.connections == 1))
                left.cancel()
                await until(lambda: is_(lambda: not store._link._under_way))
            self.way.trickle_s = 0.0
            self.assertEqual(store._link._pool._in_use_connections, set())
            self.assertIsNone(await store.job("s"))


if __name__ == "__main__":
    unittest.main()
