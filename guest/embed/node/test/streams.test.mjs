// Streams in one process: real sockets, readers that leave at every record, aborts.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { once } from "node:events";
import { MemoryStore, Refused, Streams, subscribe } from "rejoin-embed";
import { answer, follow, readAll } from "./support/index.mjs";
import { test } from "./support/test.mjs";

async function served(work, store = new MemoryStore()) {
  const streams = new Streams({ store });
  const server = createServer((request, response) => void subscribe(streams, "s", request, response)).listen(0, "127.0.0.1");
  await once(server, "listening");
  try {
    await work(streams, `http://127.0.0.1:${server.address().port}/`);
  } finally {
    server.closeAllConnections();
    server.close();
    await streams.close();
  }
}

test("a reader that leaves after any record and comes back misses nothing and gets nothing twice", async () => {
  await served(async (streams, url) => {
    const { job } = await streams.create("s", {}, { userId: "u" });
    const lines = answer(30);
    for (const line of lines) await streams.append("s", line);
    await streams.complete("s");
    const whole = await readAll(url);
    assert.deepEqual(whole.slice(0, -1).map((frame) => frame.data), lines);
    for (let left = 1; left < whole.length; left += 1) {
      const rest = await readAll(url, whole[left - 1].id);
      assert.deepEqual(rest, whole.slice(left), `after ${left}`);
    }
    const over = await fetch(url, { headers: { "last-event-id": whole.at(-1).id } });
    assert.equal(over.status, 204);
    assert.equal(JSON.parse(whole.at(-1).data).final, true);
    assert.equal(whole[0].id, `${job.generation}-1`);
  });
});

test("records arrive while they are appended, and a state holds what came before it", async () => {
  await served(async (streams, url) => {
    await streams.create("s", {}, { userId: "u" });
    const lines = answer(20);
    await streams.append("s", lines.slice(0, 5).join("\n"));
    const reading = readAll(`${url}?resume=true`);
    for (const line of lines.slice(5)) await streams.append("s", line);
    await streams.complete("s");
    const [first, ...rest] = await reading;
    const state = JSON.parse(first.data);
    assert.equal(state.sync, true);
    const covered = Number(first.id.split("-")[1]);
    assert.deepEqual(rest.slice(0, -1).map((frame) => frame.data), lines.slice(covered));
    assert.ok(JSON.stringify(state.resumeState.aggregatedContent).includes("w0"));
  });
});

test("an abort has one winner, its content, and stops the producer", async () => {
  const streams = new Streams({ store: new MemoryStore() });
  const { job } = await streams.create("s", {}, { userId: "u" });
  await streams.append("s", answer(3));
  const stopped = streams.stopped("s", job.generation);
  const { text, finalEvent } = await streams.abort("s");
  assert.equal(finalEvent.aborted, true);
  assert.equal(text, "w0 w1");
  if (!stopped.aborted) await once(stopped, "abort");
  await assert.rejects(streams.abort("s"), (error) => error instanceof Refused && error.reason === "not-active");
  await assert.rejects(streams.append("s", answer(1)), (error) => error instanceof Refused && error.value === "aborted");
  await streams.close();
});

test("a producer of an old generation is refused, its readers are told of the new one", async () => {
  await served(async (streams, url) => {
    const { job } = await streams.create("s", {}, { userId: "u" });
    await streams.append("s", answer(2));
    const reader = follow(url);
    await reader.next();
    const next = await streams.create("s", {}, { userId: "u" });
    assert.ok(next.job.generation > job.generation);
    await assert.rejects(streams.append("s", answer(1), { generation: job.generation }), { reason: "generation-replaced" });
    let last;
    for await (const frame of reader) last = JSON.parse(frame.data);
    assert.deepEqual([last.reconcile, last.generation], [true, next.job.generation]);
  });
});

test("a stream that is removed and made again at once never has the same generation", async () => {
  await served(async (streams) => {
    let last = 0;
    for (let round = 0; round < 50; round += 1) {
      const { job } = await streams.create("s", {}, { userId: "u" });
      assert.ok(job.generation > last, `${job.generation} after ${last}`);
      last = job.generation;
      await streams.remove("s");
    }
  });
});

test("repeats of a request change nothing", async () => {
  const streams = new Streams({ store: new MemoryStore() });
  const first = await streams.create("s", {}, { userId: "u", idempotencyKey: "k" });
  const again = await streams.create("s", {}, { userId: "u", idempotencyKey: "k" });
  assert.deepEqual([first.made, again.made, again.job.generation], [true, false, first.job.generation]);
  const producer = { id: "p", seq: 1 };
  const pushed = await streams.append("s", answer(3), { producer });
  const repeated = await streams.append("s", answer(3), { producer });
  assert.deepEqual([pushed.appended, repeated.appended, repeated.duplicate], [3, 0, 3]);
  await streams.close();
});

test("what is no record stops there: everything before is kept", async () => {
  const streams = new Streams({ store: new MemoryStore() });
  await streams.create("s", {}, { userId: "u" });
  const pushed = await streams.append("s", [...answer(2), "no JSON", ...answer(1)].join("\n"));
  assert.deepEqual([pushed.appended, pushed.stopped.line, pushed.stopped.reason.reason], [2, 3, "invalid"]);
  assert.equal((await streams.content("s")).job.head, 2);
  await streams.close();
});

/** Does something once, between the reading of a row and what follows it. */
class Between extends MemoryStore {
  async job(stream) {
    const job = await super.job(stream);
    const { work } = this;
    this.work = undefined;
    await work?.();
    return job;
  }
}

test("a reader that begins while the generation is replaced gets the new one to its end", async () => {
  const store = new Between();
  await served(async (streams, url) => {
    await streams.create("s", {}, { userId: "u" });
    await streams.complete("s");
    const lines = answer(6);
    store.work = async () => {
      await streams.create("s", {}, { userId: "u" });
      await streams.append("s", lines.slice(0, 3));
    };
    const reader = follow(`${url}?resume=true`);
    const { value: state } = await reader.next();
    assert.equal(JSON.parse(state.data).sync, true);
    await streams.append("s", lines.slice(3));
    await streams.complete("s");
    const frames = [];
    for await (const frame of reader) frames.push(frame);
    assert.deepEqual(frames.slice(0, -1).map((frame) => frame.data), lines.slice(3));
    assert.equal(JSON.parse(frames.at(-1).data).final, true);
  }, store);
});

test("a reader that begins while the generation ends gets the state, and the end", async () => {
  const store = new Between();
  await served(async (streams, url) => {
    await streams.create("s", {}, { userId: "u" });
    await streams.append("s", answer(3));
    store.work = () => streams.complete("s");
    const frames = await readAll(`${url}?resume=true`);
    assert.equal(frames.length, 2);
    assert.equal(JSON.parse(frames[0].data).sync, true);
    assert.equal(JSON.parse(frames[1].data).final, true);
  }, store);
});
