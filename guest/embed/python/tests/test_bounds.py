"""Every bound has an answer, and gives its place back."""

import asyncio
import gc
import itertools
import os
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
import unittest
from collections.abc import AsyncIterator
from types import SimpleNamespace
from unittest import mock

from limits import PATIENCE_S, Case, Limited
from rejoin_core import Aggregator, Append, Cursor, Entry, Job, Limits, MemoryStore, Overloaded, Refused, Session
from rejoin_core import Streams, Ticket, component
from rejoin_core.component import Instance
from rejoin_core.deadline import CALL_TICKS, Ticker
from support import Distant, answer, delta, read


class Bounds(Case):
    async def test_a_stream_id_is_printable_ascii(self) -> None:
        streams = Streams()
        for good in ("a", "chat-1", "a/b", "~!*'()", "x" * 256):
            await streams.create(good, user_id="u")
        for bad in ("", "a b", "a\n", "\0", "é", ".", "..", "x" * 257):
            for door in (streams.create(bad), streams.append(bad, "{}"), streams.subscribe(bad), streams.content(bad)):
                with self.subTest(bad), self.assertRaises(Refused) as refusal:
                    await door
                self.assertEqual(refusal.exception.reason, "invalid")

    async def test_no_more_commands_wait_for_a_stream_than_may(self) -> None:
        streams = Streams(Distant(), waiting_max=5)
        await streams.create("s", user_id="u")
        results = await asyncio.gather(*(streams.append("s", delta("x")) for _ in range(9)), return_exceptions=True)
        self.assertEqual(sum(isinstance(one, Overloaded) for one in results), 4)
        self.assertEqual((await streams.append("s", delta("x"))).last.sequence, 6)  # type: ignore[union-attr]

    async def test_sessions_make_room_for_each_other_and_lose_nothing(self) -> None:
        streams = Streams(Distant(), sessions_max=3)
        names = [f"s{at}" for at in range(9)]
        for name in names:
            await streams.create(name, user_id="u")
        for line in answer(4):
            for name in names:
                await streams.append(name, line)
                self.assertLessEqual(len(streams._sessions), 3)
        for name in names:
            self.assertEqual((await streams.content(name))[1][0]["text"], "w0 w1 w2 ")
        results = await asyncio.gather(*(streams.append(name, delta("x")) for name in names), return_exceptions=True)
        self.assertTrue(all(isinstance(one, Overloaded) for one in results[3:]), results)

    async def test_readers_have_places_and_give_them_back(self) -> None:
        streams = Streams(subscribers_max=3, subscribers_per_stream_max=2)
        for name in ("a", "b"):
            await streams.create(name, user_id="u")
        held = []
        for name in ("a", "a", "b"):
            frames = await streams.subscribe(name)
            assert frames
            held.append(frames)
            await anext(frames)
        for name in ("a", "b"):
            with self.assertRaises(Overloaded):
                await streams.subscribe(name)
        for frames in held:
            await frames.aclose()
        self.assertEqual(streams._subscribers.total(), 0)
        await streams.complete("a")
        self.assertEqual(len(await read(streams, "a")), 1)

    async def test_no_more_bodies_are_read_than_may_and_what_is_no_event_is_told(self) -> None:
        streams = Streams(bodies_max=0)
        await streams.create("s", user_id="u")

        async def body() -> AsyncIterator[str]:
            yield "data: {}\n\n"

        with self.assertRaises(Overloaded):
            await streams.append_body("s", body(), "events")
        for wrong in (b"{}", {"event": "x"}):
            with self.assertRaises(TypeError):
                await streams.append("s", wrong)  # type: ignore[arg-type]

    async def test_a_full_store_says_so_and_takes_the_end_all_the_same(self) -> None:
        streams = Streams(MemoryStore(streams_max=2, bytes_max=30_000))
        for name in ("a", "b"):
            await streams.create(name, user_id="u")
        with self.assertRaises(Overloaded):
            await streams.create("c", user_id="u")
        with self.assertRaises(Overloaded):
            # What is around a small record is counted too.
            for _ in range(50):
                await streams.append("a", "{}")
        await streams.complete("a")
        for name in ("a", "b"):
            await streams.remove(name)
        await streams.create("c", user_id="u")
        self.assertEqual((await streams.append("c", delta("x" * 15_000))).appended, 1)

    async def test_what_a_store_counts_is_what_it_takes_whatever_is_in_an_append(self) -> None:
        many, wide = 5000, "\N{GRINNING FACE}" * 500
        shapes = {
            "one small record an append": [["{}"]] * many,
            "small records in batches": [["{}"] * 1000] * 20,
            "records of middle size": [[delta("x" * 300)] * 30] * 40,
            "records of wide characters": [[f'{{"x":"{wide}"}}'] * 10] * 60,
            "no more than rows": [],
        }
        for name, appends in shapes.items():
            with self.subTest(name):
                store = MemoryStore()
                gc.collect()
                tracemalloc.start()
                await self.fill(store, appends, streams=1 if appends else 500)
                gc.collect()
                taken = tracemalloc.get_traced_memory()[0]
                tracemalloc.stop()
                # What is counted is what is taken, and a little more: free places of lists and maps are not its to know.
                self.assertGreaterEqual(store._bytes, taken)
                self.assertLess(store._bytes, 1.35 * taken)
                for at in range(500):
                    await store.remove(f"s{at}", 7)
                self.assertEqual(store._bytes, 0)

    async def fill(self, store: MemoryStore, appends: list[list[str]], streams: int) -> None:
        for at in range(streams):
            fields = [("request", f'"{"x" * 200}{at}"')]
            job = Job(7, "running", f"u{at}", 1 << 40, 1 << 40, None, 0, fields)
            await store.create(f"s{at}", Ticket(1 << 61, at), 0, job)
        head = 0
        for number, lines in enumerate(appends):
            # Each record an object of its own, as they come out of the component.
            entry = Entry(Cursor(7, head + 1), [line[:1] + line[1:] for line in lines], ["event"] * len(lines))
            ticket = Ticket((1 << 61) + number, number + (1 << 30))
            written = await store.append("s0", Append(ticket, entry.first, entry, "running", number + 1, None, []))
            assert written.answer == "accepted", written
            head += len(lines)

    async def test_a_store_that_is_full_of_batches_rows_or_metadata_says_so_and_keeps_its_bound(self) -> None:
        store = MemoryStore(bytes_max=300_000)
        streams = Streams(store)
        await streams.create("s", user_id="u")
        with self.assertRaises(Overloaded):
            for _ in range(50):
                await streams.append("s", ["{}"] * 1000)
        self.assertLessEqual(store._bytes, 300_000)
        with self.assertRaises(Overloaded):
            for at in range(1000):
                await streams.create(f"s{at}", user_id="u")
        with self.assertRaises(Overloaded):
            await streams.update("s", {"sender": "x" * 300_000})
        await store.put_checkpoint("s", (await streams.content("s"))[0].cursor, "x" * 300_000)
        self.assertLessEqual(store._bytes, 300_000)
        await streams.complete("s")

    async def test_a_generation_that_is_full_ends_and_a_record_that_is_too_large_is_refused(self) -> None:
        streams = Streams(limits=Limits(record_bytes_max=1000, records_max=10))
        await streams.create("s", user_id="u")
        with self.assertRaises(Refused) as refusal:
            await streams.append("s", delta("x" * 2000))
        self.assertEqual((refusal.exception.reason, refusal.exception.value), ("record-too-large", 1000))
        pushed = await streams.append("s", answer(20))
        assert pushed.stopped
        self.assertEqual(pushed.stopped[1].reason, "log-full")
        self.assertEqual((await streams.content("s"))[0].status, "error")

    async def test_a_session_without_work_gives_its_memory_back(self) -> None:
        streams = Streams()
        await streams.create("s", user_id="u")
        streams._sessions._slots["s"].used_s -= 6
        await streams.sweep()
        self.assertEqual(len(streams._sessions), 0)
        self.assertEqual((await streams.append("s", answer(2))).appended, 2)


class Starting(Limited):
    def run_there(self, **variables: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-c", "import rejoin_core; print(rejoin_core.fold('[]'))"]
        environment = {"PYTHONPATH": os.pathsep.join(sys.path), **variables}
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=2 * PATIENCE_S)

    def test_the_component_starts_where_there_is_no_home_to_write_to(self) -> None:
        ran = self.run_there(HOME=os.devnull)
        self.assertEqual((ran.returncode, ran.stdout), (0, "[]\n"), ran.stderr)

    def test_a_component_that_is_not_there_is_named_with_what_to_do(self) -> None:
        ran = self.run_there(REJOIN_COMPONENT="/nowhere/rejoin.wasm")
        self.assertIn("no component at /nowhere/rejoin.wasm: run `cargo xtask component`", ran.stderr)


class Threads(Limited):
    def test_sessions_of_different_threads_never_hear_of_each_other(self) -> None:
        failures: list[BaseException] = []

        def work(name: str) -> None:
            try:
                session = Session(name, None, None, Limits())
                session.create(name, None, "{}")
                for at in range(300):
                    write = session.take().write
                    assert write
                    session.accept(write.ticket)
                    if at == 0:
                        assert write.job and write.job.user_id == name
                    else:
                        assert write.entry and write.entry.lines == [delta(f"{name} {at}")], write
                    session.push(delta(f"{name} {at + 1}"))
            except BaseException as failure:
                failures.append(failure)

        threads = [threading.Thread(target=work, args=(f"t{at}",), daemon=True) for at in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(failures, [])

    def test_two_threads_in_one_instance_are_told(self) -> None:
        inside, leave = threading.Event(), threading.Event()

        def asked(_name: str, _arguments: object) -> None:
            inside.set()
            leave.wait(PATIENCE_S)

        # However long it stays inside.
        with mock.patch("rejoin_core.component.CALL_TICKS", 1 << 30):
            self.two_threads(Instance(asked), inside, leave)

    def two_threads(self, instance: Instance, inside: threading.Event, leave: threading.Event) -> None:
        limits = (1 << 20, 10, 1 << 20, 1000, 1000)
        session = instance.call("session", "[static]session.open", "s", None, None, limits)
        arguments = ("session", "[method]session.create", session, "u", None, "{}")
        create = threading.Thread(target=instance.call, args=arguments, daemon=True)
        create.start()
        self.assertTrue(inside.wait(PATIENCE_S))
        with self.assertRaises(RuntimeError):
            instance.call("session", "[method]session.head", session)
        leave.set()
        create.join()
        self.assertFalse(instance.dead)

    def test_a_child_of_a_fork_has_sessions_of_its_own_whoever_compiled_meanwhile(self) -> None:
        sessions = Streams()._sessions
        sessions._new("s", None, None)
        out, into = os.pipe()
        # As a thread of the parent holds it that is just then at work.
        with component._one:
            child = os.fork()
            if child == 0:
                try:
                    # Of its own: timers are not inherited.
                    signal.signal(signal.SIGALRM, signal.SIG_DFL)
                    signal.alarm(round(PATIENCE_S))
                    os.write(into, str(sessions._new("s", None, None).number).encode())
                    os._exit(0)
                finally:
                    os._exit(1)
        os.close(into)
        with os.fdopen(out) as said:
            number = said.read()
        self.assertEqual(os.waitpid(child, 0)[1], 0, "it hangs")
        self.assertNotEqual(int(number), sessions._new("s", None, None).number)

    def test_a_ticker_whose_ticks_are_late_ticks_until_a_call_is_over_and_then_rests(self) -> None:
        ticks: list[None] = []
        engine = SimpleNamespace(increment_epoch=lambda: ticks.append(None))
        late = SimpleNamespace(sleep=lambda _: None, monotonic=itertools.count(1).__next__)
        with mock.patch("rejoin_core.deadline.time", late):
            ticker = Ticker(engine)  # type: ignore[arg-type]
            for calls in (1, 2):
                ticker.called()
                end = time.monotonic() + PATIENCE_S
                while (len(ticks) < calls * (2 * CALL_TICKS + 1) or ticker._awake.is_set()) and time.monotonic() < end:
                    time.sleep(0.001)
            # The tick that sees the call, and the quiet ones: each time it rested then, and not before.
            self.assertEqual(len(ticks), 2 * (2 * CALL_TICKS + 1))

    def test_memory_does_not_grow_with_calls_or_instances(self) -> None:
        def resident() -> int:
            with open("/proc/self/statm") as statm:
                return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

        def work(rounds: int) -> None:
            for _ in range(rounds):
                session = Session("s", None, None, Limits())
                session.create("u", None, "{}")
                for _ in range(5):
                    session.accept(session.take().write.ticket)  # type: ignore[union-attr]
                    session.push(delta("x" * 10_000))
                Aggregator().push(delta("x" * 10_000))

        work(100)
        gc.collect()
        before = resident()
        work(600)
        gc.collect()
        self.assertLess(resident() - before, 8 << 20)


if __name__ == "__main__":
    unittest.main()
