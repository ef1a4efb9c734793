"""Streams of one process: readers that leave anywhere, races with one winner, two writers over one store."""

import asyncio
import json
import unittest
from collections.abc import AsyncIterator

from limits import Case
from rejoin_core import Append, Cursor, Entry, Limits, MemoryStore, Producer, Refused, Streams, Written, reader
from support import Distant, answer, delta, parse, read, take


class Reading(Case):
    async def test_a_reader_that_leaves_after_any_record_misses_nothing_and_gets_nothing_twice(self) -> None:
        streams, lines = Streams(), answer(40)
        await streams.create("s", user_id="u")
        reading = asyncio.create_task(read(streams))
        returning = []
        for line in lines:
            await streams.append("s", line)
            # One returns while the answer goes on, from each cursor that there is.
            at = (await streams.content("s"))[0].cursor
            returning.append((at.sequence, asyncio.create_task(read(streams, after=str(at)))))
            await asyncio.sleep(0)
        await streams.complete("s")
        whole = await reading
        self.assertEqual([frame.data for frame in whole[:-1]], lines)
        self.assertTrue(json.loads(whole[-1].data)["final"])
        for sequence, task in returning:
            self.assertEqual(await task, whole[sequence:])
        for sequence, frame in enumerate(whole, 1):
            self.assertEqual(await read(streams, after=frame.id), whole[sequence:])

    async def test_a_state_holds_what_came_before_its_cursor_and_the_rest_follows(self) -> None:
        streams = Streams()
        await streams.create("s", user_id="u")
        await streams.append("s", answer(4))
        frames = await streams.subscribe("s", resume=True)
        assert frames is not None
        [frame] = await take(frames, 1)
        state = json.loads(frame.data)
        self.assertEqual(state["resumeState"]["aggregatedContent"][0]["text"], "w0 w1 w2 ")
        self.assertEqual(frame.id, f"{state['generation']}-4")
        self.assertNotIn("reset", state)
        await streams.append("s", delta("more"))
        await streams.complete("s")
        rest = await take(frames, 9)
        self.assertEqual([frame.data for frame in rest[:-1]], [delta("more")])

    async def test_where_a_reader_begins_is_told_by_its_cursor(self) -> None:
        streams = Streams()
        with self.assertRaises(Refused) as refusal:
            await streams.subscribe("s")
        self.assertEqual(refusal.exception.reason, "not-found")
        self.assertIsNone(await streams.subscribe("s", last_event_id="1-1"))
        _, old = await streams.create("s", user_id="u")
        _, job = await streams.create("s", user_id="u")
        await streams.append("s", answer(3))
        for garbage in ("1", "-", "1-", "-1", "+1-1", "1-1-1", " 1-1", "1-99999999999999999999", "1-٣"):
            with self.assertRaises(Refused):
                await streams.subscribe("s", last_event_id=garbage)
        # Of another generation, of the future: the state, and that what the reader had is void.
        for cursor in (f"{old.generation}-1", f"{job.generation}-9"):
            [frame] = await read(streams, after=cursor, count=1)
            self.assertTrue(json.loads(frame.data)["reset"])
            self.assertEqual(frame.id, f"{job.generation}-3")
        # A cursor wins over `resume`: its sender has the state.
        self.assertEqual((await read(streams, after=f"{job.generation}-2", resume=True, count=1))[0].data, answer(3)[2])
        await streams.complete("s")
        self.assertIsNone(await streams.subscribe("s", last_event_id=f"{job.generation}-4"))
        self.assertEqual(len(await read(streams, after=f"{job.generation}-3")), 1)

    async def test_a_reader_of_a_generation_that_is_replaced_is_sent_to_the_next_one(self) -> None:
        streams = Streams()
        await streams.create("s", user_id="u")
        await streams.append("s", answer(2))
        reading = asyncio.create_task(read(streams))
        await asyncio.sleep(0)
        _, job = await streams.create("s", user_id="u")
        told = json.loads((await reading)[-1].data)
        self.assertEqual((told["reconcile"], told["generation"]), (True, job.generation))

    async def test_a_reader_whose_generation_is_replaced_while_it_gets_the_state_is_sent_to_the_next_one(self) -> None:
        streams = Streams(Distant())
        _, old = await streams.create("s", user_id="u")
        job = old

        async def snapshot(stream: str) -> tuple[Cursor, str]:
            nonlocal job
            _, job = await streams.create(stream, user_id="u")
            await streams.append(stream, answer(2))
            return await streams.snapshot(stream)

        # Beyond the end, as after a store has lost its tail.
        beyond = Cursor(old.generation, 9)
        frames = reader.frames(streams.store, snapshot, "s", old.generation, beyond, False)
        found = await take(frames, 1)
        self.assertEqual([json.loads(frame.data).get("generation") for frame in found], [job.generation])
        self.assertTrue(json.loads(found[0].data)["reconcile"])

    async def test_a_failure_is_an_error_event_and_internal_records_are_not_sent(self) -> None:
        streams = Streams()
        await streams.create("s", user_id="u")
        await streams.append("s", ['{"_internal":true,"x":1}', delta("a")])
        await streams.fail("s", "the model is gone")
        frames = await read(streams)
        self.assertEqual([frame.id.split("-")[1] for frame in frames], ["2", "3"])
        self.assertEqual((frames[-1].event, json.loads(frames[-1].data)["error"]), ("error", "the model is gone"))

    async def test_a_reader_that_takes_nothing_holds_one_page(self) -> None:
        streams = Streams()
        await streams.create("s", user_id="u")
        frames = await streams.subscribe("s")
        assert frames is not None
        self.assertEqual(await anext(frames), "retry: 1000\n\n")
        sent = [delta("x" * 8000) for _ in range(300)]
        for line in sent:
            await streams.append("s", line)
        first = await anext(frames)
        self.assertLess(len(first), 64 * 1024 + 9000)
        await streams.complete("s")
        found = parse(first) + await take(frames, 1000)
        self.assertEqual([frame.data for frame in found[:-1]], sent)


class Writing(Case):
    async def test_an_abort_by_another_process_has_one_winner_and_stops_the_producer(self) -> None:
        streams = Streams(Distant())
        there = Streams(streams.store)
        _, job = await streams.create("s", user_id="u")
        await streams.append("s", answer(3))
        stopped = asyncio.create_task(streams.stopped("s", job.generation))
        answers = await asyncio.gather(*(there.abort("s") for _ in range(5)), return_exceptions=True)
        won = [one for one in answers if not isinstance(one, BaseException)]
        lost = [one.reason for one in answers if isinstance(one, Refused)]
        self.assertEqual((len(won), lost), (1, ["not-active"] * 4))
        self.assertEqual((won[0].text, won[0].final_event["aborted"]), ("w0 w1", True))
        await stopped
        with self.assertRaises(Refused):
            await streams.append("s", answer(1))

    async def test_of_complete_and_abort_through_two_processes_one_wins_and_readers_get_one_end(self) -> None:
        for round in range(30):
            store = Distant()
            here, there = Streams(store), Streams(store)
            await here.create("s", user_id="u")
            await here.append("s", answer(2))
            await there.content("s")
            reading = asyncio.create_task(read(here))
            both = [here.complete("s"), there.abort("s")]
            results = await asyncio.gather(*(both if round % 2 else both[::-1]), return_exceptions=True)
            refused = [one for one in results if isinstance(one, Refused)]
            self.assertEqual([one.reason for one in refused], ["not-active"])
            frames = await reading
            self.assertEqual(len(frames), 3)
            ended = (await there.content("s"))[0].status
            self.assertEqual((ended == "aborted"), json.loads(frames[-1].data).get("aborted", False))
            self.assertEqual(refused[0].value, ended)

    async def test_a_producer_of_an_old_generation_is_refused(self) -> None:
        streams = Streams()
        _, first = await streams.create("s", user_id="u")
        stopped = asyncio.create_task(streams.stopped("s", first.generation))
        _, second = await streams.create("s", user_id="u")
        self.assertGreater(second.generation, first.generation)
        await stopped
        with self.assertRaises(Refused) as refusal:
            await streams.append("s", answer(1), generation=first.generation)
        told = (refusal.exception.reason, refusal.exception.value)
        self.assertEqual(told, ("generation-replaced", second.generation))

    async def test_a_repeated_request_is_recognised(self) -> None:
        streams = Streams()
        made = [await streams.create("s", user_id="u", idempotency_key="k") for _ in range(2)]
        self.assertEqual([new for new, _ in made], [True, False])
        self.assertEqual(made[0][1].generation, made[1][1].generation)
        for expected in ((5, 0), (0, 5)):
            pushed = await streams.append("s", answer(5), producer=Producer("p", 1))
            self.assertEqual((pushed.appended, pushed.duplicate), expected)
        with self.assertRaises(Refused) as refusal:
            await streams.append("s", delta("x"), producer=Producer("p", 3))
        self.assertEqual((refusal.exception.reason, refusal.exception.value), ("producer-gap", 2))

    async def test_a_large_append_goes_piece_by_piece_and_is_repeated_as_one(self) -> None:
        streams = Streams()
        await streams.create("s", user_id="u")
        lines = [*answer(1), *(delta(f"{at} " + "x" * 500) for at in range(600)), "nonsense", delta("never")]
        for expected in ((601, 0), (0, 601)):
            pushed = await streams.append("s", lines, producer=Producer("p", 1))
            assert pushed.stopped
            self.assertEqual((pushed.appended, pushed.duplicate, pushed.stopped[0]), (*expected, 602))
            self.assertEqual(pushed.stopped[1].reason, "invalid")
        await streams.complete("s")
        self.assertEqual([frame.data for frame in (await read(streams))[:-1]], lines[:601])
        parts = (await streams.content("s"))[1]
        self.assertEqual(len(parts[0]["text"]), sum(len(f"{at} ") + 500 for at in range(600)))

    async def test_one_append_and_one_body_feed_one_generation(self) -> None:
        class Replacing(MemoryStore):
            # The next generation comes when so many appends were accepted.
            left = 1

            async def append(self, stream: str, append: Append) -> Written:
                written = await super().append(stream, append)
                self.left -= 1
                if self.left == 0:
                    await Streams(self).create(stream, user_id="u")
                return written

        async def body() -> AsyncIterator[str]:
            for line in answer(3):
                yield f"data: {line}\n\n"

        streams = Streams(Replacing())
        await streams.create("s", user_id="u")
        pushed = await streams.append("s", [delta("x" * 1000) for _ in range(200)])
        assert pushed.stopped
        self.assertEqual(pushed.stopped[1].reason, "generation-replaced")

        streams = Streams(Replacing())
        await streams.create("b", user_id="u")
        with self.assertRaises(Refused) as refusal:
            await streams.append_body("b", body(), "events")
        self.assertEqual(refusal.exception.reason, "generation-replaced")
        self.assertEqual((await streams.content("b"))[0].head, 0)

    async def test_a_pause_takes_one_answer_and_the_answer_goes_on(self) -> None:
        streams = Streams()
        await streams.create("s", user_id="u")
        job = await streams.pause("s", {"id": "a", "ask": "may I?"})
        self.assertEqual(job.status, "requires_action")
        with self.assertRaises(Refused) as refusal:
            await streams.pause("s", {"id": "b"})
        self.assertEqual(refusal.exception.reason, "paused")
        answers = await asyncio.gather(
            streams.resolve("s", "a", {"yes": True}), streams.resolve("s", "a", {"yes": False}), return_exceptions=True
        )
        self.assertEqual([one.reason for one in answers if isinstance(one, Refused)], ["no-such-action"])
        self.assertEqual((await streams.append("s", answer(2))).appended, 2)
        self.assertEqual((await streams.update("s", {"model": "m"})).fields[-1], ("model", '"m"'))

    async def test_two_processes_over_one_store_write_in_turn_and_at_once(self) -> None:
        here = Streams(Distant())
        there = Streams(here.store)
        await here.create("s", user_id="u")
        lines = answer(20)
        for at, line in enumerate(lines):
            await (here, there)[at % 2].append("s", line)
        more = [delta(f"m{at} ") for at in range(20)]
        await asyncio.gather(*((here, there)[at % 2].append("s", line) for at, line in enumerate(more)))
        await there.complete("s")
        found = [frame.data for frame in (await read(here))[:-1]]
        self.assertEqual((found[:20], sorted(found[20:])), (lines, sorted(more)))

    async def test_who_gives_up_in_the_middle_of_a_write_leaves_a_stream_that_goes_on(self) -> None:
        class Slow(MemoryStore):
            waits = asyncio.Event()

            async def append(self, stream: str, append: Append) -> Written:
                written = await super().append(stream, append)
                await self.waits.wait()
                return written

        store = Slow()
        streams = Streams(store)
        await streams.create("s", user_id="u")
        writing = asyncio.create_task(streams.append("s", answer(2)))
        await asyncio.sleep(0.01)
        writing.cancel()
        with self.assertRaises(asyncio.CancelledError):
            await writing
        store.waits.set()
        self.assertEqual((await streams.append("s", delta("x"))).appended, 1)
        self.assertEqual((await streams.content("s"))[1][0]["text"], "w0 x")

    async def test_a_job_that_is_idle_for_too_long_ends_and_is_forgotten(self) -> None:
        store = MemoryStore(idle_ms=0)
        async with Streams(store, Limits(idle_ms=0)) as streams:
            await streams.create("s", user_id="u")
            frames = await read(streams)
            self.assertEqual((frames[-1].event, json.loads(frames[-1].data)["error"]), ("error", "timed out"))

            store._retention_ms = 0
            while store._rows:
                await asyncio.sleep(0.05)

    async def test_an_idle_job_that_cannot_be_ended_does_not_keep_the_others(self) -> None:
        class Broken(MemoryStore):
            async def append(self, stream: str, append: Append) -> Written:
                if stream == "a":
                    raise OSError("no connection")
                return await super().append(stream, append)

        streams = Streams(Broken(idle_ms=0), Limits(idle_ms=0))
        for name in ("a", "b"):
            await streams.create(name, user_id="u")
            streams._sessions._slots[name].used_s -= 6
        with self.assertLogs("rejoin_core") as said:
            await streams.sweep()
        self.assertIn("stream a is idle", said.output[0])
        self.assertEqual((await streams.content("b"))[0].status, "error")

    async def test_a_store_whose_idle_times_are_others_than_the_limits_is_refused(self) -> None:
        for limits in (Limits(), Limits(idle_ms=1000), Limits(idle_ms=5, paused_idle_ms=6)):
            with self.assertRaisesRegex(ValueError, "give both the same"):
                Streams(MemoryStore(idle_ms=1000, paused_idle_ms=2000), limits)
        Streams(MemoryStore(idle_ms=1000, paused_idle_ms=2000), Limits(idle_ms=1000, paused_idle_ms=2000))

    async def test_a_reader_waits_where_all_that_is_left_in_the_log_lies_beyond_its_end(self) -> None:
        store = Distant()
        streams = Streams(store)
        _, job = await streams.create("s", user_id="u")
        await streams.append("s", answer(2))
        store._rows["s"].log.append(Entry(Cursor(job.generation, 9), [delta("damaged")], ["event"]))
        reading = asyncio.create_task(read(streams))

        async def waits() -> None:
            while "s" not in store._waiting:
                await asyncio.sleep(0.01)

        try:
            await waits()
            await streams.remove("s")
            self.assertEqual([frame.data for frame in await reading], answer(2))
        finally:
            reading.cancel()

    async def test_a_cancel_that_comes_together_with_news_is_heard(self) -> None:
        store = MemoryStore()
        streams = Streams(store)
        _, job = await streams.create("s", user_id="u")
        waiting = asyncio.create_task(store.changed("s", job, 3600.0))
        await asyncio.sleep(0)
        await store.remove("s", job.generation)
        waiting.cancel()
        with self.assertRaises(asyncio.CancelledError):
            await waiting

    async def test_a_session_opens_from_its_checkpoint_and_what_came_after(self) -> None:
        store = MemoryStore()
        streams = Streams(store)
        _, job = await streams.create("s", user_id="u")
        lines = answer(700)
        for at in range(0, 700, 10):
            await streams.append("s", lines[at : at + 10])
        kept = await store.checkpoint("s", job.generation)
        assert kept
        self.assertGreater(kept[0].sequence, 250)
        other = Streams(store)
        self.assertEqual((await other.content("s"))[1], (await streams.content("s"))[1])
        self.assertEqual(await other.next_index("s"), 1)
        self.assertTrue(await other.remove("s"))
        self.assertFalse(await streams.remove("s"))
        with self.assertRaises(Refused):
            await streams.content("s")
        self.assertEqual(Cursor.parse(str(kept[0])), kept[0])

    async def test_a_stream_that_is_removed_and_made_again_at_once_never_has_the_same_generation(self) -> None:
        streams, last = Streams(MemoryStore()), 0
        for _ in range(50):
            _, job = await streams.create("s", user_id="u")
            self.assertGreater(job.generation, last)
            last = job.generation
            await streams.remove("s")


if __name__ == "__main__":
    unittest.main()
