"""One opening of one stream in one instance: plain calls. After a trap it is dead and must be dropped."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import astuple, dataclass
from typing import Any

from .boundary import Case
from .component import Instance, Refused, checked, refused
from .types import Cursor, Entry, Job, Write


@dataclass(frozen=True)
class Limits:
    """Bounds of one generation, in the order of `wit/types.wit`."""

    record_bytes_max: int = 1 << 20
    records_max: int = 200_000
    log_bytes_max: int = 64 << 20
    idle_ms: int = 30 * 60_000
    paused_idle_ms: int = 24 * 3_600_000


@dataclass(frozen=True)
class Producer:
    """Makes repeats of a request harmless: `seq` grows by one from request to request."""

    id: str
    seq: int


@dataclass(frozen=True)
class Pushed:
    """What became of an append. `stopped`: line, from 1, where it stopped, and why; everything before is taken."""

    appended: int = 0
    duplicate: int = 0
    last: Cursor | None = None
    stopped: tuple[int, Refused] | None = None

    def then(self, more: Pushed, lines_before: int) -> Pushed:
        """Both as one append."""
        stopped = (more.stopped[0] + lines_before, more.stopped[1]) if more.stopped else None
        return Pushed(
            self.appended + more.appended, self.duplicate + more.duplicate, more.last or self.last, stopped
        )


@dataclass
class Asked:
    """What a call asked for. Nothing of it has happened yet."""

    write: Write | None = None
    checkpoint: tuple[Cursor, str] | None = None
    # A person's answer, of this generation: a JSON object.
    resolved: tuple[int, str] | None = None


class _Ear:
    # Apart from the session, which would otherwise hold itself, and its instance, until the garbage collector comes.
    def __init__(self) -> None:
        self.asked = Asked()

    def hear(self, name: str, arguments: Callable[[], list[Any]]) -> None:
        match name:
            case "store.create":
                _, ticket, previous, job = arguments()
                self.asked.write = Write(ticket, previous=previous, job=_job_of(job))
            case "store.append":
                _, ticket, first, records, change = arguments()
                status, expected, fields = change
                at = Cursor(*first)
                entry = Entry(at, [json for json, _ in records], [kind for _, kind in records]) if records else None
                self.asked.write = Write(
                    ticket,
                    first=at,
                    entry=entry,
                    expected_status=_from_wit(expected),
                    status=None if status is None else _from_wit(status),
                    fields=fields,
                )
            case "store.checkpoint":
                _, at, state = arguments()
                self.asked.checkpoint = (Cursor(*at), state)
            case "sse.signal":
                _, generation, what = arguments()
                if what.tag == "resolved":
                    self.asked.resolved = (generation, what.value)
            case _:
                # Whoever carries a write out tells the readers: it knows what was accepted.
                pass


class Session:
    """A live generation as `wit/session.wit` has it, with its call order: open, `replay` to the log's end, commands.

    After a command `take()` says what it asked for. Was that a write, the store is asked, and `accept` settles it
    before any other command; was it refused, the session is lost: it was only a cache, open a new one. One thread at a
    time.
    """

    def __init__(self, stream: str, job: Job | None, checkpoint: str | None, limits: Limits, number: int = 0) -> None:
        """`number` tells this opening from every other one, in all processes that share the store."""
        self.number = number
        self.revision = job.revision if job else 0
        # It knows the content, not the row alone; one that does not is good for one command.
        self.whole = True
        self._ear = _Ear()
        self._instance = Instance(self._ear.hear)
        row = _row_of(job) if job else None
        self._session = self._instance.call(
            "session", "[static]session.open", stream, row, checkpoint, astuple(limits)
        )

    @property
    def dead(self) -> bool:
        """It has trapped."""
        return self._instance.dead

    def _call(self, name: str, *arguments: Any) -> Any:
        return self._instance.call("session", f"[method]session.{name}", self._session, *arguments)

    def _run(self, name: str, *arguments: Any) -> Any:
        return checked(self._call(name, *arguments))

    def take(self) -> Asked:
        """What the calls since the last `take` asked for."""
        taken, self._ear.asked = self._ear.asked, Asked()
        return taken

    def head(self) -> Cursor:
        return Cursor(*self._call("head"))

    def replay(self, lines: str) -> None:
        self._run("replay", lines)

    def create(self, user_id: str | None, idempotency_key: str | None, request: str) -> bool:
        """True when a generation is to be made, false when the key had made the present one."""
        return bool(self._run("create", user_id, idempotency_key, request) == "pending")

    def push(
        self, lines: str, generation: int | None = None, producer: Producer | None = None, offset: int = 0
    ) -> Pushed:
        """`offset`: records of the same request that were pushed before."""
        by = (producer.id, producer.seq, offset) if producer else None
        _, appended, duplicate, _, last, stopped = self._run("push", generation, "ndjson", lines, by)
        why = (stopped[0], refused(stopped[1])) if stopped else None
        return Pushed(appended, duplicate, Cursor(*last) if last else None, why)

    def update(self, fields: str) -> None:
        self._run("update", fields)

    def complete(self, generation: int | None = None, final_event: str | None = None) -> None:
        self._run("complete", generation, final_event)

    def fail(self, generation: int | None, reason: str) -> None:
        self._run("fail", generation, reason)

    def abort(self, generation: int | None = None) -> None:
        self._run("abort", generation)

    def time_out(self) -> None:
        self._run("time-out")

    def pause(self, generation: int | None, action: str) -> None:
        self._run("pause", generation, action)

    def resolve(self, generation: int | None, action_id: str, decision: str) -> None:
        self._run("resolve", generation, action_id, decision)

    def accept(self, ticket: int) -> None:
        """The store has accepted the write of this ticket."""
        self._run("settle", ticket, Case("accepted"))

    def job(self) -> Job:
        """The job as it stands. Errors: there is none."""
        job = self._call("job")
        if job is None:
            raise Refused("not-found")
        found = _job_of(job)
        found.revision = self.revision
        return found

    def content(self) -> list[Any]:
        parts: list[Any] = json.loads(self._run("content"))
        return parts

    def text(self) -> str:
        return str(json.loads(self._run("text")))

    def next_index(self) -> int:
        return int(self._call("next-index"))

    def snapshot(self) -> tuple[Cursor, str]:
        """State and position from one cut: the state is a JSON object."""
        at, state = self._run("resume-state")
        return Cursor(*at), state


def _from_wit(status: str) -> str:
    return status.replace("-", "_")


def _job_of(row: tuple[Any, ...]) -> Job:
    generation, status, *rest = row
    return Job(generation, _from_wit(status), *rest)


def _row_of(job: Job) -> tuple[Any, ...]:
    status = job.status.replace("_", "-")
    return (
        job.generation,
        status,
        job.user_id,
        job.created_ms,
        job.updated_ms,
        job.settled_ms,
        job.head,
        job.fields,
    )
