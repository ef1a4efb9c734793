// Recorded traces of sessions: what other hosts of the component saw, byte for byte.
import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { instantiate } from "../generated/rejoin.js";
import { runTrace } from "./support/trace.mjs";
import { test } from "./support/test.mjs";

const folder = new URL("../../../../tests/cases/sessions/", import.meta.url);
const files = readdirSync(folder).filter((name) => name.endsWith(".jsonl"));
const modules = new Map();

function coreModule(name) {
  if (!modules.has(name)) modules.set(name, new WebAssembly.Module(readFileSync(new URL(`../generated/${name}`, import.meta.url))));
  return modules.get(name);
}

const instance = (imports) => instantiate(coreModule, imports);
const read = (name) => readFileSync(new URL(name, folder), "utf8");

test("there are traces", () => assert.ok(files.length > 0, String(folder)));

for (const name of files) {
  test(`${name}: calls, what they ask for, and answers are those recorded`, () => {
    assert.equal(runTrace(read(name), instance), read(name).split("\n").length - 2);
  });
}

test("a trace that says something else is told apart", () => {
  for (const name of files) {
    const lines = read(name).split("\n");
    const at = lines.findLastIndex((line) => line.includes('"out":'));
    const other = `${lines[at].slice(0, lines[at].lastIndexOf('"out":'))}"out":"other"}`;
    assert.throws(() => runTrace(lines.with(at, other).join("\n"), instance), /differs/, name);
  }
});
