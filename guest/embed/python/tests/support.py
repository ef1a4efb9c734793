"""What the tests share: an answer, a reader, a component that traps."""

import asyncio
import json
import os
import re
from collections.abc import AsyncIterable
from pathlib import Path
from typing import NamedTuple
from unittest import mock

from rejoin_core import Append, Job, MemoryStore, Streams, Ticket, Written

ROOT = Path(__file__).resolve().parents[4]
SHARED = ROOT.parent / "shared"


class Frame(NamedTuple):
    """One server-sent event."""

    id: str
    data: str
    event: str = ""


def delta(text: str) -> str:
    part = {"id": "s", "delta": {"content": [{"type": "text", "text": text}]}}
    return json.dumps({"event": "on_message_delta", "data": part})


def answer(count: int) -> list[str]:
    """A run step and text deltas of it, `count` records."""
    step = {"id": "s", "index": 0, "stepDetails": {"type": "message_creation"}}
    return [json.dumps({"event": "on_run_step", "data": step}), *(delta(f"w{at} ") for at in range(count - 1))]


def parse(text: str) -> list[Frame]:
    """The frames that hold data."""
    found = []
    for frame in text.split("\n\n"):
        members = dict(re.findall(r"^(id|data|event): (.*)$", frame, re.M))
        if "data" in members:
            found.append(Frame(members.get("id", ""), members["data"], members.get("event", "")))
    return found


async def read(
    streams: Streams, stream: str = "s", after: str = "", *, resume: bool = False, count: int = 1 << 30
) -> list[Frame]:
    """The first `count` frames, or all of them to the end."""
    frames = await streams.subscribe(stream, last_event_id=after, resume=resume)
    return [] if frames is None else await take(frames, count)


async def take(frames: AsyncIterable[str], count: int) -> list[Frame]:
    found: list[Frame] = []
    async for text in frames:
        found += parse(text)
        if len(found) >= count:
            break
    return found[:count]


class Distant(MemoryStore):
    """A store that others reach first: every call lets everybody else go on before and after."""

    async def job(self, stream: str) -> Job | None:
        await asyncio.sleep(0)
        return await super().job(stream)

    async def create(self, stream: str, ticket: Ticket, previous: int, job: Job) -> Written:
        await asyncio.sleep(0)
        written = await super().create(stream, ticket, previous, job)
        await asyncio.sleep(0)
        return written

    async def append(self, stream: str, append: Append) -> Written:
        await asyncio.sleep(0)
        written = await super().append(stream, append)
        await asyncio.sleep(0)
        return written


def trapping() -> "mock._patch_dict":
    """Within it the component is the one that traps: `cargo xtask test` writes it."""
    path = ROOT / "target" / "rejoin-traps.wasm"
    if not path.is_file():
        raise FileNotFoundError(f"no {path}: `cargo xtask test` writes it")
    return mock.patch.dict(os.environ, REJOIN_COMPONENT=str(path))
