"""A real Redis for the tests, and a way to it that can be cut."""

from __future__ import annotations

import asyncio
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from redis import Redis
from redis.exceptions import ConnectionError

from limits import PATIENCE_S

def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class Server:
    """A server of its own, on a socket in a folder of its own; with `tcp` on a free port, too. `client` asks it directly."""

    def __init__(self, *, tcp: bool = False) -> None:
        self._folder = tempfile.mkdtemp(prefix="rejoin-python-")
        self.path = str(Path(self._folder) / "socket")
        # A server that hangs is an error, not a wait for ever.
        self.client: Any = Redis(unix_socket_path=self.path, socket_timeout=PATIENCE_S)
        for left in reversed(range(5)):
            try:
                self._start(_free_port() if tcp else 0)
                break
            except ConnectionError:
                # Somebody else may have taken the port meanwhile.
                if not (tcp and left):
                    self.stop()
                    raise
        self.url = f"redis://127.0.0.1:{self.port}" if tcp else f"unix://{self.path}"

    def _start(self, port: int) -> None:
        self.port = port
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--unixsocket", self.path]
        command += ["--dir", self._folder, "--save", ""]
        try:
            self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        except FileNotFoundError as missing:
            raise FileNotFoundError("redis-server cannot be started: apt-get install redis-server") from missing
        end = time.monotonic() + PATIENCE_S
        while True:
            try:
                self.client.ping()
                break
            except ConnectionError:
                if self._process.poll() is not None or time.monotonic() > end:
                    self._process.kill()
                    raise
                time.sleep(0.02)

    def pause(self) -> None:
        """From now on it says nothing, and takes what fits into the kernel, until `go_on`."""
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        self.client.close()
        self._process.kill()
        self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)


# Bytes of a piece: fewer than the shortest answer to a question for a row.
_TRICKLE = 16


class Way:
    """A way to a server: `cut` drops all that go over it, and lets nobody in until `mend`.

    `accepted` counts those who came. `lose`: of so many commands that contain `losing` the answer is lost, with the
    connection. `lost` counts them. `trickle_s`: answers come in pieces of some bytes, so far apart.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self.path = f"{server.path}-way"
        self.url = f"unix://{self.path}"
        self.lose, self.lost, self.losing = 0, 0, b"EVALSHA"
        self.accepted, self.trickle_s = 0, 0.0
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._listening: asyncio.Server | None = None

    @property
    def connections(self) -> int:
        return len(self._tasks)

    @property
    def is_open(self) -> bool:
        return self._listening is not None and self._listening.is_serving()

    async def mend(self) -> None:
        if not self.is_open:
            self._listening = await asyncio.start_unix_server(self._serve, self.path)

    async def cut(self) -> None:
        if self._listening:
            self._listening.close()
            Path(self.path).unlink(missing_ok=True)
        while self._tasks:
            # Again and again: some come in just then.
            for writer in list(self._writers):
                writer.transport.abort()
            await asyncio.wait(self._tasks, timeout=0.01)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self.accepted += 1
        try:
            there_reader, there = await asyncio.open_unix_connection(self._server.path)
        except OSError:
            writer.transport.abort()
            return
        if not self.is_open:
            # It was cut meanwhile.
            for end in (writer, there):
                end.transport.abort()
            return
        # From here on: whoever cuts waits for their end.
        self._tasks.add(task)
        ends = {writer, there}
        self._writers |= ends
        # Answers that are still to be passed on, once one is to be lost.
        losing = False

        async def back() -> None:
            while piece := await there_reader.read(1 << 16):
                if losing:
                    self.lost += 1
                    return
                while self.trickle_s and piece:
                    writer.write(piece[:_TRICKLE])
                    piece = piece[_TRICKLE:]
                    await asyncio.sleep(self.trickle_s)
                writer.write(piece)
                await writer.drain()

        answering = asyncio.create_task(back())
        try:
            while True:
                reading = asyncio.create_task(reader.read(1 << 20))
                await asyncio.wait({reading, answering}, return_when=asyncio.FIRST_COMPLETED)
                if answering.done() or not (piece := await reading):
                    reading.cancel()
                    return
                if self.lose and self.losing in piece:
                    self.lose -= 1
                    losing = True
                there.write(piece)
                await there.drain()
        except OSError:
            pass
        finally:
            answering.cancel()
            with suppress(asyncio.CancelledError, OSError):
                await answering
            for end in ends:
                end.transport.abort()
            self._writers -= ends
            self._tasks.discard(task)
