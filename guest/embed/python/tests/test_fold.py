"""The recorded cases of the fold: the same content as everywhere, however the events came."""

import json
import sys
import threading
import unittest
from collections.abc import Callable, Iterator
from typing import Any

from limits import Limited
from rejoin_core import Aggregator, Limits, Refused, Session, fold
from support import ROOT, SHARED, answer, delta

FILES = [ROOT / "tests/cases/aggregator/public.jsonl", ROOT / "tests/cases/aggregator/seeded.jsonl"]
REAL = SHARED / "aggregator/real.jsonl"
# Classes whose recorded answer is the law.
REQUIRED = ("realistic", "protocol", "malformed", "throws")
_decoder = json.JSONDecoder()
_BLANKS = " \t\r\n"


def _after(text: str, at: int, skipped: str) -> int:
    while text[at] in skipped:
        at += 1
    return at


def members(text: str) -> dict[str, str]:
    """The members of a JSON object, each value as it is spelled."""
    found, at = {}, _after(text, 0, _BLANKS + "{")
    while text[at] != "}":
        name, at = _decoder.raw_decode(text, at)
        start = _after(text, at, _BLANKS + ":")
        _, at = _decoder.raw_decode(text, start)
        found[name] = text[start:at]
        at = _after(text, at, _BLANKS + ",")
    return found


def items(text: str) -> list[str]:
    """The items of a JSON list, as they are spelled."""
    found, at = [], _after(text, 1, _BLANKS)
    while text[at] != "]":
        start = at
        _, at = _decoder.raw_decode(text, start)
        found.append(text[start:at])
        at = _after(text, at, _BLANKS + ",")
    return found


def canonical(text: str) -> str:
    """Equal values are equal texts: keys in order, numbers as doubles, zero without a sign."""

    def number(digits: str) -> float:
        return float(digits) + 0.0

    return json.dumps(json.loads(text, parse_int=number, parse_float=number), sort_keys=True)


def with_room(test: Callable[[], None]) -> None:
    """Runs `test` where recursion as deep as the cases has room."""
    failures: list[BaseException] = []

    def run() -> None:
        try:
            test()
        except BaseException as failure:
            failures.append(failure)

    depth, size = sys.getrecursionlimit(), threading.stack_size(256 << 20)
    sys.setrecursionlimit(100_000)
    try:
        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        thread.join()
    finally:
        threading.stack_size(size)
        sys.setrecursionlimit(depth)
    if failures:
        raise failures[0]

def cases() -> Iterator[tuple[str, dict[str, Any]]]:
    """Of every file that is there: name, and members as they are spelled."""
    for file in [*FILES, *([REAL] if REAL.is_file() else [])]:
        for line in file.read_text().strip("\n").split("\n"):
            case = members(line)
            yield f"{file.name} {json.loads(case['name'])}", case

def in_session(events: list[str], size: int) -> tuple[str, list[str]]:
    """The content of a session that got them in batches of `size`, and what it asked to be logged."""
    session, logged = Session("s", None, None, Limits()), []
    session.create("u", None, "{}")
    for at in range(0, len(events) + size, size):
        write = session.take().write
        if write:
            logged += write.entry.lines if write.entry else []
            session.accept(write.ticket)
        if batch := events[at : at + size]:
            pushed = session.push("\n".join(batch))
            assert pushed.appended == len(batch), pushed
    return session._run("content"), logged

class Fold(Limited):
    def test_every_recorded_log_folds_to_the_recorded_content(self) -> None:
        def test() -> None:
            count = 0
            for name, case in cases():
                events, seed = items(case["events"]), case.get("seed")
                aggregator = Aggregator(json.loads(seed) if seed else None)
                aggregator.push(events)
                if json.loads(case["class"]) in REQUIRED:
                    wanted = case.get("content") or case["content_skip"]
                    with self.subTest(name):
                        self.assertEqual(canonical(aggregator.json()), canonical(wanted))
                if not seed:
                    with self.subTest(name, by="fold"):
                        self.assertEqual(fold(case["events"]), aggregator.json())
                count += 1
            print(f"{count} cases")
            self.assertGreaterEqual(count, 249)

        with_room(test)

    def test_a_session_has_the_same_content_however_its_records_were_batched(self) -> None:
        def test() -> None:
            for name, case in cases():
                objects = [event for event in items(case["events"]) if event.startswith("{")]
                records = [event for event in objects if "final" not in json.loads(event)]
                wanted = fold(f"[{','.join(records)}]")
                for size in (1, 7, 64):
                    with self.subTest(name, size=size):
                        self.assertEqual(in_session(records, size), (wanted, records))

        with_room(test)

    def test_what_is_no_list_is_refused(self) -> None:
        for bad in ("", "{}", "7", "[", "[1,]", "nothing"):
            with self.subTest(bad), self.assertRaises(Refused) as refusal:
                fold(bad)
            self.assertEqual(refusal.exception.reason, "invalid")
        with self.assertRaises(Refused):
            Aggregator({"a": 1})  # type: ignore[arg-type]

    def test_half_a_character_and_odd_text_pass_unharmed(self) -> None:
        aggregator = Aggregator()
        deltas = [json.loads(delta(text)) for text in ("\ud83e", "\udd80", " ž \u2028")]
        aggregator.push([*answer(1), *deltas])
        self.assertEqual(aggregator.parts()[0]["text"], "🦀 ž \u2028")
        with self.assertRaises(ValueError):
            aggregator.push([{"a": float("nan")}])

if __name__ == "__main__":
    unittest.main()
