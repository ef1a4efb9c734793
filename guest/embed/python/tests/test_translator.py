"""Model providers' bodies, in any pieces, against a second reading of the same chunks."""

import json
import random
import unittest
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from limits import Case
from rejoin_core import Aggregator, Refused, Streams, Translator
from rejoin_core.translator import Dialect
from support import ROOT, SHARED, answer, read

OWN = ROOT / "tests/cases/providers"


@dataclass
class Seen:
    """What a reader of an answer sees. Calls: id, name, arguments."""

    text: str = ""
    reasoning: str = ""
    calls: list[tuple[str, str, Any]] = field(default_factory=list)


SAID = Seen("Žluťoučký 🦀\n", "Hm, well", [("t1", "weather", {"city": "Zürich"})])


def arguments(text: str) -> Any:
    try:
        return json.loads(text or "{}")
    except ValueError:
        return text


class Body:
    """One chunk a line in the file, framed the way the provider frames it."""

    def __init__(self, path: Path, dialect: Dialect) -> None:
        self.name, self.dialect = path.stem, dialect
        lines = [line for line in path.read_text().split("\n") if line]
        self.chunks = [json.loads(line) for line in lines]
        self.events = [
            (f"event: {chunk['type']}\n" if isinstance(chunk.get("type"), str) else "") + f"data: {line}\n\n"
            for chunk, line in zip(self.chunks, lines)
        ]
        if dialect == "openai-chat":
            self.events.append("data: [DONE]\n\n")
        self.text = "".join(self.events)

    def seen(self) -> Seen:
        """The second reading: where each dialect says a thing, and nothing in between."""
        seen, calls = Seen(), []
        for chunk in self.chunks:
            if self.dialect == "openai-chat":
                delta = (chunk.get("choices") or [{}])[0].get("delta") or {}
                seen.text += delta.get("content") or ""
                seen.reasoning += (delta.get("reasoning_content") or "") + (delta.get("reasoning") or "")
                for call in delta.get("tool_calls") or []:
                    if call.get("id"):
                        calls.append([call["id"], call["function"]["name"], ""])
                    calls[call.get("index", 0)][2] += call.get("function", {}).get("arguments") or ""
            elif self.dialect == "anthropic-messages":
                delta, block = chunk.get("delta") or {}, chunk.get("content_block") or {}
                seen.text += delta.get("text") or ""
                seen.reasoning += delta.get("thinking") or ""
                if block.get("type") in ("tool_use", "server_tool_use"):
                    calls.append([block["id"], block["name"], ""])
                elif calls:
                    calls[-1][2] += delta.get("partial_json") or ""
            else:
                self._response(chunk, seen, calls)
        seen.calls = [(id, name, arguments(text)) for id, name, text in calls]
        return seen

    @staticmethod
    def _response(chunk: dict[str, Any], seen: Seen, calls: list[list[str]]) -> None:
        item = chunk.get("item") or {}
        match chunk["type"], item.get("type"):
            case "response.output_text.delta", _:
                seen.text += chunk["delta"]
            case "response.reasoning_summary_text.delta", _:
                seen.reasoning += chunk["delta"]
            case "response.output_item.done", "function_call":
                calls.append([item["call_id"], item["name"], item["arguments"]])
            case "response.output_item.done", "mcp_call":
                calls.append([item["id"], item["name"], item["arguments"]])
            case "response.output_item.done", "code_interpreter_call":
                calls.append([item["id"], "code_interpreter", json.dumps({"code": item["code"]})])


def stored(parts: list[dict[str, Any]]) -> Seen:
    seen = Seen()
    for part in parts:
        match part:
            case {"type": "text"}:
                seen.text += part["text"]
            case {"type": "think"}:
                seen.reasoning += part["think"]
            case {"type": "tool_call", "tool_call": {"id": id, "name": name, "args": args, "progress": 1}}:
                seen.calls.append((id, name, arguments(args)))
            case _:
                raise AssertionError(f"an unknown part: {part}")
    return seen


def own() -> list[Body]:
    """One small body of every dialect; all of them say the same."""
    dialects: list[Dialect] = ["openai-chat", "openai-responses", "anthropic-messages"]
    return [Body(OWN / f"{dialect}.jsonl", dialect) for dialect in dialects]


def recorded() -> list[Body]:
    """The recordings beside the checkout, where there are any."""
    bodies = []
    for path in sorted(SHARED.glob("transcripts/*.jsonl")):
        names = path.stem.split("__")
        dialect: Dialect = "openai-chat"
        if names[0] == "anthropic":
            dialect = "anthropic-messages"
        elif names[:2] == ["openai", "responses"]:
            dialect = "openai-responses"
        bodies.append(Body(path, dialect))
    return bodies


async def pieces(text: str, longest: int, seed: int) -> AsyncIterator[bytes]:
    data, at, dice = text.encode(), 0, random.Random(seed)
    while at < len(data):
        end = at + dice.randint(1, longest)
        yield data[at:end]
        at = end


class Bodies(Case):
    async def test_every_body_in_any_pieces_becomes_the_content_that_it_says(self) -> None:
        bodies = own() + recorded()
        self.assertEqual([body.seen() for body in bodies[:3]], [SAID] * 3)
        print(f"{len(bodies)} bodies")
        streams, seed = Streams(), random.randrange(1 << 32)
        for body in bodies:
            with self.subTest(body.name, seed=seed):
                await streams.create("s", user_id="u")
                longest = 1 << random.Random(seed).randint(3, 12)
                pushed = await streams.append_body("s", pieces(body.text, longest, seed), body.dialect)
                await streams.complete("s")
                self.assertEqual(stored((await streams.content("s"))[1]), body.seen())
                frames = await read(streams)
                self.assertEqual(pushed.appended, len(frames) - 1)
                events = [json.loads(frame.data).get("event") for frame in frames]
                self.assertEqual(events.count("on_finish"), 1)
                self.assertEqual(events.count("on_usage") + events.count("on_error"), 1)

    async def test_a_body_gives_the_same_records_however_it_is_cut(self) -> None:
        for body in own():
            whole = Translator(body.dialect)
            records = whole.push(body.text).records + whole.finish().records
            by_line = Translator(body.dialect)
            lines = body.text.split("\n")[:-1]
            given = [by_line.push(line + "\n") for line in lines] + [by_line.finish()]
            self.assertTrue(all(one.bad is None for one in given))
            join = [line for one in [records, *(one.records for one in given)] for line in one.split("\n") if line]
            self.assertEqual(join[: len(join) // 2], join[len(join) // 2 :])
            aggregator = Aggregator()
            aggregator.push(records)
            self.assertEqual(stored(aggregator.parts()), SAID)

    async def test_bodies_of_one_generation_keep_apart(self) -> None:
        streams = Streams()
        await streams.create("s", user_id="u")
        for body in own():
            await streams.append_body("s", pieces(body.text, 100, 1), body.dialect)
        seen = stored((await streams.content("s"))[1])
        # Calls keep their id over all bodies: three times the same one is one part.
        self.assertEqual((seen.text, seen.reasoning), (SAID.text * 3, SAID.reasoning * 3))

    async def test_a_broken_chunk_is_named_by_its_line_and_all_before_it_is_kept(self) -> None:
        streams = Streams()
        for body in own():
            for broken in ('data: {"id":\n\n', "data: [1]\n\n", "event: x\ndata: oops\n\n"):
                await streams.create("s", user_id="u")
                before = "".join(body.events[:4])
                with self.assertRaises(Refused) as refusal:
                    await streams.append_body("s", pieces(before + broken + body.text, 50, 1), body.dialect)
                line = before.count("\n") + 1 + broken.startswith("event")
                self.assertIn(f"line {line} of the body", str(refusal.exception))
                kept = Translator(body.dialect).push(before).records
                cursor = (await streams.content("s"))[0].head
                self.assertEqual(cursor, kept.count("\n") + (not kept.endswith("\n")))

    async def test_what_is_no_text_is_refused_and_records_pass_as_they_are(self) -> None:
        streams = Streams()
        await streams.create("s", user_id="u")

        async def body(*parts: bytes) -> AsyncIterator[bytes]:
            for part in parts:
                yield part

        with self.assertRaises(Refused):
            await streams.append_body("s", body(b"data: {\"a\":\"\xff\"}\n\n"), "events")
        lines = answer(5)
        text = "".join(f"id: {at}\ndata: {line}\n\n" for at, line in enumerate(lines)).encode()
        await streams.append_body("s", body(text[:100], text[100:-2]), "events")
        with self.assertRaises(Refused):
            await streams.abort("s", generation=1)
        await streams.complete("s")
        found = [frame.data for frame in (await read(streams))[:-1]]
        self.assertEqual(found, lines)


if __name__ == "__main__":
    unittest.main()
