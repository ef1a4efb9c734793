"""A component that traps, spins or eats memory costs its own call or generation, and nobody else notices."""

import asyncio
import gc
import json
import os
import signal
import time
import unittest

from limits import PATIENCE_S, Case
from rejoin_core import Aggregator, LimitExceeded, MemoryStore, Producer, Refused, Session, Streams, Trapped
from support import answer, delta, read, trapping

PANIC, SPIN, MEMORY = (json.dumps({"event": f"test_trap_{kind}", "data": {}}) for kind in ("panic", "spin", "memory"))


class Traps(Case):
    def setUp(self) -> None:
        patch = trapping()
        patch.start()
        self.addCleanup(patch.stop)

    async def test_a_trap_costs_its_append_and_a_new_session_opens_from_checkpoint_and_log(self) -> None:
        for bad in (PANIC, MEMORY):
            store = MemoryStore()
            streams = Streams(store)
            _, job = await streams.create("s", user_id="u")
            lines = answer(420)
            for at in range(0, 400, 20):
                await streams.append("s", lines[at : at + 20])
            kept = await store.checkpoint("s", job.generation)
            assert kept
            self.assertTrue(0 < kept[0].sequence < 400, "a checkpoint, and a log after it")
            reading = asyncio.create_task(read(streams))
            before = streams._sessions._slots["s"].session
            with self.assertRaises(Trapped) as trap:
                await streams.append("s", [lines[400], bad])
            self.assertEqual(trap.exception.taken, 0)
            self.assertIsNone(streams._sessions._slots["s"].session)
            self.assertIsNotNone(before)
            pushed = await streams.append("s", lines[400:])
            self.assertEqual((pushed.appended, str(pushed.last)), (20, f"{job.generation}-420"))
            self.assertIsNot(streams._sessions._slots["s"].session, before)
            await streams.complete("s")
            self.assertEqual([frame.data for frame in (await reading)[:-1]], lines)
            text = "".join(f"w{at} " for at in range(419))
            self.assertEqual((await streams.content("s"))[1][0]["text"], text)

    async def test_a_producer_repeats_what_a_trap_took_and_nothing_is_twice(self) -> None:
        streams = Streams()
        await streams.create("s", user_id="u")
        large = [*answer(1), *(delta("x" * 1000) for _ in range(100))]
        with self.assertRaises(Trapped) as trap:
            await streams.append("s", [*large, PANIC], producer=Producer("p", 1))
        taken = trap.exception.taken
        self.assertTrue(0 < taken < 101, "the first piece is stored")
        pushed = await streams.append("s", large, producer=Producer("p", 1))
        self.assertEqual((pushed.appended, pushed.duplicate), (101 - taken, taken))
        await streams.complete("s")
        self.assertEqual([frame.data for frame in (await read(streams))[:-1]], large)

    async def test_a_call_without_end_ends_its_generation_and_its_readers_hear_why(self) -> None:
        streams = Streams()
        _, job = await streams.create("s", user_id="u")
        await streams.append("s", answer(3))
        reading = asyncio.create_task(read(streams))
        await asyncio.sleep(0)
        with self.assertRaises(LimitExceeded):
            await streams.append("s", SPIN)
        end = (await reading)[-1]
        self.assertEqual((end.event, end.id), ("error", f"{job.generation}-4"))
        self.assertEqual(json.loads(end.data)["error"], "limit exceeded")
        with self.assertRaises(Refused) as refusal:
            await streams.append("s", delta("x"))
        self.assertEqual((refusal.exception.reason, refusal.exception.value), ("not-active", "error"))
        self.assertEqual((await streams.content("s"))[1][0]["text"], "w0 w1 ")
        await streams.create("s", user_id="u")
        self.assertEqual((await streams.append("s", answer(2))).appended, 2)

    async def test_a_generation_that_cannot_be_opened_any_more_ends_and_its_stream_goes_on(self) -> None:
        store = MemoryStore()
        streams = Streams(store)
        await streams.create("s", user_id="u")
        await streams.append("s", answer(2))
        # A log that the component cannot survive, as one of another version might have let in.
        store._rows["s"].log[0].lines[1] = PANIC
        reading = asyncio.create_task(read(streams))
        there = Streams(store)
        with self.assertRaises(Trapped):
            await there.append("s", delta("x"))
        end = (await reading)[-1]
        self.assertEqual((end.event, json.loads(end.data)["error"]), ("error", "component trapped"))
        await there.create("s", user_id="u")
        self.assertEqual((await there.append("s", answer(2))).appended, 2)
        # And one with a hole.
        del store._rows["s"].log[:]
        with self.assertRaises(Trapped):
            await Streams(store).append("s", delta("x"))
        self.assertEqual((await store.job("s")).status, "error")  # type: ignore[union-attr]

    async def test_ten_streams_beside_one_that_traps_without_pause_lose_and_repeat_nothing(self) -> None:
        streams = Streams()
        await streams.create("bad", user_id="u")
        lines = answer(40)

        async def neighbour(name: str) -> None:
            await streams.create(name, user_id="u")
            reading = asyncio.create_task(read(streams, name))
            for line in lines:
                await streams.append(name, line)
                await asyncio.sleep(0)
            await streams.complete(name)
            frames = await reading
            self.assertEqual([frame.data for frame in frames[:-1]], lines)
            for sequence, frame in enumerate(frames, 1):
                self.assertEqual(frame.id.split("-")[1], str(sequence))

        neighbours = [asyncio.create_task(neighbour(f"n{at}")) for at in range(10)]
        traps = 0
        while traps < 10 or not all(task.done() for task in neighbours):
            with self.assertRaises(Trapped):
                await streams.append("bad", (PANIC, MEMORY, PANIC)[traps % 3])
            traps += 1
            if traps == 5:
                with self.assertRaises(LimitExceeded):
                    await streams.append("bad", SPIN)
                await streams.create("bad", user_id="u")
            await asyncio.sleep(0)
        await asyncio.gather(*neighbours)
        self.assertEqual((await streams.append("bad", answer(2))).appended, 2)

    async def test_a_fold_that_traps_is_dead_and_the_next_one_is_not(self) -> None:
        aggregator, other = Aggregator(), Aggregator()
        with self.assertRaises(Trapped) as trap:
            aggregator.push(PANIC)
        self.assertIn("unreachable", str(trap.exception))
        with self.assertRaises(Trapped):
            aggregator.parts()
        other.push(answer(2))
        self.assertEqual(other.parts()[0]["text"], "w0 ")

    async def test_a_child_of_a_fork_ends_its_calls_too(self) -> None:
        aggregator = Aggregator()
        child = os.fork()
        if child == 0:
            try:
                Aggregator().push(SPIN)
            except LimitExceeded:
                os._exit(7)
            finally:
                os._exit(1)
        end = time.monotonic() + PATIENCE_S
        while not (found := os.waitpid(child, os.WNOHANG))[0]:
            if time.monotonic() > end:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                self.fail("the child spins")
            await asyncio.sleep(0.05)
        self.assertEqual(os.waitstatus_to_exitcode(found[1]), 7)
        aggregator.push(answer(2))

    async def test_two_hundred_traps_leak_no_session(self) -> None:
        def sessions() -> int:
            gc.collect()
            return sum(isinstance(one, Session) for one in gc.get_objects())

        streams = Streams()
        await streams.create("s", user_id="u")
        before = sessions()
        for _ in range(200):
            with self.assertRaises(Trapped):
                await streams.append("s", PANIC)
        self.assertLessEqual(sessions(), before)
        self.assertEqual((await streams.append("s", answer(3))).appended, 3)


if __name__ == "__main__":
    unittest.main()
