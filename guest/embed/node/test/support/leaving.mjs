// Begins all that a store in Redis may have under way and closes it after 0, 1, 2 … turns of the event loop: `node leaving.mjs <redis url> <turns>`.
// Says what is left, if anything, and must then end by itself.
import { RedisStore } from "rejoin-embed/redis";
import { Streams } from "rejoin-embed";
import { answer } from "./index.mjs";

const [url, turnsMax] = [process.argv[2], Number(process.argv[3])];
const LATE_MS = 20_000;

/** What did not settle. */
const open = new Set();
function begin(name, work) {
  open.add(name);
  const done = () => open.delete(name);
  const promise = work();
  // What it comes to is no matter here, only that it does.
  promise.then(done, done);
  return promise;
}
process.on("unhandledRejection", (error) => {
  console.log("unhandled:", error);
  process.exitCode = 1;
});

async function leaveAfter(turns) {
  const streams = new Streams({ store: new RedisStore({ url, prefix: `leaving-${turns}` }) });
  const stream = `s${turns}`;
  const leave = [];
  begin(`${turns}: create and append`, async () => {
    const { job } = await streams.create(stream, {}, { userId: "u" });
    streams.stopped(stream, job.generation);
    for (const line of answer(20)) await streams.append(stream, line);
  });
  for (let at = 0; at < 3; at += 1) leave.push(streams.rooms.join(`${stream}-${at}`, () => {}, true));
  begin(`${turns}: sweep`, () => streams.store.sweep());
  begin(`${turns}: read`, () => streams.store.read(stream, { generation: 1, sequence: 0 }, 1000));
  for (let turn = 0; turn < turns; turn += 1) {
    await new Promise(setImmediate);
    // One that leaves and comes back.
    if (turn === 5) leave.pop()();
    if (turn === 9) leave.push(streams.rooms.join(`${stream}-2`, () => {}, true));
  }
  begin(`${turns}: gone`, () => streams.isGone("other"));
  await begin(`${turns}: close`, () => streams.close());
  await begin(`${turns}: close again`, () => streams.close());
  begin(`${turns}: afterwards`, () => streams.store.job(stream));
}

setTimeout(() => {
  console.log("did not settle:", [...open].join(", "), "still there:", process.getActiveResourcesInfo().join(" "));
  process.exit(1);
}, LATE_MS).unref();
await Promise.all(Array.from({ length: turnsMax + 1 }, (_, turns) => begin(`${turns}: all`, () => leaveAfter(turns))));
const began = Date.now();
process.on("exit", () => console.log(`ended ${Date.now() - began} ms later`, open.size > 0 ? [...open].join(", ") : ""));
