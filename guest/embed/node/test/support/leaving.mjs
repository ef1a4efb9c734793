// Begins all that streams in Redis may have under way, and closes them after 0, 1, 2 … turns of the event loop, each in streams of
// their own: `node leaving.mjs <redis url> <turns>`. Says what is wrong afterwards, and must then end by itself.
import { setImmediate, setTimeout } from "node:timers/promises";
import { Streams } from "rejoin-embed";
import { RedisStore } from "rejoin-embed/redis";
import { answer } from "./index.mjs";

const [url, turnsMax] = [process.argv[2], Number(process.argv[3])];
/** What has not settled, or not as it may. */
const wrong = new Set();

/** Begins something of which only matters that it ends: well, or with a word that it could not be. */
function begin(name, work) {
  wrong.add(name);
  const done = () => wrong.delete(name);
  const expected = /this (host|store) is closed|cannot be reached|the commands before it|not-found/;
  return work().then(done, (error) => {
    done();
    if (!expected.test(error.message)) wrong.add(`${name}: ${error}`);
  });
}

async function leaveAfter(turns) {
  const streams = new Streams({ store: new RedisStore({ url, prefix: `leaving-${turns}` }) });
  const join = (at) => streams.rooms.join(`s-${at}`, () => {}, true);
  const leave = [0, 1, 2].map(join);
  const begun = [
    begin(`produce ${turns}`, async () => {
      const { job } = await streams.create("s", {}, { userId: "u" });
      const signal = streams.stopped("s", job.generation);
      for (const line of answer(20)) await streams.append("s", line);
      await streams.complete("s");
      if (!signal.aborted) await new Promise((resolve) => signal.addEventListener("abort", resolve));
    }),
    begin(`sweep ${turns}`, () => streams.store.sweep()),
    begin(`read ${turns}`, () => streams.store.read("s", { generation: 1, sequence: 0 }, 1000)),
  ];
  for (let turn = 0; turn < turns; turn += 1) {
    await setImmediate();
    // One that leaves, and comes back.
    if (turn % 10 === 3) leave.pop()();
    if (turn % 10 === 8) leave.push(join(leave.length));
  }
  begun.push(begin(`ask ${turns}`, () => streams.isGone("other")));
  await Promise.all([begin(`close ${turns}`, () => streams.close()), begin(`close twice ${turns}`, () => streams.close())]);
  begun.push(begin(`ask afterwards ${turns}`, () => streams.store.job("s")));
  await Promise.all(begun);
}

process.on("unhandledRejection", (error) => wrong.add(`unhandled: ${error}`));
process.on("exit", () => {
  for (const what of wrong) console.log(what);
});
await Promise.all(Array.from({ length: turnsMax + 1 }, (_, turns) => leaveAfter(turns)));
// Whatever was to end by itself a little later had its turn before this, on a machine of any pace.
await setTimeout(1000);
for (let turn = 0; turn < 100; turn += 1) await setImmediate();
const open = process.getActiveResourcesInfo().filter((one) => one !== "PipeWrap" && one !== "Immediate" && one !== "TTYWrap");
if (open.length > 0) wrong.add(`open still: ${open.join(" ")}`);
