"""A Python replica and the Rust server serve the same streams over one Redis, and each is killed once."""

import asyncio
import json
import os
import random
import re
import sys
import unittest
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import httpx

from limits import PATIENCE_S, Case
from redis_server import Server
from rejoin_core import Refused, Streams
from rejoin_core.redis import RedisStore
from support import ROOT, Frame, answer, parse

STREAMS, RECORDS = 10, 40
PROGRAM = os.environ.get("REJOIN_PROGRAM") or str(ROOT / "target" / "debug" / "rejoin")


class Host:
    """A process that can be killed and started again; `url` is that of the one that runs."""

    def __init__(self, *command: str) -> None:
        self._command = command
        self.url = ""

    async def start(self) -> None:
        variables = {name: value for name, value in os.environ.items() if not name.startswith("REJOIN_")}
        variables["PYTHONPATH"] = os.pathsep.join(sys.path)
        said = {"stdout": asyncio.subprocess.PIPE, "stderr": asyncio.subprocess.STDOUT}
        try:
            self._process = await asyncio.create_subprocess_exec(*self._command, **said, env=variables)
        except FileNotFoundError as missing:
            raise FileNotFoundError(f"no {self._command[0]}: cargo build it, or name it in REJOIN_PROGRAM") from missing
        lines: list[str] = []
        assert self._process.stdout
        async for line in self._process.stdout:
            lines.append(line.decode())
            if found := re.search(r"http://127\.0\.0\.1:[1-9]\d*", lines[-1]):
                self.url = found[0]
                # What it says from now on nobody reads, and it must not wait for that.
                self._reading = asyncio.create_task(self._process.stdout.read())
                return
        raise ChildProcessError("".join(lines))

    async def kill(self) -> None:
        self._process.kill()
        await self._process.wait()
        await self._reading


async def follow(client: httpx.AsyncClient, url: str, after: str) -> AsyncGenerator[Frame, None]:
    headers = {"last-event-id": after} if after else {}
    text = ""
    async with client.stream("GET", url, headers=headers, timeout=PATIENCE_S) as response:
        response.raise_for_status()
        async for piece in response.aiter_text():
            whole, end, text = (text + piece).rpartition("\n\n")
            for frame in parse(whole + end):
                yield frame


class Mixed(Case):
    limit_s = 180.0

    async def asyncSetUp(self) -> None:
        self.redis = Server(tcp=True)
        self.addCleanup(self.redis.stop)
        replica = str(Path(__file__).with_name("replica.py"))
        rust = Host(PROGRAM, "--listen", "127.0.0.1:0", "--store", self.redis.url, "--sessions-max", "64")
        self.hosts = [rust, Host(sys.executable, replica, self.redis.url)]
        for host in self.hosts:
            await host.start()
            self.addAsyncCleanup(host.kill)
        self.client = httpx.AsyncClient(timeout=PATIENCE_S)
        self.addAsyncCleanup(self.client.aclose)
        # Of its own: those who hop away leave connections that are given back later.
        self.reader = httpx.AsyncClient(limits=httpx.Limits(max_connections=None, max_keepalive_connections=0))
        self.addAsyncCleanup(self.reader.aclose)
        self.created = self.appended = 0

    async def post(self, turn: int, path: str, text: str, **headers: str) -> None:
        """Repeats a request, on the other host each time, until one answers it: its headers make that harmless."""
        kind = "application/x-ndjson" if path.endswith("/events") else "application/json"
        sent = {"content-type": kind, **{name.replace("_", "-"): value for name, value in headers.items()}}
        said, clock = "", asyncio.get_running_loop().time
        end_s = clock() + 2 * PATIENCE_S
        while True:
            self.assertLess(clock(), end_s, said)
            try:
                url = f"{self.hosts[turn % 2].url}/v1/streams/{path}"
                response = await self.client.post(url, content=text, headers=sent)
                said = f"{response.status_code} {response.text}"
                if response.is_success:
                    return
                if response.status_code < 500:
                    # The answer to the first attempt may be what was lost.
                    self.assertTrue(path.endswith("/complete") and response.status_code == 409, f"{path}: {said}")
                    return
            except httpx.TransportError as error:
                said = repr(error)
            turn += 1
            await asyncio.sleep(0.05)

    async def produce(self, name: str, turn: int, lines: list[str]) -> None:
        await self.post(turn, name, '{"userId":"u"}', idempotency_key=name)
        self.created += 1
        for at, line in enumerate(lines):
            await self.post(turn + at, f"{name}/events", line, producer_id="p", producer_seq=str(at + 1))
            self.appended += 1
        await self.post(turn, f"{name}/complete", "{}")

    async def read(self, name: str, turn: int) -> list[Frame]:
        """Reads to the end, and hops to the other host every now and then; every record once, in order."""
        found: list[Frame] = []

        async def some() -> None:
            url = f"{self.hosts[turn % 2].url}/v1/streams/{name}/events"
            # So many, not so long: it comes to the end whatever the pace.
            last = len(found) + random.randint(1, 8)
            async with aclosing(follow(self.reader, url, found[-1].id if found else "")) as frames:
                async for frame in frames:
                    found.append(frame)
                    if len(found) >= last:
                        return

        while not found or "final" not in json.loads(found[-1].data):
            try:
                await some()
            except httpx.TransportError:
                pass
            except httpx.HTTPStatusError as error:
                self.assertGreaterEqual(error.response.status_code, 500, error)
            turn += 1
            await asyncio.sleep(0.02)
        return found

    async def test_both_serve_the_same_streams_each_dies_once_and_nobody_misses_or_repeats_a_record(self) -> None:
        names = [f"mixed-{at}" for at in range(STREAMS)]
        lines = [[line.replace('"s"', f'"{name}"') for line in answer(RECORDS)] for name in names]
        producing = [asyncio.create_task(self.produce(name, at, lines[at])) for at, name in enumerate(names)]
        while self.created < STREAMS:
            await asyncio.sleep(0.01)
        reading = [asyncio.create_task(self.read(name, at + more)) for at, name in enumerate(names) for more in (0, 1)]
        for at, host in enumerate(self.hosts):
            # In the middle of it all, whatever the pace.
            while self.appended < STREAMS * RECORDS * (at + 1) // 4:
                await asyncio.sleep(0.01)
            await host.kill()
            # The other one does all of it for a while.
            alone = min(self.appended + 3 * STREAMS, STREAMS * RECORDS)
            while self.appended < alone:
                await asyncio.sleep(0.01)
            await host.start()
        await asyncio.gather(*producing)
        for at, frames in enumerate(await asyncio.gather(*reading)):
            self.assertEqual([frame.data for frame in frames[:-1]], lines[at // 2])
            self.assertEqual([int(frame.id.split("-")[1]) for frame in frames], list(range(1, RECORDS + 2)))
        async with RedisStore(self.redis.url) as store:
            for at, name in enumerate(names):
                _, parts = await Streams(store).content(name)
                self.assertEqual([part["text"] for part in parts], ["".join(f"w{n} " for n in range(RECORDS - 1))])
                there = await self.client.get(f"{self.hosts[0].url}/v1/streams/{name}")
                self.assertEqual(there.json()["content"], parts)

    async def test_what_is_done_on_one_is_seen_on_the_other(self) -> None:
        rust = f"{self.hosts[0].url}/v1/streams"

        async def signals() -> AsyncIterator[Any]:
            async for frame in follow(self.reader, f"{rust}/s/signals", ""):
                yield json.loads(frame.data)

        async with RedisStore(self.redis.url) as store, Streams(store) as streams:
            _, job = await streams.create("s", {"conversationId": "c"}, user_id="me")
            await streams.append("s", answer(3))
            stopped = asyncio.create_task(streams.stopped("s", job.generation))
            listed = (await self.client.get(f"{rust}?userId=me")).json()["streams"]
            self.assertEqual([one["status"] for one in listed], ["running"])
            heard = signals()
            waiting = asyncio.ensure_future(anext(heard))
            # A producer there hears that a reader is here, and what a person answered here.
            frames = await streams.subscribe("s")
            assert frames
            got = parse(await anext(frames) + await anext(frames))
            self.assertEqual([frame.data for frame in got], answer(3))
            self.assertEqual((await asyncio.wait_for(waiting, PATIENCE_S))["signal"], "ready")
            await streams.pause("s", {"id": "a"})
            await streams.resolve("s", "a", {"yes": True})
            told = await asyncio.wait_for(anext(heard), PATIENCE_S)
            self.assertEqual((told["signal"], told["decision"]), ("action_resolved", {"yes": True}))
            # An abort there ends the producer here, and its readers.
            aborted = (await self.client.post(f"{rust}/s/abort")).json()
            self.assertEqual(aborted["text"], "w0 w1")
            await asyncio.wait_for(stopped, PATIENCE_S)
            rest = [frame async for text in frames for frame in parse(text)]
            self.assertTrue(json.loads(rest[-1].data)["aborted"])
            with self.assertRaises(Refused) as refusal:
                await streams.append("s", answer(1), generation=job.generation)
            self.assertEqual((refusal.exception.reason, refusal.exception.value), ("not-active", "aborted"))
            self.assertEqual((await streams.content("s"))[0].status, "aborted")


if __name__ == "__main__":
    unittest.main()
