"""The ends of a store in Redis: closed while it is at work, an index that is damaged, answers that are told once."""

import asyncio
import json
import unittest
from contextlib import suppress
from typing import Any
from unittest import mock

from limits import PATIENCE_S, Limited
from over_redis import OverRedis, OverWay, is_, replica, until
from rejoin_core import Closed, Limits, Overloaded, Streams, Unavailable
from rejoin_core.redis import RedisStore
from rejoin_core.shared import Shared
from support import answer, read

NEVER_S = 3600.0


class Closing(OverWay):
    async def test_a_store_that_is_closed_says_so_ends_who_waits_and_leaves_no_connection(self) -> None:
        async with replica(self.way.url) as streams:
            _, job = await streams.create("s", user_id="u")
            await streams.append("s", answer(2))
            reading = asyncio.create_task(read(streams))
            stopped = asyncio.create_task(streams.stopped("s", job.generation))
            await until(lambda: is_(lambda: self.client.pubsub_numsub("rejoin:{s}:wake")[0][1] == 1))
        # Nobody cancels them. The reader comes back, to whoever serves the stream then.
        self.assertEqual(len(await asyncio.wait_for(reading, PATIENCE_S)), 2)
        # It says nothing about the generation.
        with self.assertRaises(Closed):
            await asyncio.wait_for(stopped, PATIENCE_S)
        with self.assertRaisesRegex(Closed, "closed"):
            await streams.content("s")
        await until(lambda: is_(lambda: not self.way.connections))

    async def test_who_waits_again_and_again_while_it_closes_starts_nothing_anew(self) -> None:
        store, is_over = RedisStore(self.way.url), asyncio.Event()
        _, job = await Streams(store).create("s", user_id="u")

        async def again() -> None:
            while not is_over.is_set():
                with suppress(Unavailable):
                    await store.changed("s", job, 0.001)
                await asyncio.sleep(0)

        waiting = asyncio.create_task(again())
        # To be said at the end: it takes a while.
        store.readers("s", True)
        await until(lambda: is_(lambda: self.client.zcard("rejoin:{s}:present") == 1))
        await store.close()
        is_over.set()
        await waiting
        await until(lambda: is_(lambda: not self.way.connections))
        self.assertEqual([task for task in asyncio.all_tasks() if "Wakes" in str(task.get_coro())], [])

    async def test_at_whatever_step_of_its_start_it_is_closed_it_ends_and_leaves_no_connection(self) -> None:
        _, job = await self.here.create("s", user_id="u")
        # Far beyond the answer to the first channel that is asked for.
        for steps in range(120):
            store = RedisStore(self.way.url)
            waiting = asyncio.create_task(store.changed("s", job, NEVER_S))
            for _ in range(steps):
                await asyncio.sleep(0)
            with self.subTest(steps=steps):
                await asyncio.wait_for(store.close(), PATIENCE_S)
            await asyncio.wait_for(asyncio.gather(waiting, return_exceptions=True), PATIENCE_S)
        await until(lambda: is_(lambda: not self.way.connections))

    async def test_what_is_left_of_the_work_when_the_wait_is_over_is_cut(self) -> None:
        async def silent(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            held.append(writer)

        held: list[asyncio.StreamWriter] = []
        path = f"{self.way.path}-silent"
        async with await asyncio.start_unix_server(silent, path):
            # No command ends by itself.
            with mock.patch("rejoin_core.redis.link._ANSWER_MAX_S", NEVER_S):
                store = RedisStore(f"unix://{path}")
            asking = [asyncio.create_task(store.job(f"s{at}")) for at in range(40)]
            await until(lambda: is_(lambda: len(held) > 0))
            with mock.patch("rejoin_core.redis.link._CLOSE_MAX_S", 0.1):
                await store.close()
            await until(lambda: is_(lambda: not store._link._under_way))
            results = await asyncio.gather(*asking, return_exceptions=True)
            self.assertEqual({type(one) for one in results}, {Closed})
            for writer in held:
                writer.close()


class Damage(OverWay):
    async def test_an_index_that_holds_something_else_is_told(self) -> None:
        for name in ("places", "deadlines"):
            with self.subTest(name):
                self.client.flushall()
                store = self.here.store
                assert isinstance(store, RedisStore)
                self.client.set(f"rejoin:{{index}}:{name}", "neither hash nor set")
                with self.assertRaisesRegex(Unavailable, "a key of the index holds something else"):
                    await self.here.create("s", user_id="u")
        with self.assertRaisesRegex(Unavailable, "a key of the index holds something else"):
            await store.sweep()

    async def test_a_sweep_ends_where_redis_cannot_be_reached_any_more(self) -> None:
        async with RedisStore(self.way.url, prefix="short", idle_ms=1, wait_s=0.1) as store:
            streams = Streams(store, Limits(idle_ms=1))
            for at in range(5):
                await streams.create(f"s{at}", user_id="u")
            await asyncio.sleep(0.01)
            visited, visit = [], store._visit

            async def cut(stream: str, seen: bytes, now: int) -> bool:
                visited.append(stream)
                await self.way.cut()
                return await visit(stream, seen, now)

            with mock.patch.object(store, "_visit", cut), self.assertRaisesRegex(Unavailable, "cannot be reached"):
                await store.sweep()
            self.assertEqual(len(visited), 1)

    async def test_an_answer_is_told_no_more_than_once(self) -> None:
        _, job = await self.here.create("s", user_id="u")
        listener = self.client.pubsub()
        listener.subscribe("rejoin:{s}:wake")
        heard: list[str] = []

        async def is_heard() -> bool:
            while message := listener.get_message(ignore_subscribe_messages=True):
                kind, _, answer = message["data"].decode().partition("\n")
                if kind.startswith("r "):
                    heard.append(json.loads(answer)["actionId"])
            return "b" in heard

        async with RedisStore(self.way.url) as store:
            await store.job("s")
            self.way.losing, self.way.lose = b"$7\r\nPUBLISH\r\n", 1
            store.resolved("s", job.generation, '{"actionId":"a"}')
            await until(lambda: is_(lambda: self.way.lost == 1))
            store.resolved("s", job.generation, '{"actionId":"b"}')
            await until(is_heard)
        self.assertEqual(heard, ["a", "b"])
        listener.close()

    async def test_a_task_of_the_store_that_dies_is_told_and_a_full_redis_kills_none(self) -> None:
        _, job = await self.here.create("s", user_id="u")
        async with RedisStore(self.server.url) as store:
            with mock.patch.object(store._wakes, "_heads", mock.AsyncMock(side_effect=Overloaded("full"))) as full:
                with mock.patch("rejoin_core.redis.wakes._LOOK_S", 0.01):
                    await store.changed("s", job, 0.1)
                    await until(lambda: is_(lambda: full.await_count > 0))
            self.assertEqual([task.done() for task in store._tasks], 4 * [False])
        async with RedisStore(self.server.url) as store:
            with mock.patch.object(store._presence, "tell", mock.AsyncMock(side_effect=RuntimeError("dead"))):
                with self.assertLogs("rejoin_core", "ERROR") as logged:
                    await store.changed("s", job, 0.1)
            self.assertIn("RuntimeError: dead", "\n".join(logged.output))


class Sharing(Limited):
    def test_an_answer_is_shared_however_tasks_begin(self) -> None:
        # From Python 3.12 on a task may run at once, before who made it has it.
        for factory in (None, getattr(asyncio, "eager_task_factory", None)):
            asyncio.run(self.share(factory))

    async def share(self, factory: Any) -> None:
        asyncio.get_running_loop().set_task_factory(factory)
        asked: list[str] = []

        async def ask(key: str) -> int:
            asked.append(key)
            count = len(asked)
            if key != "at once":
                await asyncio.sleep(0.01)
            return count

        shared = Shared(ask)
        first = asyncio.ensure_future(shared.get("s"))
        await asyncio.sleep(0)
        later = [asyncio.ensure_future(shared.get("s")) for _ in range(5)]
        self.assertEqual(await asyncio.gather(first, *later), [1] + 5 * [2])
        self.assertEqual([await shared.get("at once"), await shared.get("at once")], [3, 4])
        self.assertEqual((shared._now, shared._next), ({}, {}))


if __name__ == "__main__":
    unittest.main()
