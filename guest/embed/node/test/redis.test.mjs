// Two Node replicas over one Redis.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";
import { Streams, subscribe } from "rejoin-embed";
import { RedisStore } from "rejoin-embed/redis";
import scripts from "../generated/scripts.js";
import { answer, follow, readAll, until } from "./support/index.mjs";
import { proxyOf, startRedis } from "./support/redis.mjs";
import { after, before, test } from "./support/test.mjs";

let redis;
const replicas = [];

async function replica(options = {}) {
  const streams = new Streams({ store: options.store ?? new RedisStore({ url: redis.url, ...options }) });
  const server = createServer((request, response) => {
    const stream = new URL(request.url, "http://x").pathname.slice(1);
    subscribe(streams, stream, request, response).catch(() => response.destroy());
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const made = { streams, url: `http://127.0.0.1:${server.address().port}/`, server };
  replicas.push(made);
  return made;
}

before(async () => {
  redis = await startRedis();
});
after(async () => {
  for (const { streams, server } of replicas) {
    server.closeAllConnections();
    server.close();
    await streams.close();
  }
  await redis?.stop();
});

test("what is appended on one replica is read live on the other, in order, once", async () => {
  const [here, there] = [await replica(), await replica()];
  await here.streams.create("a", { conversationId: "c" }, { userId: "u" });
  const reader = follow(`${there.url}a`);
  const lines = answer(50);
  await here.streams.append("a", lines[0]);
  assert.equal((await reader.next()).value.data, lines[0]);
  // Appends from both in turn: each session is behind each time, and opens again.
  for (const [at, line] of lines.slice(1).entries()) await (at % 2 ? here : there).streams.append("a", line);
  await there.streams.complete("a");
  const frames = [];
  for await (const frame of reader) frames.push(frame);
  assert.deepEqual(frames.slice(0, -1).map((frame) => frame.data), lines.slice(1));
  assert.equal(JSON.parse(frames.at(-1).data).final, true);
  assert.deepEqual(await readAll(`${here.url}a`, frames[9].id), frames.slice(10));
});

test("an abort on one replica stops the producer on the other", async () => {
  const [here, there] = [await replica(), await replica()];
  const { job } = await here.streams.create("b", {}, { userId: "u" });
  await here.streams.append("b", answer(3));
  const stopped = here.streams.stopped("b", job.generation);
  const aborted = await there.streams.abort("b");
  if (!stopped.aborted) await once(stopped, "abort");
  assert.equal(aborted.text, "w0 w1");
  await assert.rejects(here.streams.append("b", answer(1)), { reason: "not-active" });
});

test("every key has an end", async () => {
  const { streams } = await replica();
  await streams.create("c", {}, { userId: "u" });
  for (const line of answer(300)) await streams.append("c", line);
  await streams.complete("c");
  const keys = await redis.client.keys("*");
  assert.ok(keys.some((key) => key.endsWith("{c}:checkpoint")), keys.join(" "));
  for (const key of keys) assert.ok((await redis.client.pttl(key)) > 0, key);
});

test("scripts that the server forgets are sent again", async () => {
  const { streams } = await replica();
  await streams.create("d", {}, { userId: "u" });
  for (const line of answer(20)) {
    await redis.client.script("FLUSH");
    await streams.append("d", line);
  }
  assert.equal((await streams.content("d")).job.head, 20);
});

/** Reads to the end as a browser does: whoever is cut comes back with its cursor. */
async function readOn(url) {
  const frames = [];
  for (const end = Date.now() + 60_000; Date.now() < end; await new Promise((resolve) => setTimeout(resolve, 10))) {
    try {
      for await (const frame of follow(url, frames.at(-1)?.id)) frames.push(frame);
    } catch (error) {
      // For the moment in which nobody has given it back yet.
      if (!String(error).includes("404")) throw error;
    }
    if (frames.length > 0 && JSON.parse(frames.at(-1).data).final) return frames;
  }
  throw new Error("no last record came");
}

test("what Redis forgets, the session that wrote it gives back", async () => {
  const { streams, url } = await replica();
  const lines = answer(30);
  const { job: made } = await streams.create("e", {}, { userId: "u" });
  const signal = streams.stopped("e", made.generation);
  const reader = readOn(`${url}e`);
  for (const [at, line] of lines.entries()) {
    if (at === 10 || at === 20) await redis.client.flushall();
    await streams.append("e", line);
  }
  const { parts, job } = await streams.content("e");
  assert.deepEqual([job.head, parts[0].text], [30, lines.slice(1).map((_, at) => `w${at} `).join("")]);
  await redis.client.flushall();
  assert.equal((await streams.content("e")).job.head, 30, "what is only read is given back too");
  assert.equal(signal.aborted, false, "the producer goes on");
  await streams.complete("e");
  const frames = await reader;
  // Each record once, or a state that holds it: nothing is missing, and the hole is told.
  let at = 0;
  for (const { id, data } of frames) {
    const sequence = Number(id.split("-")[1]);
    const { sync, reset, final } = JSON.parse(data);
    assert.ok(sync ? reset && sequence >= at : sequence === at + 1, `${id} after ${at}`);
    if (!sync && !final) assert.equal(data, lines[sequence - 1]);
    at = sequence;
  }
  assert.equal(at, 31);
});

test("a Redis that is away for a moment was never away", async () => {
  const { streams, url } = await replica();
  await streams.create("f", {}, { userId: "u" });
  const reader = readAll(`${url}f`);
  const lines = answer(20);
  for (const [at, line] of lines.entries()) {
    // Everything waits for so long; connections that were killed are made again.
    if (at === 5) await redis.client.call("CLIENT", "PAUSE", "500", "ALL");
    if (at === 10) await redis.client.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes");
    if (at === 15) await redis.client.call("CLIENT", "KILL", "TYPE", "pubsub");
    await streams.append("f", line);
  }
  await streams.complete("f");
  assert.deepEqual((await reader).slice(0, -1).map((frame) => frame.data), lines);
});

test("a generation ends, for who has written it and for others, though Redis has no memory left", async () => {
  const [here, there] = [await replica(), await replica()];
  for (const name of ["full-1", "full-2"]) {
    await here.streams.create(name, {}, { userId: "u" });
    await here.streams.append(name, answer(2));
  }
  await redis.client.config("SET", "maxmemory", "1");
  try {
    await assert.rejects(here.streams.append("full-1", answer(1)), /store full/);
    assert.equal((await here.streams.complete("full-1")).status, "complete");
    assert.equal((await there.streams.abort("full-2")).job.status, "aborted");
  } finally {
    await redis.client.config("SET", "maxmemory", "0");
  }
  assert.equal(JSON.parse((await readAll(`${here.url}full-2`)).at(-1).data).aborted, true);
});

test("what Redis has accepted is accepted, though it has no memory left to note it in the index", async () => {
  const place = createHash("sha1").update(scripts.place).digest("hex");
  let refused = 0;
  const proxy = await proxyOf(redis.port, (bytes, client, server) => {
    if (!bytes.includes(place)) return void server.write(bytes);
    refused += 1;
    client.write("-OOM command not allowed when used memory > 'maxmemory'.\r\n");
  });
  const { streams, url } = await replica({ url: proxy.url });
  try {
    await streams.create("unplaced", {}, { userId: "u" });
    await streams.append("unplaced", answer(2));
    assert.equal((await streams.complete("unplaced")).status, "complete");
    assert.equal((await readAll(`${url}unplaced`)).length, 3);
    assert.ok(refused >= 2, `${refused} refused`);
  } finally {
    await streams.close();
    await proxy.stop();
  }
});

test("channels are asked for again until it succeeds, however often the connection drops", async () => {
  // When one asks for a channel, all connections drop and new ones are refused for a while, as often as it is told.
  let drops = 0;
  const proxy = await proxyOf(redis.port, (bytes, _, server) => {
    if (drops === 0 || !/subscribe/i.test(bytes.toString("latin1"))) return void server.write(bytes);
    drops -= 1;
    const { port } = proxy.server.address();
    proxy.server.close();
    proxy.drop();
    setTimeout(() => proxy.server.listen(port, "127.0.0.1"), 300);
  });
  // Nobody may take its port meanwhile and end the process with that.
  proxy.server.on("error", () => setTimeout(() => proxy.server.listen(Number(new URL(proxy.url).port), "127.0.0.1"), 50));
  const store = new RedisStore({ url: proxy.url });
  const isHeard = (stream) => until(`${stream} is followed`, async () => (await redis.client.pubsub("NUMSUB", `rejoin:{${stream}}:wake`))[1] === 1);
  try {
    await store.job("h1");
    drops = 1;
    store.follow("h1", () => {});
    await isHeard("h1");
    store.follow("h2", () => {});
    await isHeard("h2");
    drops = 2;
    await redis.client.call("CLIENT", "KILL", "TYPE", "pubsub");
    for (const stream of ["h1", "h2"]) await isHeard(stream);
    await until("it was dropped as often as it was told", () => drops === 0);
  } finally {
    await store.close();
    await proxy.stop();
  }
});

/** Ends no idle job before it is told to. */
class Patient extends RedisStore {
  isPatient = true;
  async sweep() {
    return this.isPatient ? [] : super.sweep();
  }
}

test("an idle job ends by itself", async () => {
  const store = new Patient({ url: redis.url, prefix: "idle", idleMs: 300 });
  const { streams, url } = await replica({ store });
  await streams.create("g", {}, { userId: "u" });
  await streams.append("g", answer(2));
  store.isPatient = false;
  const frames = await readAll(`${url}g`);
  assert.equal(frames.at(-1).event, "error");
  assert.match(frames.at(-1).data, /timed out/);
});

test("what is over is forgotten, with all that there was of it", async () => {
  const { streams } = await replica({ prefix: "short", retentionMs: 300 });
  await streams.create("g", {}, { userId: "u" });
  await streams.append("g", answer(2));
  await streams.complete("g");
  await until("the index forgets it", async () => (await redis.client.hlen("short:{index}:places")) === 0);
  assert.deepEqual((await redis.client.keys("short:{g}:*")).filter((key) => !key.endsWith(":removed")), []);
  await assert.rejects(streams.content("g"), { reason: "not-found" });
});
