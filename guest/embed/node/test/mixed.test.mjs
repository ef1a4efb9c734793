// A Node replica and a Rust replica serve the same streams over one Redis, and each is killed once.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { setTimeout } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { answer, firstLine, follow, until } from "./support/index.mjs";
import { freePort, startRedis } from "./support/redis.mjs";
import { after, before, test } from "./support/test.mjs";

const STREAMS = 10;
const RECORDS = 100;
const program = process.env.REJOIN_PROGRAM ?? fileURLToPath(new URL("../../../../target/debug/rejoin", import.meta.url));

let redis;
const hosts = [];

/** A process that can be killed and started again on its port. */
async function host(start) {
  const port = await freePort();
  const it = { url: `http://127.0.0.1:${port}`, child: undefined };
  it.start = async () => {
    // Its port may be another's for a moment: then it ends at once.
    for (let attempt = 1; ; attempt += 1) {
      it.child = start(port);
      const why = await firstLine(it.child).then(() => undefined, (error) => error);
      if (!why) return;
      if (attempt === 20) throw new Error(`${it.child.spawnfile}: ${why.message}: build the Rust host first, or name it in REJOIN_PROGRAM`);
      await pause(250);
    }
  };
  it.kill = async () => {
    const gone = once(it.child, "exit");
    it.child.kill("SIGKILL");
    await gone;
  };
  hosts.push(it);
  await it.start();
  return it;
}

before(async () => {
  redis = await startRedis();
  const quiet = { stdio: ["ignore", "pipe", "ignore"] };
  await host((port) => spawn(program, ["--listen", `127.0.0.1:${port}`, "--store", redis.url, "--sessions-max", "512"], quiet));
  const replica = fileURLToPath(new URL("support/replica.mjs", import.meta.url));
  await host((port) => spawn(process.execPath, [replica, redis.url, String(port)], quiet));
});

after(async () => {
  over.abort(new Error("the test is over"));
  for (const it of hosts) it.child?.kill("SIGKILL");
  await redis?.stop();
});

/** Ends what would otherwise wait for ever when a test has failed. */
const over = new AbortController();

const pause = (ms) => setTimeout(ms, undefined, { signal: over.signal });

/** Repeats a request, on the other host each time, until one answers it: its headers make that harmless. */
async function post(turn, path, text, headers) {
  const end = Date.now() + 60_000;
  for (let at = turn; ; at += 1) {
    try {
      const response = await fetch(`${hosts[at % 2].url}/v1/streams/${path}`, {
        method: "POST",
        body: text,
        headers: { "content-type": path.endsWith("/events") ? "application/x-ndjson" : "application/json", ...headers },
        signal: AbortSignal.timeout(10_000),
      });
      const body = await response.json();
      if (response.ok) return body;
      if (response.status < 500) throw Object.assign(new Error(`${path}: ${response.status} ${JSON.stringify(body)}`), { final: true });
    } catch (error) {
      if (error.final || Date.now() > end) throw error;
    }
    await pause(50);
  }
}

/** Reads to the end and hops to another host at random; every record once, in order. */
async function read(stream, turn) {
  const [got, ids] = [[], []];
  for (let at = turn; ; at += 1) {
    // By what it has read: by the clock, a reader on a slow machine would never get anywhere.
    let left = 1 + Math.floor(Math.random() * 8);
    try {
      for await (const frame of follow(`${hosts[at % 2].url}/v1/streams/${stream}/events`, ids.at(-1), over.signal)) {
        got.push(frame.data);
        ids.push(frame.id);
        if (JSON.parse(frame.data).final) return { got, ids };
        left -= 1;
        if (left === 0) break;
      }
    } catch (error) {
      if (String(error).includes("404")) throw error;
    }
    await pause(20);
  }
}

/** Streams that are there, and records in the logs of all of them. */
let created = 0;
let appended = 0;

async function produce(stream, turn, lines) {
  await post(turn, stream, JSON.stringify({ userId: "u" }), { "idempotency-key": stream });
  created += 1;
  for (const [at, line] of lines.entries()) {
    await post(turn + at, `${stream}/events`, line, { "producer-id": "p", "producer-seq": String(at + 1) });
    appended += 1;
    await pause(5);
  }
  await post(turn, `${stream}/complete`, "{}");
}

test("both serve the same streams, each dies once, and nobody misses or repeats a record", async () => {
  const names = Array.from({ length: STREAMS }, (_, at) => `mixed-${at}`);
  const lines = names.map((name) => answer(RECORDS).map((line) => line.replace("step-1", `step-${name}`)));
  const producing = names.map((name, at) => produce(name, at, lines[at]));
  await until("all streams are there", () => created === STREAMS);
  const reading = names.flatMap((name, at) => [read(name, at), read(name, at + 1)]);
  for (const [at, it] of hosts.entries()) {
    // In the middle of it all, whatever the pace.
    await until("a quarter more is appended", () => appended >= (STREAMS * RECORDS * (at + 1)) / 4);
    await it.kill();
    await pause(300);
    assert.ok(appended < STREAMS * RECORDS, "it was still at work");
    await it.start();
  }
  await Promise.all(producing);
  for (const [at, { got, ids }] of (await Promise.all(reading)).entries()) {
    assert.deepEqual(got.slice(0, -1), lines[at >> 1], `reader ${at}`);
    assert.deepEqual(ids.map((id) => Number(id.split("-")[1])), Array.from({ length: RECORDS + 1 }, (_, n) => n + 1));
  }
});

/** The frames of a producer's signals. */
async function signals(url) {
  const frames = follow(url);
  return async () => JSON.parse((await frames.next()).value.data);
}

test("what is done on one is seen on the other: lists, readers, aborts, final records", async () => {
  const [rust, node] = hosts.map((it) => `${it.url}/v1/streams`);
  const headers = { "content-type": "application/json" };
  await fetch(`${node}/seen`, { method: "POST", body: '{"userId":"me","conversationId":"c"}', headers });
  await fetch(`${node}/seen/events`, { method: "POST", body: answer(3).join("\n") });
  const listed = async () => (await (await fetch(`${rust}?userId=me`)).json()).streams.map(({ status, ...job }) => [job.streamId ?? job.id ?? job.stream, status]);
  assert.deepEqual(await listed(), [["seen", "running"]]);
  const next = await signals(`${rust}/seen/signals`);
  const reader = follow(`${node}/seen/events`);
  assert.equal((await reader.next()).value.data, answer(3)[0]);
  assert.equal((await next()).signal, "ready");
  const aborted = await (await fetch(`${rust}/seen/abort`, { method: "POST" })).json();
  assert.equal(aborted.text, "w0 w1");
  const rest = [];
  for await (const frame of reader) rest.push(frame.data);
  assert.equal(JSON.parse(rest.at(-1)).aborted, true);
  assert.deepEqual(await listed(), [["seen", "aborted"]]);
  const last = await fetch(`${node}/seen/complete`, { method: "POST", body: "{}" });
  assert.deepEqual([last.status, (await last.json()).code], [409, "not-active"]);
});
