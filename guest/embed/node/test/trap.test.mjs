// The component built with events that fail on demand: what a trap costs, and what it does not.
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { answer, follow, readAll } from "./support/index.mjs";
import { kitOf } from "./support/kit.mjs";
import { after, before, test } from "./support/test.mjs";

let kit;
before(() => {
  kit = kitOf("rejoin-traps.wasm");
});
after(() => kit.remove());

/** Streams of the component that traps, served. */
async function served(work) {
  const { MemoryStore, Streams, subscribe } = await kit.load();
  const streams = new Streams({ store: new MemoryStore() });
  const server = createServer((request, response) => void subscribe(streams, new URL(request.url, "http://x").pathname.slice(1), request, response)).listen(0, "127.0.0.1");
  await once(server, "listening");
  try {
    await work(streams, `http://127.0.0.1:${server.address().port}/`);
  } finally {
    server.closeAllConnections();
    server.close();
    await streams.close();
  }
}

// A memory is filled to its bound each time, which takes a while.
for (const [how, traps] of [["panic", [10, 11, 20, 39]], ["memory", [15]]]) {
  test(`a ${how} trap costs its batch only: the stream opens again, those that shared the instance notice nothing`, async () => {
    const { Trapped } = await kit.load();
    await served(async (streams, url) => {
      const [names, lines] = [["s", "beside-1", "beside-2"], answer(40)];
      for (const name of names) {
        await streams.create(name, {}, { userId: "u" });
        for (const line of lines.slice(0, 10)) await streams.append(name, line);
      }
      const readers = names.map((name) => readAll(`${url}${name}`));
      for (let at = 10; at < 40; at += 1) {
        const trap = traps.includes(at) && streams.append("s", [lines[at], { event: `test_trap_${how}`, data: {} }]);
        // At the same time, in the same instance.
        const beside = names.slice(1).map((name) => streams.append(name, lines[at]));
        if (trap) await assert.rejects(trap, Trapped);
        await Promise.all(beside);
        await streams.append("s", lines[at]);
      }
      for (const name of names) await streams.complete(name);
      for (const [at, frames] of (await Promise.all(readers)).entries()) {
        assert.deepEqual(frames.slice(0, -1).map((frame) => frame.data), lines, names[at]);
        assert.deepEqual(frames.map((frame) => Number(frame.id.split("-")[1])), Array.from({ length: 41 }, (_, n) => n + 1));
        const { parts, job } = await streams.content(names[at]);
        assert.equal(job.status, "complete");
        assert.equal(parts[0].text, Array.from({ length: 39 }, (_, n) => `w${n} `).join(""));
      }
    });
  });
}

test("a fold that traps takes no session with it, and the next fold and body are none the worse", async () => {
  const { Aggregator, Translator, Trapped, fold } = await kit.load();
  const [trap, beside] = [new Aggregator(), new Translator("events")];
  const says = (error) => error instanceof Trapped && /fold the log again/.test(error.message) && error.cause instanceof WebAssembly.RuntimeError;
  assert.throws(() => trap.push([{ event: "test_trap_panic", data: {} }]), says);
  for (const lost of [() => trap.parts(), () => trap.push(""), () => beside.push("")]) assert.throws(lost, Trapped);
  trap.close();
  beside.close();
  assert.equal(fold("[]"), "[]");
  assert.deepEqual(new Translator("events").push('data: {"event":"x"}\n\n'), { records: '{"event":"x"}\n' });
  await served(async (streams, url) => {
    await streams.create("s", {}, { userId: "u" });
    const reader = follow(`${url}s`);
    assert.throws(() => fold('[{"event":"test_trap_panic","data":{}}]'), Trapped);
    await streams.append("s", answer(1));
    assert.equal((await reader.next()).value.data, answer(1)[0]);
    await reader.return();
  });
});

test("a fold beyond the bound of memory traps, and folds that begin when much is held are apart from it", async () => {
  const { Aggregator, Trapped } = await kit.load();
  const [step, delta] = answer(2);
  const [large, small] = [new Aggregator(), new Aggregator()];
  for (const fold of [large, small]) fold.push([step, delta]);
  const longer = delta.replace("w0 ", "x".repeat(16 << 20));
  const grow = (times) => {
    for (let time = 0; time < times; time += 1) large.push(longer);
  };
  grow(3);
  const apart = new Aggregator();
  apart.push([step, delta]);
  assert.throws(() => grow(16), Trapped);
  assert.throws(() => small.json(), Trapped, "it began when little was held");
  assert.equal(apart.parts()[0].text, "w0 ");
  // Freed memory is used again: many large folds, one after another, are no large memory.
  for (let at = 0; at < 40; at += 1) {
    const one = new Aggregator();
    one.push([step, longer]);
    one.close();
  }
  assert.throws(() => new Aggregator().push([{ event: "test_trap_panic", data: {} }]), Trapped);
  assert.throws(() => apart.json(), Trapped, "no other instance was needed meanwhile");
});

test("a generation whose records trap ends in error, its readers hear of it, and the stream can be used again", async () => {
  await served(async (streams, url) => {
    // Written by a host whose component does not mind.
    const { Streams } = await import("rejoin-embed");
    const other = new Streams({ store: streams.store });
    await other.create("s", {}, { userId: "u" });
    await other.append("s", [...answer(3), { event: "test_trap_panic", data: {} }]);
    await assert.rejects(streams.content("s"), /cannot be opened: component trapped/);
    const frames = await readAll(`${url}s`);
    assert.equal(frames.length, 5);
    assert.equal(frames.at(-1).event, "error");
    assert.equal((await streams.store.job("s")).status, "error");
    const [state] = await readAll(`${url}s?resume=true`);
    assert.equal(JSON.parse(state.data).resumeState, null);
    assert.equal((await streams.create("s", {}, { userId: "u" })).made, true);
    assert.equal((await streams.append("s", answer(2))).appended, 2);
  });
});

test("a stream pays neither for the memory of those that share its instance, nor for their number so far", async () => {
  const { MemoryStore, Streams } = await import("rejoin-embed");
  const { instanceForSession } = await import("../dist/component.js");
  const streams = new Streams({ store: new MemoryStore({ charsMax: 1 << 30 }), recordBytesMax: 32 << 20 });
  const names = Array.from({ length: 8 }, (_, at) => `s${at}`);
  const [step] = answer(1);
  for (const name of names) {
    await streams.create(name, {}, { userId: "u" });
    await streams.append(name, step);
  }
  const shared = instanceForSession(false);
  // Each opens again: the other session has written.
  const other = new Streams({ store: streams.store });
  for (let at = 0; at < 100; at += 1) await (at % 2 ? streams : other).append("s0", step);
  assert.equal(instanceForSession(false), shared, "what has closed does not count");
  const delta = answer(2)[1].replace("w0 ", "x".repeat(16 << 20));
  for (const name of names) for (let at = 0; at < 2 && !shared.dead; at += 1) assert.equal((await streams.append(name, delta)).appended, 1, name);
  assert.ok(shared.dead, "one of them was too many for the shared instance");
  assert.equal((await streams.append("s7", step)).appended, 1);
  await streams.close();
  other.rooms.close();
});
