// One Node replica as a process of its own: `node replica.mjs <redis url>`. Prints its port.
import { createServer } from "node:http";
import { Refused, Streams, subscribe } from "rejoin-embed";
import { RedisStore } from "rejoin-embed/redis";

const streams = new Streams({ store: new RedisStore({ url: process.argv[2] }) });

async function body(request) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

/** The part of the wire that the test needs, as the Rust host has it. */
async function answer(request, response) {
  const url = new URL(request.url, "http://localhost");
  const [, , , stream, what] = url.pathname.split("/");
  const generation = url.searchParams.get("generation");
  if (request.method === "GET") return subscribe(streams, stream, request, response);
  const text = await body(request);
  const seq = request.headers["producer-seq"];
  const producer = seq && { producer: { id: request.headers["producer-id"], seq: Number(seq) } };
  const options = { ...(generation && { generation: Number(generation) }), ...producer };
  const result =
    what === "events" ? await streams.append(stream, text, options)
    : what === "complete" ? await streams.complete(stream, options)
    : (await streams.create(stream, JSON.parse(text), { idempotencyKey: request.headers["idempotency-key"] })).job;
  response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(result));
}

const server = createServer((request, response) => {
  answer(request, response).catch((error) => {
    const status = error instanceof Refused ? 409 : 503;
    response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify({ code: error.reason ?? "error", detail: String(error) }));
  });
});
server.listen(Number(process.argv[3] ?? 0), "127.0.0.1", () => console.log(server.address().port));
