// What is asked too much, too oddly or too slowly: an answer that says so, and nothing that grows.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:http";
import { connect } from "node:net";
import { Writable } from "node:stream";
import { finished } from "node:stream/promises";
import { fileURLToPath } from "node:url";
import { MemoryStore, Overloaded, Refused, Streams, parseCursor, subscribe } from "rejoin-embed";
import { Shared } from "../dist/shared.js";
import { answer, follow, readAll, until } from "./support/index.mjs";
import { test } from "./support/test.mjs";

async function served(options, work, live = {}) {
  const streams = new Streams({ store: new MemoryStore(), ...options });
  const responses = [];
  const server = createServer((request, response) => {
    responses.push(response);
    void subscribe(streams, decodeURIComponent(new URL(request.url, "http://x").pathname.slice(1)), request, response, live);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  try {
    await work(streams, `http://127.0.0.1:${server.address().port}/`, responses);
  } finally {
    server.closeAllConnections();
    server.close();
    await streams.close();
  }
}

test("names that the Rust host refuses are refused, by commands and by the live stream", async () => {
  await served({}, async (streams, url) => {
    for (const name of ["", ".", "..", "a b", "a\n", "é", "x".repeat(257)]) {
      await assert.rejects(streams.create(name, {}), (error) => error instanceof Refused && error.reason === "invalid", JSON.stringify(name));
      assert.throws(() => streams.stopped(name, 1), Refused);
      if (name === "." || name === "..") continue;
      assert.equal((await fetch(url + encodeURIComponent(name))).status, 400, JSON.stringify(name));
    }
    for (const name of ["a", "a/b", "~!*'()", "...", "x".repeat(256)]) assert.equal((await streams.create(name, {}, { userId: "u" })).made, true, name);
  });
});

test("a cursor is two plain numbers; one that the log cannot go on from is reset", async () => {
  await served({}, async (streams, url) => {
    const { job } = await streams.create("s", {}, { userId: "u" });
    await streams.append("s", answer(3));
    await streams.complete("s");
    for (const bad of ["1", "1-", "-1", "a-1", "+1-1", " 1-1x", "1-1-1", "1-99999999999999999999", "9".repeat(200) + "-1"]) {
      assert.equal(parseCursor(bad), undefined, bad);
      assert.equal((await fetch(`${url}s`, { headers: { "last-event-id": bad } })).status, 400, bad);
      assert.equal((await fetch(`${url}s?after=${encodeURIComponent(bad)}`)).status, 400, bad);
    }
    for (const other of [`${job.generation - 1}-1`, `${job.generation}-99`, `18446744073709551615-18446744073709551615`]) {
      const [state, last] = await readAll(`${url}s`, other);
      assert.equal(JSON.parse(state.data).reset, true, other);
      assert.equal(state.id, `${job.generation}-3`);
      assert.equal(JSON.parse(last.data).final, true);
    }
    // The header wins over the address, and an empty one is none.
    const rest = await readAll(`${url}s?after=${job.generation}-1&resume=true`, `${job.generation}-3`);
    assert.equal(rest.length, 1);
    assert.equal((await readAll(`${url}s?after=${job.generation}-3`, "")).length, 1);
    assert.equal((await fetch(`${url}other`)).status, 404);
    assert.equal((await fetch(`${url}other?resume=true`)).status, 204);
  });
});

test("values of the wrong kind are refused and harm no session", async () => {
  await served({}, async (streams) => {
    await streams.create("s", {}, { userId: "u" });
    const odd = [
      () => streams.append("s", answer(1), { generation: 1.5 }),
      () => streams.append("s", answer(1), { generation: Number.NaN }),
      () => streams.append("s", answer(1), { producer: { id: "p", seq: -1 } }),
      () => streams.append("s", answer(1), { producer: { id: 7, seq: 1 } }),
      () => streams.fail("s", undefined),
      () => streams.create("t", {}, { userId: 7 }),
    ];
    for (const ask of odd) await assert.rejects(ask(), (error) => error instanceof Refused && error.reason === "invalid", String(ask));
    assert.equal((await streams.append("s", answer(2))).appended, 2);
  });
});

test("commands that wait, sessions, users, readers and bytes have their bounds", async () => {
  const store = new MemoryStore({ jobsPerUserMax: 3, charsMax: 10_000 });
  await served({ store, waitingMax: 8, sessionsMax: 3, subscribersPerStreamMax: 2, subscribersMax: 3, sessionIdleMs: 1 }, async (streams, url) => {
    await streams.create("a", {}, { userId: "u" });
    const many = Array.from({ length: 20 }, () => streams.append("a", answer(1)));
    const settled = await Promise.allSettled(many);
    assert.deepEqual([settled.filter((one) => one.status === "fulfilled").length, settled.filter((one) => one.reason instanceof Overloaded).length], [8, 12]);

    for (const name of ["b", "c"]) await streams.create(name, {}, { userId: "u" });
    await assert.rejects(streams.create("d", {}, { userId: "u" }), Overloaded, "sessions, or jobs of this user");
    await until("sessions without work go", () => streams.sessions === 0);
    await assert.rejects(streams.create("d", {}, { userId: "u" }), /3 active jobs/);
    assert.equal((await streams.create("a", {}, { userId: "u" })).made, true, "it takes an active one's place");

    const readers = [follow(`${url}a`), follow(`${url}a`)];
    await streams.append("a", answer(1));
    for (const reader of readers) await reader.next();
    const refused = await fetch(`${url}a`);
    assert.deepEqual([refused.status, refused.headers.get("retry-after")], [429, "5"]);
    const third = follow(`${url}b`);
    await streams.append("b", answer(1));
    await third.next();
    assert.equal((await fetch(`${url}c`)).status, 503);
    await third.return();
    await until("a place is free again", async () => {
      const stop = new AbortController();
      const { status } = await fetch(`${url}c`, { signal: stop.signal });
      stop.abort();
      return status === 200;
    });

    const big = JSON.stringify({ event: "x", data: "x".repeat(4_000) });
    await streams.append("a", [big, big]);
    await assert.rejects(streams.append("a", [big]), /store full/);
    assert.equal((await streams.complete("a")).status, "complete", "the end is written all the same");
    await streams.remove("a");
    await streams.append("b", [big]);
    await Promise.all(readers.map((reader) => reader.return()));
  });
});

test("a reader that takes nothing costs a page, loses nothing, and is cut when it stalls", async () => {
  const record = (at) => JSON.stringify({ event: "x", data: { at, more: "x".repeat(20_000) } });
  await served({}, async (streams, url, responses) => {
    await streams.create("s", {}, { userId: "u" });
    const socket = connect(Number(new URL(url).port), "127.0.0.1");
    socket.on("error", () => {});
    socket.pause();
    socket.write("GET /s HTTP/1.1\r\nhost: x\r\n\r\n");
    await until("it is connected", () => responses.length === 1);
    const quick = readAll(`${url}s`);
    for (let at = 0; at < 500; at += 1) await streams.append("s", record(at));
    await streams.complete("s");
    assert.equal((await quick).length, 501);
    // 10 MB were appended; the socket's own buffers and one page are all that waits.
    assert.ok(responses[0].writableLength < 200_000, `${responses[0].writableLength} bytes wait`);
    let text = "";
    socket.setEncoding("utf8").on("data", (some) => (text += some));
    socket.resume();
    await until("it got the end", () => text.includes('"final":true'));
    assert.equal(text.match(/^id: /gm).length, 501);
    socket.destroy();
  });
  await served({}, async (streams, url, responses) => {
    await streams.create("s", {}, { userId: "u" });
    for (let at = 0; at < 500; at += 1) await streams.append("s", record(at));
    const socket = connect(Number(new URL(url).port), "127.0.0.1");
    socket.on("error", () => {});
    socket.pause();
    socket.write("GET /s HTTP/1.1\r\nhost: x\r\n\r\n");
    await until("it is cut", () => responses[0]?.destroyed);
    socket.destroy();
  }, { stallMs: 200 });
});

test("a reader that takes little, but something, is not cut", async () => {
  const streams = new Streams({ store: new MemoryStore() });
  await streams.create("s", {}, { userId: "u" });
  const record = JSON.stringify({ event: "x", data: "x".repeat(400_000) });
  await streams.append("s", record);
  await streams.complete("s");
  // Takes a KiB each millisecond, and says so when a whole piece is gone, as a socket does.
  let text = "";
  const response = new Writable({
    write(bytes, _, done) {
      text += bytes;
      setTimeout(done, bytes.length / 1024);
    },
  });
  await subscribe(streams, "s", { url: "/", headers: {}, method: "GET" }, Object.assign(response, { writeHead: () => response }), { stallMs: 200 });
  await finished(response);
  assert.ok(text.includes(record) && text.includes('"final":true'));
  await streams.close();
});

test("readers that come back at once take no place from who writes", async () => {
  // As slow to answer as a store elsewhere.
  class Far extends MemoryStore {
    async head(stream) {
      await new Promise((resolve) => setTimeout(resolve, 20));
      return super.head(stream);
    }
  }
  await served({ store: new Far(), waitingMax: 8 }, async (streams, url) => {
    await streams.create("s", {}, { userId: "u" });
    await streams.append("s", answer(3));
    const readers = Array.from({ length: 50 }, () => readAll(`${url}s?resume=true`));
    const cuts = Array.from({ length: 300 }, () => streams.cut("s"));
    const gone = Array.from({ length: 300 }, () => streams.isGone("s"));
    assert.equal((await streams.append("s", answer(1))).appended, 1);
    assert.ok((await Promise.all(cuts)).every(({ at }) => at.sequence >= 3));
    assert.ok((await Promise.all(gone)).every((is) => !is));
    assert.equal((await streams.cut("s")).at.sequence, 4);
    await streams.complete("s");
    for (const frames of await Promise.all(readers)) {
      const sequences = frames.map(({ id }) => Number(id.split("-")[1]));
      assert.deepEqual(sequences, Array.from({ length: sequences.length }, (_, at) => 6 - sequences.length + at), "each once, from its state on");
      assert.equal(JSON.parse(frames[0].data).sync, true);
      assert.equal(sequences.at(-1), 5);
    }
  });
});

test("an answer that is shared is never older than its question", async () => {
  let [made, release] = [0, () => {}];
  const shared = new Shared(() => new Promise((resolve) => (release = resolve.bind(null, (made += 1)))));
  const first = shared.get("a");
  const later = [shared.get("a"), shared.get("a")];
  release();
  assert.equal(await first, 1);
  await until("the next is made", () => made === 2);
  release();
  assert.deepEqual(await Promise.all(later), [2, 2]);
  const after = shared.get("a");
  release();
  assert.equal(await after, 3);
});

test("bodies that wait for their turn leave the one that has it its commands", async () => {
  await served({ waitingMax: 4 }, async (streams) => {
    await streams.create("s", {}, { userId: "u" });
    const bodies = Array.from({ length: 4 }, () => streams.appendBody("s", "events", [`data: ${answer(1)[0]}\n\n`]));
    assert.deepEqual((await Promise.all(bodies)).map(({ appended }) => appended), [1, 1, 1, 1]);
    const many = Array.from({ length: 6 }, () => streams.appendBody("s", "events", [`data: ${answer(1)[0]}\n\n`]));
    const settled = await Promise.allSettled(many);
    assert.equal(settled.filter((one) => one.reason instanceof Overloaded).length, 2);
  });
});

test("appends of little cost what they take", async () => {
  await served({ store: new MemoryStore({ charsMax: 10_000 }) }, async (streams) => {
    await streams.create("s", {}, { userId: "u" });
    await assert.rejects(async () => {
      for (let at = 0; at < 40; at += 1) await streams.append("s", '{"event":"x"}');
    }, /store full/);
  });
});

test("who joins a host that is closed is told so", async () => {
  const streams = new Streams({ store: new MemoryStore() });
  const { job } = await streams.create("s", {}, { userId: "u" });
  streams.rooms.close();
  assert.equal(streams.rooms.isFull("s"), "host");
  const signal = streams.stopped("s", job.generation);
  await until("the producer is told", () => signal.aborted);
  await streams.close();
});

test("silence is a comment", async () => {
  await served({}, async (streams, url) => {
    await streams.create("s", {}, { userId: "u" });
    const { body } = await fetch(`${url}s`);
    let text = "";
    for await (const some of body.pipeThrough(new TextDecoderStream())) {
      text += some;
      if (text.split(": keep-alive\n\n").length > 3) break;
    }
    assert.match(text, /^retry: 1000\n\n(: keep-alive\n\n){3}/);
  }, { keepAliveMs: 20 });
});

test("close ends live responses and what watches, and the process can end", async () => {
  const program = fileURLToPath(new URL("support/closing.mjs", import.meta.url));
  const child = spawn(process.execPath, [program], { stdio: ["ignore", "pipe", "inherit"] });
  const late = setTimeout(() => child.kill("SIGKILL"), 150_000);
  let said = "";
  child.stdout.on("data", (some) => (said += some));
  const [code] = await once(child, "exit");
  clearTimeout(late);
  assert.deepEqual([code, said], [0, "response ended\nslow reader cut\nproducer told\nrefused afterwards\n"]);
});
