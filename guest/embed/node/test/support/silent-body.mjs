// Reads bodies that say something and then nothing more, closes the host, and must then end by itself: `node silent-body.mjs <url>`.
import { once } from "node:events";
import { get } from "node:http";
import { MemoryStore, Streams } from "rejoin-embed";
import { until } from "./index.mjs";

const streams = new Streams({ store: new MemoryStore() });
const url = process.argv[2];
const ofFetch = async () => (await fetch(url)).body;
const ofNode = async () => (await once(get(url), "response"))[0];
const reading = [];
for (const [name, body] of [["fetch", await ofFetch()], ["node", await ofNode()]]) {
  await streams.create(name, {}, { userId: "u" });
  reading.push(streams.appendBody(name, "events", body));
  await until("its first record is appended", async () => (await streams.content(name)).job.head === 1);
}
const late = await ofFetch();
await streams.close();
for (const one of [...reading, streams.appendBody("fetch", "events", late)]) await one.catch(({ message }) => console.log(message));
