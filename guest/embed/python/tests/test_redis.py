"""Replicas over one real Redis: news, races, lost connections, lost answers, no memory."""

import asyncio
import json
import unittest
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any
from unittest import mock

from limits import PATIENCE_S
from over_redis import OverRedis, OverWay, is_, replica, until
from rejoin_core import Overloaded, Producer, Refused, Unavailable
from rejoin_core.redis import RedisStore
from rejoin_core.types import now_ms
from support import answer, delta, read, take

NEVER_S = 3600.0


class Sharing(OverRedis):
    async def test_what_one_replica_appends_is_read_live_on_the_other_in_order_and_once(self) -> None:
        await self.here.create("s", {"conversationId": "c"}, user_id="é")
        lines = answer(40)
        reading = asyncio.create_task(read(self.there))
        # From both in turn: each session is behind each time, and opens again.
        for at, line in enumerate(lines):
            await (self.here, self.there)[at % 2].append("s", line)
        await self.there.append("s", ['{"_internal":true}', "{}", "{}"])
        await self.there.complete("s")
        frames = await asyncio.wait_for(reading, PATIENCE_S)
        self.assertEqual([frame.data for frame in frames[:-1]], [*lines, "{}", "{}"])
        self.assertEqual([frame.id.split("-")[1] for frame in frames], [str(at) for at in range(1, 45) if at != 41])
        self.assertEqual(await read(self.here, after=frames[9].id), frames[10:])
        here, there = [await streams.content("s") for streams in (self.here, self.there)]
        # The session that wrote it read the clock itself, just before the store did.
        jobs = [replace(job, updated_ms=0, settled_ms=0) for job, _ in (here, there)]
        self.assertEqual((jobs[0], here[1]), (jobs[1], there[1]))
        self.assertEqual((here[0].user_id, here[0].status), ("é", "complete"))

    async def test_news_come_at_once_by_the_channel_and_within_seconds_without_it(self) -> None:
        for name, other in (("by-channel", "rejoin.{}"), ("without", "nobody.{}")):
            look_s = NEVER_S if name == "by-channel" else 0.5
            with self.subTest(name), mock.patch("rejoin_core.redis.wakes._LOOK_S", look_s):
                async with replica(self.server.url) as there:
                    assert isinstance(there.store, RedisStore)
                    if name == "without":
                        there.store._wakes._channel = other.format
                    _, job = await self.here.create(name, user_id="u")
                    stopped = asyncio.create_task(there.stopped(name, job.generation))
                    frames = await there.subscribe(name)
                    assert frames
                    next_frame = asyncio.create_task(take(frames, 1))
                    # It waits: what comes now is news.
                    rooms = there.store._wakes._rooms
                    await until(lambda: is_(lambda: name in rooms and len(rooms[name].waiting) == 2))
                    if name == "by-channel":
                        await until(lambda: is_(lambda: rooms[name].follows and rooms[name].known is not None))
                    await self.here.append(name, delta("x"))
                    self.assertEqual((await asyncio.wait_for(next_frame, PATIENCE_S))[0].data, delta("x"))
                    await self.here.abort(name)
                    await asyncio.wait_for(stopped, PATIENCE_S)
                    await frames.aclose()

    async def test_an_abort_on_one_replica_has_one_winner_and_stops_the_producer_on_the_other(self) -> None:
        _, job = await self.here.create("s", user_id="u")
        await self.here.append("s", answer(3))
        stopped = asyncio.create_task(self.here.stopped("s", job.generation))
        both = [streams.abort("s") for streams in (self.here, self.there) for _ in range(3)]
        results = await asyncio.gather(*both, return_exceptions=True)
        won = [one for one in results if not isinstance(one, BaseException)]
        lost = [one.reason for one in results if isinstance(one, Refused)]
        self.assertEqual((len(won), lost), (1, ["not-active"] * 5))
        self.assertEqual(won[0].text, "w0 w1")
        await asyncio.wait_for(stopped, PATIENCE_S)
        with self.assertRaises(Refused):
            await self.here.append("s", answer(1))

    async def test_a_producer_that_was_replaced_on_another_replica_writes_nothing_more(self) -> None:
        _, old = await self.here.create("s", user_id="u")
        await self.here.append("s", answer(2), generation=old.generation)
        _, job = await self.there.create("s", user_id="u")
        with self.assertRaises(Refused) as refusal:
            await self.here.append("s", delta("x"), generation=old.generation)
        self.assertEqual((refusal.exception.reason, refusal.exception.value), ("generation-replaced", job.generation))
        self.assertEqual((await self.there.content("s"))[0].head, 0)

    async def test_metadata_and_a_pause_are_those_of_all_replicas_and_the_answer_is_told(self) -> None:
        listener = self.client.pubsub()
        listener.subscribe("rejoin:{s}:wake")
        _, job = await self.here.create("s", user_id="u")
        await self.here.update("s", {"model": "m", "sender": "t"})
        await self.there.update("s", {"sender": None, "model": "n"})
        self.assertIn(("model", '"n"'), (await self.here.content("s"))[0].fields)
        self.assertNotIn("sender", dict((await self.here.content("s"))[0].fields))
        await self.here.pause("s", {"id": "a", "ask": "may I?"})
        self.assertEqual((await self.there.content("s"))[0].status, "requires_action")
        await self.there.resolve("s", "a", {"yes": True})
        self.assertEqual((await self.here.append("s", answer(2))).appended, 2)

        async def heard() -> bool:
            message = listener.get_message(ignore_subscribe_messages=True)
            text = message["data"].decode() if message else ""
            ours = text.startswith(f"r {job.generation} ")
            return ours and json.loads(text.split("\n")[1])["decision"] == {"yes": True}

        await until(heard)
        listener.close()

    async def test_readers_here_are_known_everywhere_until_the_last_one_leaves(self) -> None:
        await self.here.create("s", user_id="u")
        held = []
        for _ in range(2):
            frames = await self.here.subscribe("s")
            assert frames
            await anext(frames)
            held.append(frames)

        def present(count: int) -> Callable[[], Awaitable[bool]]:
            return lambda: is_(lambda: self.client.zcard("rejoin:{s}:present") == count)

        await until(present(1))
        await held[0].aclose()
        await until(present(1))
        await held[1].aclose()
        await until(present(0))

    async def test_many_readers_of_one_stream_ask_once(self) -> None:
        await self.here.create("s", user_id="u")
        reading = [asyncio.create_task(read(self.there)) for _ in range(100)]
        store = self.there.store
        assert isinstance(store, RedisStore)
        rooms = store._wakes._rooms
        await until(lambda: is_(lambda: "s" in rooms and len(rooms["s"].waiting) == 100))
        before = self.client.info("stats")["total_commands_processed"]
        for line in answer(10):
            await self.here.append("s", line)
        await self.here.complete("s")
        frames = await asyncio.gather(*reading)
        asked = self.client.info("stats")["total_commands_processed"] - before
        self.assertEqual({len(one) for one in frames}, {11})
        # Not 100 times for each of the records; the commands in scripts are counted too.
        self.assertLess(asked, 600)

    async def test_a_stream_that_nobody_waits_for_is_not_followed_any_longer(self) -> None:
        with mock.patch.multiple("rejoin_core.redis.wakes", _LEAVE_S=0.1, _LOOK_S=0.1):
            async with replica(self.server.url) as there:
                await there.create("s", user_id="u")
                followers = lambda: self.client.pubsub_numsub("rejoin:{s}:wake")[0][1]  # noqa: E731
                for _ in range(3):
                    reading = asyncio.create_task(read(there))
                    await until(lambda: is_(lambda: followers() == 1))
                    reading.cancel()
                    await until(lambda: is_(lambda: followers() == 0))

    async def test_streams_of_the_same_name_in_other_databases_and_under_other_prefixes_are_others(self) -> None:
        await self.here.create("s", user_id="u")
        for options in ({"url": f"{self.server.url}?db=1"}, {"url": self.server.url, "prefix": "other"}):
            async with replica(**options) as other:
                with self.assertRaises(Refused):
                    await other.content("s")
                await other.create("s", user_id="u")
                await other.append("s", answer(2))
        self.assertEqual(self.client.exists("other:{s}:job"), 1)
        self.assertEqual((await self.here.content("s"))[0].head, 0)


class Keeping(OverRedis):
    async def test_every_key_has_an_end(self) -> None:
        await self.here.create("s", user_id="u")
        for at in range(0, 600, 20):
            await self.here.append("s", answer(600)[at : at + 20])
        await self.here.complete("s")
        keys = self.client.keys("*")
        self.assertIn(b"rejoin:{s}:checkpoint", keys)
        self.assertEqual([key for key in keys if self.client.pttl(key) <= 0], [])

    async def test_a_job_that_is_idle_for_too_long_ends_and_is_forgotten_with_all_that_was_its(self) -> None:
        async with replica(self.server.url, prefix="short", idle_ms=300) as streams:
            await streams.create("s", user_id="u")
            frames = await asyncio.wait_for(read(streams), PATIENCE_S)
            self.assertEqual((frames[-1].event, json.loads(frames[-1].data)["error"]), ("error", "timed out"))
            # The time for which it is kept is over.
            with mock.patch("rejoin_core.redis.store.now_ms", lambda: now_ms() + 5 * 60_000):
                await until(lambda: is_(lambda: self.client.hlen("short:{index}:places") == 0))
                self.assertEqual([key for key in self.client.keys("short:{s}:*") if not key.endswith(b":removed")], [])
                with self.assertRaises(Refused):
                    await streams.content("s")

    async def test_one_user_has_so_many_active_jobs_and_one_more_in_place_of_another(self) -> None:
        async with replica(self.server.url, jobs_per_user_max=2) as streams:
            for name in ("a", "b"):
                await streams.create(name, user_id="u")
            with self.assertRaisesRegex(Overloaded, "complete or abort one first"):
                await streams.create("c", user_id="u")
            await streams.create("b", user_id="u")
            await streams.create("c", user_id="other")
            await streams.abort("a")
            await streams.create("c2", user_id="u")

    async def test_what_was_removed_is_gone_for_all(self) -> None:
        await self.here.create("s", user_id="u")
        await self.here.append("s", answer(2))
        frames = await self.there.subscribe("s")
        assert frames
        self.assertEqual(len(await take(frames, 2)), 2)
        self.assertTrue(await self.here.remove("s"))
        self.assertEqual(await asyncio.wait_for(take(frames, 1), PATIENCE_S), [])
        self.assertFalse(await self.there.remove("s"))
        self.assertEqual(self.client.hlen("rejoin:{index}:places"), 0)

    async def test_what_is_damaged_is_passed_over(self) -> None:
        _, job = await self.here.create("s", user_id="u")
        await self.here.append("s", answer(2))
        damaged = {3: {"n": "2", "r": b"\xff\n"}, 4: {"n": "0", "r": ""}, 5: {"n": "1", "r": "above the head\n"}}
        for at, fields in damaged.items():
            self.client.xadd("rejoin:{s}:log", fields, id=f"{job.generation}-{at}")
        self.client.hset("rejoin:{s}:job", "head", "4")
        self.client.publish("rejoin:{s}:wake", b"e x y z\n\xff")
        page = await self.here.store.read("s", job.cursor, 1 << 20)
        assert isinstance(page, list)
        self.assertEqual([entry.lines for entry in page], [answer(2)])
        for key, value in {"rev": "-1", "user": b"\xff", "gen": "9" * 40}.items():
            self.client.hset("rejoin:{s}:job", key, value)
            self.assertIsNone(await self.here.store.job("s"))
        self.client.delete("rejoin:{s}:job")
        self.client.set("rejoin:{s}:job", "no hash")
        self.assertIsNone(await self.here.store.job("s"))


class Failing(OverWay):
    async def test_scripts_that_the_server_forgets_are_sent_again(self) -> None:
        await self.here.create("s", user_id="u")
        for line in answer(10):
            self.client.script_flush()
            await self.here.append("s", line)
        self.assertEqual((await self.here.content("s"))[0].head, 10)

    async def test_connections_that_drop_are_made_again_and_nobody_misses_a_record(self) -> None:
        async with replica(self.way.url) as streams:
            await streams.create("s", user_id="u")
            reading = asyncio.create_task(read(streams))
            lines = answer(20)
            for at, line in enumerate(lines):
                if at == 5:
                    self.client.execute_command("CLIENT", "PAUSE", "300", "ALL")
                if at == 10:
                    self.client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
                if at == 12:
                    self.client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
                if at == 15:
                    await self.way.cut()
                    asyncio.get_running_loop().call_later(0.5, lambda: asyncio.ensure_future(self.way.mend()))
                await streams.append("s", line)
            await streams.complete("s")
            frames = await asyncio.wait_for(reading, PATIENCE_S)
            self.assertEqual([frame.data for frame in frames[:-1]], lines)

    async def test_channels_are_asked_for_again_after_the_connection_was_lost(self) -> None:
        # The looks at the rows would hide that nobody listens, and so would those of a reader before its comments.
        looks = mock.patch("rejoin_core.redis.wakes._LOOK_S", NEVER_S)
        with looks, mock.patch("rejoin_core.reader._KEEP_ALIVE_S", NEVER_S):
            async with replica(self.way.url) as streams:
                await streams.create("s", user_id="u")
                frames = await streams.subscribe("s")
                assert frames and isinstance(streams.store, RedisStore)
                rooms = streams.store._wakes._rooms

                def waits() -> bool:
                    return "s" in rooms and rooms["s"].follows and len(rooms["s"].waiting) == 1

                for line in answer(3):
                    reading = asyncio.create_task(take(frames, 1))
                    await until(lambda: is_(waits))
                    await self.way.cut()
                    # What is said while nobody listens is found when somebody does again.
                    await self.here.append("s", line)
                    await self.way.mend()
                    self.assertEqual([frame.data for frame in await asyncio.wait_for(reading, PATIENCE_S)], [line])
                await frames.aclose()

    async def test_a_write_whose_answer_was_lost_is_written_once(self) -> None:
        async with replica(self.way.url) as streams:

            async def losing(write: Awaitable[Any], times: int = 2) -> Any:
                self.way.lose, self.way.lost = times, 0
                value = await asyncio.wait_for(write, PATIENCE_S)
                self.assertEqual((self.way.lose, self.way.lost), (0, times))
                return value

            # Of a create, the first two commands that lose theirs are what admits it and its repeat.
            for times in (1, 2, 3, 4):
                made, job = await losing(streams.create("s", user_id="u"), times)
                self.assertTrue(made)
            lines = answer(8)
            for at in range(0, 8, 2):
                pushed = await losing(streams.append("s", lines[at : at + 2]))
                self.assertEqual((pushed.appended, pushed.last.sequence), (2, at + 2))
            await losing(streams.update("s", {"model": "m"}))
            await losing(streams.pause("s", {"id": "a"}), 4)
            await losing(streams.resolve("s", "a", 1), 4)
            ended = await losing(streams.complete("s"), 4)
        frames = await read(self.here)
        self.assertEqual([frame.data for frame in frames[:8]], lines)
        # Each of the eight writes counted once.
        self.assertEqual((ended.status, ended.generation), ("complete", job.generation))
        stored = await self.here.store.job("s")
        assert stored
        self.assertEqual((stored.revision, stored.head), (1 + 4 + 1 + 3, len(self.entries("s"))))

    def entries(self, stream: str) -> list[str]:
        log = self.client.xrange(f"rejoin:{{{stream}}}:log")
        return [line for _, fields in log for line in fields[b"r"].decode().splitlines()]

    async def test_a_redis_that_is_away_for_long_is_told_to_who_writes_and_who_reads_stays(self) -> None:
        async with replica(self.way.url, wait_s=0.2) as streams:
            _, job = await streams.create("s", user_id="u")
            reading = asyncio.create_task(read(streams))
            stopped = asyncio.create_task(streams.stopped("s", job.generation))
            lines = answer(6)
            await streams.append("s", lines[:2], producer=Producer("p", 1))
            assert isinstance(streams.store, RedisStore)
            rooms = streams.store._wakes._rooms
            await until(lambda: is_(lambda: "s" in rooms and len(rooms["s"].waiting) == 2))
            await self.way.cut()
            for _ in range(2):
                with self.assertRaisesRegex(Unavailable, "cannot be reached"):
                    await streams.append("s", lines[2:4], producer=Producer("p", 2))
            self.assertFalse(reading.done() or stopped.done())
            await self.way.mend()
            streams.store._link._wait_s = PATIENCE_S
            self.assertEqual((await streams.append("s", lines[2:4], producer=Producer("p", 2))).appended, 2)
            self.assertEqual((await streams.append("s", lines[2:4], producer=Producer("p", 2))).duplicate, 2)
            await streams.append("s", lines[4:])
            await streams.complete("s")
            frames = await asyncio.wait_for(reading, PATIENCE_S)
            self.assertEqual([frame.data for frame in frames[:-1]], lines)
            await asyncio.wait_for(stopped, PATIENCE_S)

    async def test_a_redis_without_memory_says_so_loses_nothing_and_takes_the_end(self) -> None:
        for name in ("a", "b", "c"):
            await self.here.create(name, user_id="u")
            await self.here.append(name, answer(2))
        self.client.config_set("maxmemory", "1")
        try:
            for streams in (self.here, self.there):
                with self.assertRaisesRegex(Overloaded, "raise maxmemory of Redis"):
                    await streams.append("a", delta("x"))
            self.assertEqual((await self.here.complete("a")).status, "complete")
            self.assertEqual((await self.there.abort("b")).job.status, "aborted")
            self.assertEqual((await self.there.content("c"))[0].head, 2)
        finally:
            self.client.config_set("maxmemory", "0")
        self.assertEqual((await self.here.append("c", delta("x"))).last.sequence, 3)  # type: ignore[union-attr]
        await self.there.complete("c")
        for name in ("a", "b", "c"):
            frames = await read(self.there, name)
            self.assertEqual([frame.data for frame in frames[:2]], answer(2))
        self.assertEqual(frames[2].data, delta("x"))

    async def test_a_log_in_that_is_refused_is_told_at_once_with_what_to_do(self) -> None:
        self.client.config_set("requirepass", "x")
        try:
            async with replica(self.server.url, wait_s=NEVER_S) as streams:
                with self.assertRaisesRegex(Unavailable, "give user and password"):
                    await asyncio.wait_for(streams.create("s", user_id="u"), PATIENCE_S)
        finally:
            self.client.config_set("requirepass", "")


if __name__ == "__main__":
    unittest.main()
