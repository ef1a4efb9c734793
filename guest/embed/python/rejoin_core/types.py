"""The words of the house: `wit/types.wit` says what they mean."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple

TERMINAL = frozenset({"complete", "error", "aborted"})
_U64_MAX = (1 << 64) - 1


class Cursor(NamedTuple):
    """Where a record stands: written `<generation>-<sequence>`. Sequence 0 is before the first record."""

    generation: int
    sequence: int

    def __str__(self) -> str:
        return f"{self.generation}-{self.sequence}"

    @staticmethod
    def parse(text: str) -> Cursor | None:
        """Reads `<generation>-<sequence>`, digits only; None for anything else."""
        generation, _, sequence = text.partition("-")
        for digits in (generation, sequence):
            if not (0 < len(digits) <= 20 and digits.isascii() and digits.isdigit()):
                return None
        found = Cursor(int(generation), int(sequence))
        return found if max(found) <= _U64_MAX else None


def stream_id_error(name: str) -> str | None:
    """The rule that the name of a stream breaks, if any."""
    if not 1 <= len(name) <= 256:
        return "a stream id has 1 to 256 bytes"
    if not all("!" <= character <= "~" for character in name):
        return "a stream id is printable ASCII without blanks"
    if name in (".", ".."):
        return "a stream id is not . or ..: browsers take these out of an address, in whatever spelling"
    return None


@dataclass
class Job:
    """The row that describes the current generation of a stream. Times: Unix milliseconds.

    `revision` counts the accepted writes to the row, its creation included; it is the store's own.
    """

    generation: int
    status: str
    user_id: str
    created_ms: int
    updated_ms: int
    settled_ms: int | None
    head: int
    fields: list[tuple[str, str]]
    revision: int = 0

    @property
    def active(self) -> bool:
        return self.status not in TERMINAL

    @property
    def cursor(self) -> Cursor:
        """The end of its log."""
        return Cursor(self.generation, self.head)

    def copy(self) -> Job:
        return replace(self, fields=list(self.fields))

    def set_field(self, name: str, value: str) -> None:
        """Writes a field; JSON `null` removes it."""
        self.fields = [known for known in self.fields if known[0] != name]
        if value != "null":
            self.fields.append((name, value))


@dataclass(frozen=True)
class Entry:
    """The records of one append: JSON texts, and how each is delivered (`event`, `internal`, `final`, `failure`)."""

    first: Cursor
    lines: list[str]
    kinds: list[str]

    @property
    def last(self) -> int:
        """Sequence of the last record."""
        return self.first.sequence + len(self.lines) - 1

    @property
    def ends(self) -> bool:
        """Its last record is the last one of the generation."""
        return self.kinds[-1] in ("final", "failure")

    @cached_property
    def bytes(self) -> int:
        """Of all records, roughly: characters."""
        return sum(map(len, self.lines))


@dataclass(frozen=True)
class Write:
    """One write that a session asked for. `ticket` settles it. `job` is of a create, the rest of an append."""

    ticket: int
    previous: int = 0
    job: Job | None = None
    first: Cursor = Cursor(0, 0)
    entry: Entry | None = None
    expected_status: str = "running"
    status: str | None = None
    fields: list[tuple[str, str]] = field(default_factory=list)


def now_ms() -> int:
    return time.time_ns() // 1_000_000
