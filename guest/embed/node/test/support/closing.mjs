// Opens all that a host can have open, closes it, and must then end by itself.
import { once } from "node:events";
import { createServer } from "node:http";
import { connect } from "node:net";
import { setTimeout } from "node:timers/promises";
import { MemoryStore, Streams, Unavailable, subscribe } from "rejoin-embed";
import { answer, follow } from "./index.mjs";

const streams = new Streams({ store: new MemoryStore() });
const responses = [];
const server = createServer((request, response) => {
  responses.push(response);
  void subscribe(streams, request.url.slice(1), request, response);
}).listen(0, "127.0.0.1");
await once(server, "listening");
const { job } = await streams.create("s", {}, { userId: "u" });
const signal = streams.stopped("s", job.generation);
const { port } = server.address();
const reader = follow(`http://127.0.0.1:${port}/s`);
await streams.append("s", answer(1));
await reader.next();
// One that reads nothing: more is written than all buffers between here and there hold.
await streams.create("big", {}, { userId: "u" });
for (let at = 0; at < 20; at += 1) await streams.append("big", JSON.stringify({ event: "x", data: "x".repeat(1_000_000) }));
const paused = connect(port, "127.0.0.1").on("error", () => {}).pause();
paused.write("GET /big HTTP/1.1\r\nhost: x\r\n\r\n");
// Until the system takes nothing more for it.
for (let [still, written] = [0, 0]; still < 20; await setTimeout(10)) {
  const { writableNeedDrain, socket } = responses[1] ?? {};
  still = writableNeedDrain && socket.bytesWritten === written ? still + 1 : 0;
  written = socket?.bytesWritten;
}
const cut = once(responses[1], "close");
await streams.close();
if ((await reader.next()).done) console.log("response ended");
await Promise.race([cut.then(() => console.log("slow reader cut")), setTimeout(60_000, undefined, { ref: false })]);
if (signal.aborted) console.log("producer told");
await streams.append("s", answer(1)).catch((error) => error instanceof Unavailable && console.log("refused afterwards"));
server.close();
server.closeAllConnections();
