"""Recorded sessions give the same bytes here as in every other host."""

import json
import tempfile
import unittest
from pathlib import Path

from limits import Limited
import traces
from support import ROOT

FOLDER = ROOT / "tests" / "cases" / "sessions"


class Traces(Limited):
    def test_every_recorded_session_gives_the_same_bytes(self) -> None:
        paths = sorted(FOLDER.glob("*.jsonl"))
        self.assertGreater(len(paths), 0, f"no traces in {FOLDER}")
        calls = 0
        for path in paths:
            with self.subTest(path.name):
                calls += traces.run(path)
        print(f"{len(paths)} traces, {calls} calls")

    def test_a_trace_that_differs_in_one_byte_fails_and_names_its_line(self) -> None:
        head = {"trace": 1, "world": "rejoin:streams/engine@0.1.0", "about": "the fold alone"}
        made = {"call": "aggregator.constructor", "in": {}, "now": None, "imports": [], "out": "a1"}
        parts = {"call": "aggregator.parts", "in": {"self": "a1"}, "now": None, "imports": [], "out": "[]"}
        drop = {"call": "aggregator.drop", "in": {"self": "a1"}, "now": None, "imports": [], "out": None}
        refused = {"err": "not a JSON list"}
        fold = {"call": "content.fold", "in": {"events": "7"}, "now": None, "imports": [], "out": refused}
        seeded = {"call": "aggregator.seeded", "in": {"parts": "[]"}, "now": None, "imports": [], "out": {"ok": "a2"}}
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "fold.jsonl"
            lines = [head, made, parts, drop, fold, seeded]
            path.write_text("".join(traces.text_of(line) + "\n" for line in lines))
            self.assertEqual(traces.run(path), 5)
            for number, line in enumerate(lines[1:], 2):
                other = lines[: number - 1] + [json.loads(json.dumps(line)) | {"imports": [0]}] + lines[number:]
                path.write_text("".join(traces.text_of(one) + "\n" for one in other))
                with self.assertRaisesRegex(AssertionError, f"line {number}\n"):
                    traces.run(path)


if __name__ == "__main__":
    unittest.main()
