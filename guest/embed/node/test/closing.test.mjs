// What is closed, cut or left in the middle of things: everybody is told, nothing stays.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:http";
import { connect, createServer as createListener } from "node:net";
import { Writable } from "node:stream";
import { fileURLToPath } from "node:url";
import { MemoryStore, Overloaded, Streams, Unavailable, subscribe } from "rejoin-embed";
import { RedisStore } from "rejoin-embed/redis";
import { instanceForSession } from "../dist/component.js";
import { answer, until } from "./support/index.mjs";
import { fakeRedis, freePort, proxyOf, startRedis } from "./support/redis.mjs";
import { after, before, test } from "./support/test.mjs";

let redis;
before(async () => {
  redis = await startRedis();
});
after(() => redis?.stop());

/** Turns of the event loop after which streams are closed: a few more than it takes until the first records are appended. */
const TURNS = 60;

/** What `leaving.mjs` finds wrong with a Redis at `url`. It ends by itself. */
async function left(url) {
  const program = fileURLToPath(new URL("support/leaving.mjs", import.meta.url));
  const child = spawn(process.execPath, [program, url, String(TURNS)], { stdio: ["ignore", "pipe", "inherit"] });
  let said = "";
  child.stdout.on("data", (some) => (said += some));
  const late = setTimeout(() => child.kill("SIGKILL"), 150_000);
  const [code, signal] = await once(child, "close");
  clearTimeout(late);
  return [signal ?? code, said];
}

const isAlone = () => until("no connection is left at Redis", async () => (await redis.client.client("LIST")).trim().split("\n").length === 1);

test("streams that are closed at any step end, and let the process end", async () => {
  assert.deepEqual(await left(redis.url), [0, ""]);
  await isAlone();
});

test("the same where Redis refuses connections", async () => {
  assert.deepEqual(await left(`redis://127.0.0.1:${await freePort()}`), [0, ""]);
});

test("the same where Redis takes connections and says nothing", async () => {
  redis.signal("SIGSTOP");
  try {
    assert.deepEqual(await left(redis.url), [0, ""]);
  } finally {
    redis.signal("SIGCONT");
  }
  await isAlone();
});

test("the same where connections drop after some bytes", async () => {
  const passed = new Map();
  let connections = 0;
  const proxy = await proxyOf(redis.port, (bytes, client, server) => {
    // Each a little later than the one before.
    const left = (passed.get(client) ?? (connections += 1) * 97 % 2500) - bytes.length;
    passed.set(client, left);
    if (left < 0) client.destroy();
    else server.write(bytes);
  });
  try {
    assert.deepEqual(await left(proxy.url), [0, ""]);
  } finally {
    await proxy.stop();
  }
  await isAlone();
});

test("connections on which nothing is said any more are dropped: others are made, and what had no answer is written once", async () => {
  const proxy = await proxyOf(redis.port);
  const [streams, other] = [proxy.url, redis.url].map((url) => new Streams({ store: new RedisStore({ url, prefix: "frozen" }), storeWaitMs: 60_000 }));
  try {
    const { job } = await streams.create("s", {}, { userId: "u" });
    const heard = [];
    streams.store.follow("s", (wake) => heard.push(wake.is));
    const channel = "frozen:{s}:wake";
    await until("it is followed", async () => (await redis.client.pubsub("NUMSUB", channel))[1] === 1);
    proxy.freeze();
    const pushed = await streams.append("s", answer(3), { generation: job.generation });
    assert.deepEqual([pushed.appended, pushed.last.sequence], [3, 3]);
    const page = await other.store.read("s", { generation: job.generation, sequence: 0 }, 1 << 20);
    assert.deepEqual(page.entries.map(({ count }) => count), [3]);
    heard.length = 0;
    await until("what others append is heard again", async () => {
      await other.append("s", answer(1));
      return heard.includes("entry");
    });
  } finally {
    await streams.close();
    await other.close();
    await proxy.stop();
  }
});

test("a store that closes does not wait for a Redis that has fallen silent", async () => {
  const streams = new Streams({ store: new RedisStore({ url: redis.url, prefix: "silent" }) });
  const { job } = await streams.create("s", {}, { userId: "u" });
  const leave = streams.rooms.join("s", () => {}, true);
  redis.signal("SIGSTOP");
  try {
    const [asked, appended] = [streams.store.head("s"), streams.append("s", answer(1), { generation: job.generation })];
    const told = Promise.all([assert.rejects(asked, /this store is closed/), assert.rejects(appended, /is closed/)]);
    await Promise.all([streams.close(), told]);
    leave();
  } finally {
    redis.signal("SIGCONT");
  }
  await isAlone();
});

test("so many commands wait for Redis, and no more; whoever waits is told when the store closes", async () => {
  const store = new RedisStore({ url: `redis://127.0.0.1:${await freePort()}` });
  const waiting = Array.from({ length: 65_536 }, () => store.head("s").catch((error) => error));
  await assert.rejects(store.head("s"), Overloaded);
  await store.close();
  const errors = await Promise.all(waiting);
  assert.ok(errors.every((error) => error instanceof Unavailable && /closed/.test(error.message)), errors[0].message);
  await assert.rejects(store.head("s"), /closed/);
});

/** What is answered to `head` of a stream that there is not. */
const NONE = `*8\r\n${"$-1\r\n".repeat(8)}`;
test("so many commands wait for an answer of Redis, and no more", async () => {
  let isSilent = false;
  const fake = await fakeRedis((socket) => isSilent || socket.write(NONE));
  const store = new RedisStore({ url: fake.url });
  try {
    await store.head("s");
    isSilent = true;
    const waiting = Array.from({ length: 65_536 }, () => store.head("s").catch((error) => error));
    await assert.rejects(store.head("s"), Overloaded);
    await store.close();
    // Sending so many may take longer than any of them waits.
    for (const error of await Promise.all(waiting)) assert.ok(error instanceof Unavailable, error.message);
  } finally {
    fake.stop();
  }
});

const heads = (store, count) => Promise.all(Array.from({ length: count }, () => store.head("s").then(() => "answered", ({ message }) => message)));
/** That nothing else came in place of an answer. */
const areLate = (said) => {
  for (const one of said) assert.match(one, /^answered$|^Redis cannot be reached: (it does not answer|connections to it drop)$/);
};

test("a Redis that answers, but slower than it is asked, is not asked more and more: its connection is dropped", async () => {
  const fake = await fakeRedis(() => {});
  const store = new RedisStore({ url: fake.url });
  const slow = setInterval(() => {
    for (const { socket, taken, isOpen } of fake.connections) if (taken > 0 && isOpen) socket.write(NONE);
  }, 1000);
  try {
    areLate(await heads(store, 2000));
    await until("its connection is dropped", () => fake.connections.some(({ taken, isOpen }) => taken >= 1024 && !isOpen));
  } finally {
    clearInterval(slow);
    await store.close();
    fake.stop();
  }
});

test("late commands that were answered in the end do not count", async () => {
  // Answers come together, later than anybody waits for them: what was asked between is answered with them.
  const held = [];
  let isSlow = true;
  const fake = await fakeRedis((socket, [name]) => {
    if (name !== "hmget") socket.write("+OK\r\n");
    else if (isSlow) held.push(socket);
    else socket.write(NONE);
  });
  const store = new RedisStore({ url: fake.url });
  // Not silent, though.
  const alive = setInterval(() => held.length > 1 && held.pop().write(NONE), 500);
  try {
    for (let round = 0; round < 2; round += 1) {
      isSlow = true;
      areLate(await heads(store, 700));
      for (const socket of held.splice(0)) socket.write(NONE);
      isSlow = false;
      assert.deepEqual(await heads(store, 1), ["answered"]);
    }
    assert.deepEqual(fake.connections.map(({ isOpen }) => isOpen), [true, true], "those that there were first");
  } finally {
    clearInterval(alive);
    await store.close();
    fake.stop();
  }
});

test("so many channels are asked for without an answer, and no more: the next connection asks for those that are left", async () => {
  const channels = [];
  const fake = await fakeRedis((socket, [name, ...of]) => {
    // What the first had been told comes yet when another stands.
    const isFirst = fake.connections.slice(0, 2).some((one) => one.socket === socket);
    if (name === "subscribe" && !isFirst) channels.push(...of);
  });
  const store = new RedisStore({ url: fake.url });
  try {
    await until("both connections stand", () => fake.connections.length === 2);
    store.follow("first", () => {});
    await until("it listens", () => fake.connections.some(({ taken }) => taken > 0) || void store.follow("more", () => {})());
    for (let at = 0; at < 40_000; at += 1) store.follow(`s-${at}`, () => {})();
    await until("another connection asks", () => channels.length > 0);
    assert.deepEqual(channels, ["rejoin:{first}:wake"]);
    for (const { taken } of fake.connections) assert.ok(taken <= 65_536, `${taken} commands`);
  } finally {
    await store.close();
    fake.stop();
  }
});

test("a server that drops who comes is told as that, not in words of the client about itself", async () => {
  const dropping = createListener((socket) => socket.on("error", () => {}).once("data", () => socket.destroy())).listen(0, "127.0.0.1");
  await once(dropping, "listening");
  const store = new RedisStore({ url: `redis://127.0.0.1:${dropping.address().port}` });
  try {
    await assert.rejects(store.head("s"), { message: "Redis cannot be reached: connections to it drop" });
  } finally {
    await store.close();
    dropping.close();
  }
});

test("a Redis that refuses who asks says so at once, and what names no Redis is refused", async () => {
  const store = new RedisStore({ url: redis.url.replace("//", "//nobody:wrong@") });
  const streams = new Streams({ store, storeWaitMs: 600_000 });
  await assert.rejects(streams.create("s", {}, { userId: "u" }), /Redis refuses: WRONGPASS/);
  await streams.close();
  for (const url of ["localhost:6379", "http://localhost", "redis://localhost/x", "redis://localhost/1/2"]) assert.throws(() => new RedisStore({ url }), /the url of a Redis is/, url);
});

test("readers that leave at any step leave nothing behind", async () => {
  const streams = new Streams({ store: new RedisStore({ url: redis.url, prefix: "leave" }) });
  let [over, begun] = [0, 0];
  const server = createServer((request, response) => {
    begun += 1;
    void subscribe(streams, "s", request, response).finally(() => (over += 1));
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const followed = async () => (await redis.client.pubsub("NUMSUB", "leave:{s}:wake"))[1];
  try {
    await streams.create("s", {}, { userId: "u" });
    await streams.append("s", JSON.stringify({ event: "x", data: "x".repeat(100_000) }));
    for (let turns = 0; turns < 60; turns += 1) {
      const socket = connect(server.address().port, "127.0.0.1").on("error", () => {});
      await once(socket, "connect");
      // Every other one comes back to a state, and every third takes nothing.
      socket.write(`GET /?resume=${turns % 2 === 0} HTTP/1.1\r\nhost: x\r\n\r\n`);
      if (turns % 3) socket.resume();
      const appended = streams.append("s", answer(1));
      for (let turn = 0; turn < turns; turn += 1) await new Promise(setImmediate);
      socket.destroy();
      await appended;
    }
    await until("all have left", () => begun > 0 && over === begun);
    await until("nobody listens at Redis", async () => (await followed()) === 0);
  } finally {
    server.closeAllConnections();
    server.close();
    await streams.close();
  }
});

test("a reader that waits in a pipeline and leaves is let go, and so is one that takes nothing", async () => {
  const streams = new Streams({ store: new MemoryStore() });
  let [over, begun] = [0, 0];
  const live = { stallMs: 600_000 };
  const server = createServer((request, response) => {
    begun += 1;
    void subscribe(streams, "s", request, response, live).finally(() => (over += 1));
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const pipeline = async () => {
    [over, begun] = [0, 0];
    const socket = connect(server.address().port, "127.0.0.1").on("error", () => {}).resume();
    socket.write("GET / HTTP/1.1\r\nhost: x\r\n\r\n".repeat(3));
    await until("all were asked", () => begun === 3);
    return socket;
  };
  try {
    await streams.create("s", {}, { userId: "u" });
    (await pipeline()).destroy();
    await until("all have left", () => over === 3);
    // What is sent to who waits stays here: more than a little is not taken.
    live.stallMs = 200;
    const socket = await pipeline();
    await streams.append("s", JSON.stringify({ event: "x", data: "x".repeat(200_000) }));
    await until("those that wait are cut", () => over >= 2);
    socket.destroy();
    await until("all have left", () => over === 3);
  } finally {
    server.closeAllConnections();
    server.close();
    await streams.close();
  }
});

test("a client that never takes the last bytes is cut, too", async () => {
  const streams = new Streams({ store: new MemoryStore() });
  await streams.create("s", {}, { userId: "u" });
  await streams.complete("s");
  // Takes what is written, and never says that it has.
  const response = new Writable({ highWaterMark: 1 << 20, write: () => {} });
  await subscribe(streams, "s", { url: "/", headers: {}, method: "GET" }, Object.assign(response, { writeHead: () => response }), { stallMs: 50 });
  await until("it is cut", () => response.destroyed);
  await streams.close();
});

test("a host that closes waits for no body, whether it says nothing or does not hear that nobody reads it", async () => {
  const streams = new Streams({ store: new MemoryStore() });
  await streams.create("s", {}, { userId: "u" });
  const [line] = answer(1);
  async function* silent() {
    yield `data: ${line}\n\n`;
    await new Promise(() => {});
  }
  const body = streams.appendBody("s", "events", silent());
  await until("its first record is appended", async () => (await streams.content("s")).job.head === 1);
  const deaf = { [Symbol.asyncIterator]: () => ({ next: async () => ({ done: false, value: "data: no JSON\n\n" }), return: () => new Promise(() => {}) }) };
  await assert.rejects(streams.appendBody("s", "events", deaf), { reason: "invalid" });
  await streams.close();
  await assert.rejects(body, /this host is closed/);
  await assert.rejects(streams.appendBody("s", "events", silent()), /this host is closed/);
});

test("bodies that say nothing any more do not keep a process whose host has closed", async () => {
  const model = createServer((_, response) => void response.write(`data: ${answer(1)[0]}\n\n`)).listen(0, "127.0.0.1");
  await once(model, "listening");
  const program = fileURLToPath(new URL("support/silent-body.mjs", import.meta.url));
  const child = spawn(process.execPath, [program, `http://127.0.0.1:${model.address().port}/`], { stdio: ["ignore", "pipe", "inherit"] });
  const late = setTimeout(() => child.kill("SIGKILL"), 60_000);
  try {
    let said = "";
    child.stdout.on("data", (some) => (said += some));
    assert.deepEqual([await once(child, "close"), said], [[0, null], "this host is closed\n".repeat(3)]);
  } finally {
    clearTimeout(late);
    model.closeAllConnections();
    model.close();
  }
});

test("a host that closes while commands are under way gives their sessions back, and those that wait are told", async () => {
  let [release, asked] = [() => {}, 0];
  class Slow extends MemoryStore {
    async append(stream, append) {
      asked += 1;
      await new Promise((resolve) => (release = resolve));
      return super.append(stream, append);
    }
  }
  const streams = new Streams({ store: new Slow() });
  const shared = instanceForSession(false);
  const before = shared.opened;
  await streams.create("s", {}, { userId: "u" });
  assert.equal(shared.opened, before + 1);
  const settled = Promise.allSettled([streams.append("s", answer(1)), streams.append("s", answer(1))]);
  await until("one is under way", () => asked === 1);
  await streams.close();
  release();
  for (const { reason } of (await settled).slice(1)) assert.match(reason.message, /this host is closed/);
  await until("the session is given back", () => shared.opened === before);
  assert.equal(asked, 1);
});
