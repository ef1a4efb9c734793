"""`wit/` in Python: every function that goes in or out, with its parameters in order. See there what each one means."""

from __future__ import annotations

from .boundary import U32, U64, Enum, Function, Handle, List, Number, Option, Record, Result, Text, Variant

u32, u64, string = Number(U32, 32), Number(U64, 64), Text()

cursor = Record(generation=u64, sequence=u64)
status = Enum("running", "requires-action", "complete", "error", "aborted")
field = Record(name=string, value=string)
job = Record(
    generation=u64,
    status=status,
    user_id=string,
    created_ms=u64,
    updated_ms=u64,
    settled_ms=Option(u64),
    head=u64,
    fields=List(field),
)
log_record = Record(json=string, kind=Enum("event", "internal", "final", "failure"))
change = Record(status=Option(status), expected_status=status, fields=List(field))
limits = Record(record_bytes_max=u64, records_max=u64, log_bytes_max=u64, idle_ms=u64, paused_idle_ms=u64)
refusal = Variant(
    not_found=None,
    not_active=status,
    generation_replaced=u64,
    already_active=u64,
    generation_mismatch=u64,
    forbidden=None,
    no_such_action=None,
    paused=None,
    invalid=string,
    record_too_large=u64,
    log_full=None,
    producer_gap=u64,
    behind=u64,
    busy=None,
    lost=None,
)

effect = Enum("pending", "unchanged")
producer = Record(id=string, seq=u64, offset=u64)
stopped = Record(line=u32, reason=refusal)
pushed = Record(
    effect=effect,
    appended=u32,
    duplicate=u32,
    first=Option(cursor),
    last=Option(cursor),
    stopped=Option(stopped),
)
snapshot = Record(at=cursor, state=string)
outcome = Variant(accepted=None, refused=refusal)
translated = Record(records=string, bad=Option(Record(line=u64, reason=string)))

session, aggregator, translator = Handle("session"), Handle("aggregator"), Handle("translator")
generation, changes, done = Option(u64), Result(effect, refusal), Result(None, refusal)
dialect = Enum("events", "openai-chat", "openai-responses", "anthropic-messages")

# By interface, then by name: the names of methods are wasmtime's.
EXPORTS: dict[str, dict[str, Function]] = {
    "session": {
        "[static]session.open": Function(
            session, stream_id=string, job=Option(job), checkpoint=Option(string), limits=limits
        ),
        "[method]session.head": Function(cursor, self=session),
        "[method]session.replay": Function(done, self=session, lines=string),
        "[method]session.create": Function(
            changes, self=session, user_id=Option(string), idempotency_key=Option(string), request=string
        ),
        "[method]session.push": Function(
            Result(pushed, refusal),
            self=session,
            generation=generation,
            framing=Enum("ndjson", "json"),
            text=string,
            producer=Option(producer),
        ),
        "[method]session.update": Function(changes, self=session, fields=string),
        "[method]session.complete": Function(changes, self=session, generation=generation, final_event=Option(string)),
        "[method]session.fail": Function(changes, self=session, generation=generation, reason=string),
        "[method]session.abort": Function(changes, self=session, generation=generation),
        "[method]session.time-out": Function(changes, self=session),
        "[method]session.pause": Function(changes, self=session, generation=generation, action=string),
        "[method]session.resolve": Function(
            changes, self=session, generation=generation, action_id=string, decision=string
        ),
        "[method]session.settle": Function(done, self=session, ticket=u64, outcome=outcome),
        "[method]session.job": Function(Option(job), self=session),
        "[method]session.content": Function(Result(string, refusal), self=session),
        "[method]session.text": Function(Result(string, refusal), self=session),
        "[method]session.next-index": Function(u64, self=session),
        "[method]session.resume-state": Function(Result(snapshot, refusal), self=session),
        "[method]session.save": Function(Result(string, refusal), self=session),
    },
    "content": {
        "[constructor]aggregator": Function(aggregator),
        "[static]aggregator.seeded": Function(Result(aggregator, string), parts=string),
        "[method]aggregator.push": Function(None, self=aggregator, lines=string),
        "[method]aggregator.parts": Function(string, self=aggregator),
        "fold": Function(Result(string, string), events=string),
    },
    "translate": {
        "[constructor]translator": Function(translator, dialect=dialect),
        "[method]translator.push": Function(translated, self=translator, lines=string, index_at_least=u64),
        "[method]translator.finish": Function(translated, self=translator, index_at_least=u64),
    },
}

# `wasi:clocks/wall-clock` is beside these: it alone returns something.
datetime = Record(seconds=u64, nanoseconds=u32)
signal = Variant(abort=None, replaced=u64, resolved=string)
IMPORTS: dict[str, dict[str, Function]] = {
    "store": {
        "create": Function(None, stream_id=string, ticket=u64, previous=u64, job=job),
        "append": Function(None, stream_id=string, ticket=u64, first=cursor, records=List(log_record), change=change),
        "checkpoint": Function(None, stream_id=string, at=cursor, state=string),
    },
    "sse": {
        "publish": Function(None, stream_id=string, at=cursor),
        "signal": Function(None, stream_id=string, generation=u64, what=signal),
    },
}
