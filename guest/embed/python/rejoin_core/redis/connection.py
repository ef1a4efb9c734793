"""Connections of redis-py that end at once, and are not made any more when their link is closed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from redis.exceptions import ConnectionError


def ending(kind: type, is_closed: Callable[[], bool], made: set[Any]) -> type:
    """`kind` of connection (TCP, TLS or socket) for one link; those of it that are open are in `made`."""

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
                    made.add(self)
            await self._stay_open()

        async def on_connect(self) -> None:
            # Of a socket redis-py calls it inside `_connect`: whoever closes must find it before.
            made.add(self)
            await self._stay_open()
            await super().on_connect()

        async def _stay_open(self) -> None:
            # The link was closed while this one was made.
            if is_closed():
                await self.disconnect()
                raise ConnectionError("the store is closed")

        async def disconnect(self, nowait: bool = True, **told: Any) -> None:
            """Without a step of the event loop in between: nobody else finds it half closed and connects it meanwhile.

            Cut, not closed: that would first send what is left, and a server that takes nothing keeps it for ever.
            """
            if self._writer:
                self._writer.transport.abort()
            made.discard(self)
            await super().disconnect(nowait=True, **told)

        async def _send_packed_command(self, command: Iterable[bytes]) -> None:
            # Where `writelines` does not look whether its transport is lost (seen in Python 3.13.0), the loop goes on to watch
            # that one's number, and does not hear whoever gets it next.
            if self._writer is None or self._writer.transport.is_closing():
                raise ConnectionError("the connection is lost")
            await super()._send_packed_command(command)

    return Connection
