// Bodies of model providers as they come off the wire, in any pieces.
import assert from "node:assert/strict";
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { Aggregator, MemoryStore, Refused, Streams, Translator } from "rejoin-embed";
import { test } from "./support/test.mjs";

const CHAT = [
  { id: "c1", choices: [{ index: 0, delta: { role: "assistant", content: null, reasoning_content: "Hm, well" } }] },
  { id: "c1", choices: [{ index: 0, delta: { content: "Žluť" } }] },
  { id: "c1", choices: [{ index: 0, delta: { content: "oučký \u{1F980}\n" } }] },
  { id: "c1", choices: [{ index: 0, delta: { tool_calls: [{ index: 0, id: "t1", type: "function", function: { name: "weather", arguments: '{"city":' } }] } }] },
  { id: "c1", choices: [{ index: 0, delta: { tool_calls: [{ index: 0, function: { arguments: '"Zürich"}' } }] } }] },
  { id: "c1", choices: [{ index: 0, delta: {}, finish_reason: "tool_calls" }], usage: { prompt_tokens: 3, completion_tokens: 9 } },
];

/** The chunks, framed the way providers frame them. */
function framed(dialect, chunks) {
  const frames = chunks.map((chunk) => `${chunk.type ? `event: ${chunk.type}\n` : ""}data: ${JSON.stringify(chunk)}\n\n`);
  return frames.join("") + (dialect === "openai-chat" ? "data: [DONE]\n\n" : "");
}

/** The text in the chunks, by a reading that knows nothing of the translator. */
function textOf(dialect, chunks) {
  const pick = {
    "openai-chat": (chunk) => chunk.choices?.[0]?.delta?.content,
    "openai-responses": (chunk) => chunk.type === "response.output_text.delta" && chunk.delta,
    "anthropic-messages": (chunk) => chunk.type === "content_block_delta" && chunk.delta.text,
  }[dialect];
  return chunks.map((chunk) => pick(chunk) || "").join("");
}

const folder = new URL("../../../../../shared/transcripts/", import.meta.url);
const DIALECTS = { openai__chat: "openai-chat", deepseek__chat: "openai-chat", groq: "openai-chat", openai__responses: "openai-responses", anthropic: "anthropic-messages" };

/** Recordings that stand beside some checkouts, and one body of our own. */
const bodies = [
  { name: "own", dialect: "openai-chat", chunks: CHAT },
  ...(existsSync(folder) ? readdirSync(folder) : []).filter((name) => name.endsWith(".jsonl")).map((name) => {
    const [, dialect] = Object.entries(DIALECTS).find(([start]) => name.startsWith(start));
    const lines = readFileSync(new URL(name, folder), "utf8").split("\n").filter(Boolean);
    return { name, dialect, chunks: lines.map((line) => JSON.parse(line)) };
  }),
];

/** Bytes in pieces of random lengths, which cut characters too. */
async function* pieces(text, longest) {
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length; ) {
    const end = at + 1 + Math.floor(Math.random() * longest);
    yield bytes.subarray(at, end);
    at = end;
  }
}

const joined = (parts) => parts.filter((part) => part.type === "text").map((part) => part.text).join("");

for (const { name, dialect, chunks } of bodies) {
  test(`a body in any pieces becomes the content that it says: ${name}`, async () => {
    const body = framed(dialect, chunks);
    const translator = new Translator(dialect);
    const records = [translator.push(body), translator.finish()];
    assert.deepEqual(records.map((some) => some.bad), [undefined, undefined]);
    const fold = new Aggregator();
    for (const some of records) fold.push(some.records);
    assert.equal(joined(fold.parts()), textOf(dialect, chunks));

    const streams = new Streams({ store: new MemoryStore() });
    const { job } = await streams.create("s", {}, { userId: "u" });
    const longest = 2 ** Math.floor(Math.random() * 12);
    const { appended, last } = await streams.appendBody("s", dialect, pieces(body, longest), { generation: job.generation });
    const { parts, at } = await streams.content("s");
    assert.equal(JSON.stringify(parts), fold.json(), `in pieces of up to ${longest}`);
    assert.deepEqual([at, last.sequence, appended > 1], [last, appended, true]);
    await streams.close();
  });
}

test("reasoning, text and calls of a body are parts of their own", async () => {
  const streams = new Streams({ store: new MemoryStore() });
  await streams.create("s", {}, { userId: "u" });
  await streams.appendBody("s", "openai-chat", pieces(framed("openai-chat", CHAT), 20));
  const { parts } = await streams.content("s");
  assert.deepEqual(parts.map((part) => part.type), ["think", "text", "tool_call"]);
  assert.deepEqual([parts[2].tool_call.name, parts[2].tool_call.args], ["weather", '{"city":"Zürich"}']);
  await streams.close();
});

test("bodies that are read at the same moment keep apart", async () => {
  const streams = new Streams({ store: new MemoryStore() });
  await streams.create("s", {}, { userId: "u" });
  const body = (id) => framed("openai-chat", CHAT.slice(0, 3).map((chunk) => ({ ...chunk, id })));
  await Promise.all(["c1", "c2", "c3"].map((id) => streams.appendBody("s", "openai-chat", pieces(body(id), 40))));
  const { parts } = await streams.content("s");
  const texts = parts.filter((part) => part.type === "text").map((part) => part.text);
  assert.deepEqual(texts, Array(3).fill("Žluťoučký \u{1F980}\n"));
  await streams.close();
});

test("a body keeps apart from steps whose index no number of JavaScript has", async () => {
  const streams = new Streams({ store: new MemoryStore() });
  const { job } = await streams.create("s", {}, { userId: "u" });
  const step = '{"event":"on_run_step","data":{"id":"s","index":9007199254740994,"stepDetails":{"type":"message_creation"}}}';
  const delta = { event: "on_message_delta", data: { id: "s", delta: { content: [{ type: "text", text: "before" }] } } };
  await streams.append("s", [step, delta]);
  await streams.appendBody("s", "openai-chat", pieces(framed("openai-chat", CHAT.slice(1, 3)), 20));
  const { entries } = await streams.store.read("s", { generation: job.generation, sequence: 0 }, 1 << 20);
  assert.match(entries.map((entry) => entry.lines).join(""), /"index":9007199254740995\b/);
  await streams.close();
});

test("a broken chunk is named by its line, and all before it is kept", async () => {
  const streams = new Streams({ store: new MemoryStore() });
  await streams.create("s", {}, { userId: "u" });
  const body = framed("openai-chat", CHAT).replace(/^(.*\n\n.*\n\n)/, "$1data: {\"id\":\n\n");
  const broken = streams.appendBody("s", "openai-chat", pieces(body, 20));
  await assert.rejects(broken, (error) => error instanceof Refused && error.reason === "invalid" && /line 5 /.test(error.value));
  assert.equal(joined((await streams.content("s")).parts), "Žluť");
  await assert.rejects(streams.appendBody("s", "klingon", pieces("", 1)), { reason: "invalid" });
  await assert.rejects(streams.appendBody("s", "events", pieces("", 1), { generation: 1 }), { reason: "generation-replaced" });
  await assert.rejects(streams.appendBody("s", "events", [Buffer.from([0xff, 0x0a])]), /UTF-8/);
  await streams.close();
});
