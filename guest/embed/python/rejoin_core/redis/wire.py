"""What stands in Redis and is said there, as `host/src/store/redis` of the Rust server has it.

What comes from there is bytes that anybody may have written: what cannot be read is none, never an error.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from ..store import Append, Ticket
from ..types import TERMINAL, Cursor, Entry, Job

_KINDS = ("event", "internal", "final", "failure")
_LETTERS = {"running": "r", "requires_action": "p", "complete": "c", "error": "e", "aborted": "a"}
# Numbers of the scripts are exact up to here.
_NUMBER_MAX = 1 << 53
_FIELD = re.compile(r"(\d{1,16})(?:\.(\d{1,16}))?:(.*)", re.S | re.A)
_PLACED = re.compile(r"(\d+ \d+ [a-z_]+ \d+) (\d+) (.*)", re.S | re.A)


@dataclass(frozen=True)
class Lifetimes:
    """How long what lives, in milliseconds. Replicas that share a Redis have the same."""

    idle_ms: int
    paused_idle_ms: int
    retention_ms: int


@dataclass(frozen=True)
class Row:
    """A job, with when it is due: to be timed out or, when it has ended, forgotten."""

    job: Job
    due_ms: int

    def is_expired(self, now_ms: int) -> bool:
        """It must not be seen any more."""
        return not self.job.active and self.due_ms <= now_ms

    @property
    def place(self) -> str:
        """Where it stands in the index."""
        job = self.job
        return f"{job.generation} {job.revision} {job.status} {job.created_ms} {job.user_id}"


class Head(NamedTuple):
    """Where a stream stands."""

    cursor: Cursor
    revision: int


class Placed(NamedTuple):
    """A write was accepted, and the index must hear of it."""

    place: str
    due_ms: str


class Wake(NamedTuple):
    """A hint: the log ends at `at` now; without it, the stream is to be looked at."""

    at: Cursor | None
    # More than records: a status has changed.
    is_change: bool


def number(digits: bytes | str | None) -> int | None:
    if digits is None or not 0 < len(digits) <= 16 or not digits.isdigit() or not digits.isascii():
        return None
    found = int(digits)
    return found if found <= _NUMBER_MAX else None


def text_of(raw: Any) -> str | None:
    try:
        return raw.decode() if isinstance(raw, bytes) else None
    except UnicodeDecodeError:
        return None


def read_row(raw: Mapping[bytes, bytes] | None, lifetimes: Lifetimes) -> Row | None:
    """Out of `HGETALL`; none when it is not there, or damaged."""
    columns: dict[str, str] = {}
    for raw_name, raw_value in (raw or {}).items():
        column, text = text_of(raw_name), text_of(raw_value)
        if column is None or text is None:
            return None
        columns[column] = text
    numbers = {name: number(value) for name, value in columns.items()}
    generation, head, revision, created = (numbers.get(name) for name in ("gen", "head", "rev", "created"))
    status, user = columns.get("status"), columns.get("user")
    if generation is None or head is None or revision is None or created is None or user is None:
        return None
    if status not in _LETTERS:
        return None
    updated, settled = numbers.get("updated"), numbers.get("settled")
    fields = []
    for name, value in columns.items():
        if name.startswith("f:") and (found := _FIELD.fullmatch(value)):
            fields.append((int(found[1]), int(found[2] or 0), name[2:], found[3]))
    # In the order in which they were last written.
    pairs = [(name, json) for _, _, name, json in sorted(fields)]
    shown = created if updated is None else updated
    job = Job(generation, status, user, created, shown, settled, head, pairs, revision)
    active, expires = numbers.get("active") or 0, numbers.get("expires")
    if status == "running":
        due = active + lifetimes.idle_ms
    elif status == "requires_action":
        due = active + lifetimes.paused_idle_ms
    elif expires is not None:
        due = expires
    else:
        due = (active if settled is None else settled) + lifetimes.retention_ms
    return Row(job, due)


def row_columns(job: Job) -> list[str]:
    """The row as `create.lua` takes it: names and values in turn."""
    columns: list[object] = ["gen", job.generation, "status", job.status, "user", job.user_id]
    columns += ["created", job.created_ms, "updated", job.updated_ms]
    if job.settled_ms is not None:
        columns += ["settled", job.settled_ms]
    columns += ["head", job.head, "rev", job.revision, "active", max(job.created_ms, job.updated_ms)]
    for at, (name, json) in enumerate(job.fields):
        columns += [f"f:{name}", f"{job.revision}.{at}:{json}"]
    return [str(one) for one in columns]


def base36(value: int) -> str:
    digits, rest = "", abs(value)
    while True:
        rest, digit = divmod(rest, 36)
        digits = "0123456789abcdefghijklmnopqrstuvwxyz"[digit] + digits
        if not rest:
            return f"-{digits}" if value < 0 else digits


def ticket_text(ticket: Ticket) -> str:
    return f"{base36(ticket.session)}.{base36(ticket.number)}"


def append_arguments(append: Append, now_ms: int) -> list[str]:
    """One append as `append.lua` reads it, and its fields."""
    first, entry = append.first, append.entry
    fields: dict[str, str] = {}
    for name, value in append.fields:
        # The last write of each name, in order.
        fields.pop(name, None)
        fields[name] = value
    words = [
        base36(now_ms - first.generation),
        base36(first.sequence),
        base36(len(entry.lines) if entry else 0),
        ticket_text(append.ticket),
        base36(append.expected_revision - first.sequence),
        _LETTERS[append.expected_status] + (_LETTERS[append.status] if append.status else ""),
        "0",
        str(len(fields)),
    ]
    if entry and any(kind != "event" for kind in entry.kinds):
        words.append("".join(str(_KINDS.index(kind)) for kind in entry.kinds))
    lines = "".join(f"{line}\n" for line in entry.lines) if entry else ""
    return [f"{' '.join(words)}\n{lines}", *(one for pair in fields.items() for one in pair)]


def read_entry(raw: Any) -> tuple[Cursor, Entry | None] | None:
    """An entry out of `read.lua`, with where it ends; none in its place when it is damaged."""
    match raw:
        case [bytes(name), list(values)]:
            last = Cursor.parse(name.decode(errors="replace"))
            fields = dict(zip(values[::2], values[1::2]))
        case _:
            return None
    if last is None:
        return None
    count, digits = number(fields.get(b"n")), text_of(fields.get(b"k", b""))
    lines = (text_of(fields.get(b"r")) or "").split("\n")
    if not count or digits is None or lines.pop() != "" or len(lines) != count:
        return last, None
    first = Cursor(last.generation, last.sequence - count + 1)
    if first.sequence < 1 or (digits and (len(digits) != count or set(digits) - set("0123"))):
        return last, None
    kinds = [_KINDS[int(digit)] for digit in digits] or ["event"] * count
    return last, Entry(first, lines, kinds)


def read_head(values: Iterable[Any]) -> Head | None:
    """Out of `HMGET gen head rev`."""
    generation, head, revision = (number(value) for value in values)
    if generation is None or head is None or revision is None:
        return None
    return Head(Cursor(generation, head), revision)


def read_wake(message: bytes) -> Wake | None:
    """What is said on the channel of a stream: see `host/src/store/redis/message.rs`. The log is the truth."""
    words = message.split(b"\n", 1)[0].split(b" ")
    numbers = [number(word) for word in words[1:4]]
    match words[0], numbers:
        case b"e", [int(generation), int(first), int(count)] if first > 0 and count > 0:
            return Wake(Cursor(generation, first + count - 1), False)
        case b"h", [int(generation), int(head)]:
            return Wake(Cursor(generation, head), True)
        case b"g", [int()]:
            return Wake(None, True)
    return None


Refusal = Literal["not-found", "generation-replaced", "not-active", "behind"]


def read_answer(raw: Any) -> tuple[Refusal, int | str | None] | Placed | Literal["accepted"] | None:
    """What a script of a write answered, as `append.lua` says; none for what is no such answer."""
    kind, _, rest = (text_of(raw) or "").partition(" ")
    if kind == "A":
        return "accepted"
    if kind == "P" and (found := _PLACED.fullmatch(rest)):
        return Placed(f"{found[1]} {found[3]}", found[2])
    if kind == "N":
        return "not-found", None
    if kind == "T" and rest in TERMINAL:
        return "not-active", rest
    # Ahead of what the store has, which has forgotten something then: what it has counts.
    value = number(rest.rpartition(" ")[2])
    if value is None or kind not in ("G", "B", "H"):
        return None
    return ("generation-replaced" if kind == "G" else "behind"), value
