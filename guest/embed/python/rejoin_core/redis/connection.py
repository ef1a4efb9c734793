"""Connections of redis-py that end at once, and are not made any more when their link is closed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from redis.exceptions import ConnectionError


def ending(kind: type, is_closed: Callable[[], bool], writers: set[asyncio.StreamWriter]) -> type:
    """`kind` of connection (TCP, TLS or socket) for one link, whose open connections are `writers`."""

    # redis-py is typed in parts.
    base: Any = kind

    class Connection(base):  # type: ignore[misc]
        async def _connect(self) -> None:
            if is_closed():
                raise ConnectionError("the store is closed")
            try:
                await super()._connect()
            finally:
                if self._writer:
                    writers.add(self._writer)
            if is_closed():
                await self.disconnect()
                raise ConnectionError("the store is closed")

        async def disconnect(self, nowait: bool = True, **told: Any) -> None:
            """Without a step of the event loop in between: nobody else finds it half closed and connects it meanwhile.

            Cut, not closed: that would first send what is left, and a server that takes nothing keeps it for ever.
            """
            if writer := self._writer:
                writer.transport.abort()
                writers.discard(writer)
            await super().disconnect(nowait=True, **told)

    return Connection
