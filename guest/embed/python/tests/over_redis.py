"""What the tests over one real Redis share: replicas in this process, and waiting for what must come."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from limits import PATIENCE_S, Case
from redis_server import Server, Way
from rejoin_core import Limits, Streams
from rejoin_core.redis import RedisStore


@asynccontextmanager
async def replica(url: str, **options: Any) -> AsyncIterator[Streams]:
    """`options`: those of the store."""
    limits = Limits(idle_ms=options.get("idle_ms", Limits.idle_ms))
    async with RedisStore(url, **options) as store, Streams(store, limits) as streams:
        yield streams


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    async def look() -> None:
        while not await holds():
            await asyncio.sleep(0.01)

    await asyncio.wait_for(look(), PATIENCE_S)


async def is_(look: Callable[[], bool]) -> bool:
    return look()


class OverRedis(Case):
    server: Server

    @classmethod
    def setUpClass(cls) -> None:
        cls.server = Server()
        cls.addClassCleanup(cls.server.stop)

    async def asyncSetUp(self) -> None:
        self.client = self.server.client
        self.client.flushall()
        replicas = AsyncExitStack()
        self.addAsyncCleanup(replicas.aclose)
        self.here = await replicas.enter_async_context(replica(self.server.url))
        self.there = await replicas.enter_async_context(replica(self.server.url))


class OverWay(OverRedis):
    """`way` leads there, and can be cut."""

    async def asyncSetUp(self) -> None:
        await super().asyncSetUp()
        self.way = Way(self.server)
        await self.way.mend()
        self.addAsyncCleanup(self.way.cut)
