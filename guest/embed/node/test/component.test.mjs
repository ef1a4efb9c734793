// The component in Node gives the content of the reference: all cases of the fold, in one piece and in many.
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { Aggregator, Refused, Translator, Trapped, fold } from "rejoin-embed";
import { test } from "./support/test.mjs";

/** Classes whose recorded answer is the law; the others are what only JavaScript's own parser makes of a log. */
const REQUIRED = ["realistic", "protocol", "malformed", "throws"];
const project = new URL("../../../../", import.meta.url);
const files = [
  ...["public", "seeded"].map((name) => new URL(`tests/cases/aggregator/${name}.jsonl`, project)),
  // Stands beside some checkouts only.
  ...["public", "seeded", "real"].map((name) => new URL(`../shared/aggregator/${name}.jsonl`, project)).filter(existsSync),
];

/** Values without the order of keys. */
function sorted(value) {
  if (Array.isArray(value)) return value.map(sorted);
  if (value === null || typeof value !== "object") return value;
  // Prefixed, so that keys that are numbers stay in order and `__proto__` is one like any other.
  return Object.fromEntries(Object.keys(value).sort().map((key) => [`.${key}`, sorted(value[key])]));
}

for (const file of files) {
  test(`every log of ${file.pathname.split("/").slice(-3).join("/")} folds to the recorded content`, () => {
    const cases = readFileSync(file, "utf8").trim().split("\n").map((line) => JSON.parse(line));
    let required = 0;
    for (const one of cases) {
      const whole = new Aggregator(one.seed);
      whole.push(one.events);
      const got = one.seed ? whole.json() : fold(JSON.stringify(one.events));
      for (const size of [1, 7]) {
        const pieces = new Aggregator(one.seed);
        for (let at = 0; at < one.events.length; at += size) pieces.push(one.events.slice(at, at + size));
        assert.equal(pieces.json(), whole.json(), `${one.name} in pieces of ${size}`);
      }
      if (!REQUIRED.includes(one.class)) continue;
      required += 1;
      const wanted = one.throws ? one.content_skip : one.content;
      assert.equal(JSON.stringify(sorted(JSON.parse(got))), JSON.stringify(sorted(wanted)), one.name);
    }
    assert.ok(required >= 10, `${required} cases`);
  });
}

test("what is no list is refused, and the next fold is none the worse", () => {
  assert.throws(() => fold("{}"), (error) => error instanceof Refused && error.reason === "invalid");
  assert.throws(() => new Aggregator({}), Refused);
  const step = { event: "on_run_step", data: { id: "s", index: 0, stepDetails: { type: "message_creation" } } };
  const delta = (text) => ({ event: "on_message_delta", data: { id: "s", delta: { content: [{ type: "text", text }] } } });
  const aggregator = new Aggregator();
  for (const event of [step, delta("a"), delta("\u{1F980}"), delta("c")]) aggregator.push([event]);
  assert.deepEqual(aggregator.parts(), [{ type: "text", text: "a\u{1F980}c" }]);
});

test("values of the wrong kind are refused, and harm no fold and no body beside", () => {
  const loop = [];
  loop.push(loop);
  const [aggregator, translator] = [new Aggregator(), new Translator("events")];
  const step = { event: "on_run_step", data: { id: "s", index: 0, stepDetails: { type: "message_creation" } } };
  aggregator.push([step]);
  const odd = [
    () => fold([]),
    ...[[undefined], { event: "on_agent_update" }, 7, null].map((events) => () => aggregator.push(events)),
    () => new Translator("klingon"),
    () => translator.push(7),
    ...[-1, 0.5, Number.NaN, 2 ** 53, -1n, 2n ** 64n, "1"].flatMap((index) => [() => translator.push("", index), () => translator.finish(index)]),
  ];
  for (const ask of odd) assert.throws(ask, (error) => error instanceof Refused && error.reason === "invalid", String(ask));
  for (const ask of [() => new Aggregator(loop), () => aggregator.push(loop)]) assert.throws(ask, (error) => !(error instanceof Trapped), String(ask));
  aggregator.push([{ event: "on_message_delta", data: { id: "s", delta: { content: [{ type: "text", text: "a" }] } } }]);
  assert.deepEqual(aggregator.parts(), [{ type: "text", text: "a" }]);
  assert.deepEqual(translator.finish(2n ** 64n - 1n), { records: "" });
});

test("what was closed says so, and closing it twice is nothing", () => {
  const [fold, translator] = [new Aggregator(), new Translator("events")];
  for (const one of [fold, translator, fold, translator]) one.close();
  for (const ask of [() => fold.push(""), () => fold.json(), () => translator.push(""), () => translator.finish()]) {
    assert.throws(ask, (error) => error instanceof Refused && /freed: make a new one/.test(error.message), String(ask));
  }
});
