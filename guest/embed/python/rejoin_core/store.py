"""What a store promises. One of your own is a class with these methods; `MemoryStore` is the example."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol, runtime_checkable

from .types import Cursor, Entry, Job


class Ticket(NamedTuple):
    """Names a write: no other one ever has the same, in all processes that share the store."""

    session: int
    number: int


@dataclass(frozen=True)
class Append:
    """An entry to append (or none) and changes to the row, all or nothing."""

    ticket: Ticket
    first: Cursor
    entry: Entry | None
    expected_status: str
    expected_revision: int
    status: str | None
    fields: list[tuple[str, str]]


@dataclass(frozen=True)
class Written:
    """What became of a write. Refusals are expected; nothing has changed. `value`: the generation, status or head."""

    answer: Literal["accepted", "not-found", "generation-replaced", "not-active", "behind"]
    value: int | str | None = None


ACCEPTED = Written("accepted")


class Unavailable(Exception):
    """The store cannot be reached, the message says why. What became of a write nobody knows: repeat the request, with
    the same `Producer` or idempotency key.
    """

    taken: int = 0


class Closed(Unavailable):
    """The store was closed in this process. Asked again it says the same: who waits or repeats is to end."""


class Store(Protocol):
    """Jobs and logs of streams. Every write is one atomic step, and may be repeated: its ticket tells.

    A store that cannot learn what became of a write (connection lost) repeats it with the same ticket, or raises: then
    nobody knows, and the producer repeats its request. What a method raises reaches whoever called `Streams`.
    """

    async def job(self, stream: str) -> Job | None:
        """A copy of the row; none when the stream is gone or has outlived its retention."""
        ...

    async def create(self, stream: str, ticket: Ticket, previous: int, job: Job) -> Written:
        """Puts `job` in place of the row of generation `previous` (0: none), with an empty log, head 0 and revision 1.

        Accepted too when this very ticket made the present row. Refused: `generation-replaced`.
        """
        ...

    async def append(self, stream: str, append: Append) -> Written:
        """Appends and changes the row, if all of this holds, in this order; refused otherwise as it says.

        The stream is there (`not-found`). The generation of `first` is the row's (`generation-replaced`). This ticket
        was not accepted before at this place (then: accepted again, nothing changes). The row is active, or entry and
        status are none (`not-active`). Log, status and revision are as expected (`behind`).
        It then adds one to the revision, and sets head, `updated_ms` (with an entry), status, `settled_ms` and fields.
        """
        ...

    async def put_checkpoint(self, stream: str, at: Cursor, state: str) -> None:
        """Keeps `state`, which covers every record up to `at`. Losing it costs time, never data."""
        ...

    async def checkpoint(self, stream: str, generation: int) -> tuple[Cursor, str] | None: ...

    async def read(self, stream: str, after: Cursor, bytes_max: int) -> list[Entry] | Cursor | None:
        """Entries with records after `after`, in order, the first one and as many more as `bytes_max` has room for.

        The end of the log where the cursor is of another generation or beyond it; none when the stream is gone.
        """
        ...

    async def changed(self, stream: str, seen: Job, timeout_s: float) -> None:
        """Returns as soon as the row is another one than `seen` (generation, revision), or after `timeout_s`.

        A store whose news may get lost looks by itself, each second say.
        """
        ...

    async def remove(self, stream: str, generation: int) -> bool:
        """Forgets the stream if this is its generation."""
        ...

    async def sweep(self) -> list[str]:
        """Called each second: forgets what has outlived its retention; names active jobs that are idle for too long."""
        ...


@runtime_checkable
class Told(Protocol):
    """What a store has besides when replicas of another kind listen, whose producers hear of it. Both return at once, and
    may get lost.
    """

    def readers(self, stream: str, here: bool) -> None:
        """The first reader of the stream has come to this process, or the last one has left it."""
        ...

    def resolved(self, stream: str, generation: int, answer: str) -> None:
        """A person's answer was accepted: a JSON object `{"actionId", "decision"}`."""
        ...
