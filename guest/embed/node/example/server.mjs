// A chat server with resumable answers in one Node process. Start: node server.mjs   See: open the address that it prints, ask, reload.
// REDIS_URL=redis://localhost:6379 shares the streams with other replicas, Node or Rust; OPENAI_API_KEY asks a real model.
import { createServer } from "node:http";
import { MemoryStore, Overloaded, Refused, Streams, Unavailable, subscribe } from "rejoin-embed";

const { REDIS_URL: url, OPENAI_API_KEY: key, PORT = "8000" } = process.env;
const store = url ? new (await import("rejoin-embed/redis")).RedisStore({ url }) : new MemoryStore();
const streams = new Streams({ store });

/** The body of a model's answer, as it comes off the wire. */
async function model(question, signal) {
  if (!key) return pretended(question, signal);
  const messages = [{ role: "user", content: question }];
  const headers = { authorization: `Bearer ${key}`, "content-type": "application/json" };
  const body = JSON.stringify({ model: "gpt-4o-mini", stream: true, messages });
  const said = await fetch("https://api.openai.com/v1/chat/completions", { method: "POST", headers, body, signal });
  if (!said.ok) throw new Error(`the model answers ${said.status}: ${await said.text()}`);
  return said.body;
}

/** Stands for the model where there is none: some words each second, until it is told to stop. */
async function* pretended(question, signal) {
  const words = `You asked: ${question} This answer takes a while, so reload the page: nothing is lost. `.split(/(?<= )/);
  for (const content of [...words, ...words, ...words]) {
    await new Promise((resolve) => setTimeout(resolve, 200));
    if (signal.aborted) return;
    yield `data: ${JSON.stringify({ id: "1", choices: [{ index: 0, delta: { content } }] })}\n\n`;
  }
  yield "data: [DONE]\n\n";
}

/** Nobody waits for this: readers come and go as they like. */
async function generate(chat, generation, question) {
  const signal = streams.stopped(chat, generation);
  try {
    await streams.appendBody(chat, "openai-chat", await model(question, signal), { generation });
    await streams.complete(chat, { generation });
  } catch (error) {
    // Stopped, or asked something else meanwhile: that is no failure.
    if (!signal.aborted) await streams.fail(chat, error.message, { generation });
  }
}

const PAGE = `<!doctype html><meta charset="utf-8"><title>rejoin</title>
<button id="ask">Ask</button> <button id="stop">Stop</button><p id="answer"></p><script type="module">
const text = (parts) => parts.map((part) => part.text ?? "").join("");
function read() {
  const source = new EventSource("/chats/1?resume=true");
  source.onmessage = ({ data }) => {
    const record = JSON.parse(data);
    if (record.sync) answer.textContent = text(record.resumeState.aggregatedContent);
    if (record.event === "on_message_delta") answer.textContent += text(record.data.delta.content);
    if (record.final) source.close();
  };
}
ask.onclick = async () => { await fetch("/chats/1", { method: "POST", body: "why?" }); read(); };
stop.onclick = () => fetch("/chats/1", { method: "DELETE" });
read();
</script>`;

async function answer(request, response) {
  const chat = /^\/chats\/([\w-]{1,64})(\?|$)/.exec(request.url)?.[1];
  if (!chat) return response.writeHead(200, { "content-type": "text/html" }).end(PAGE);
  // A real server checks here who asks.
  if (request.method === "GET") return subscribe(streams, chat, request, response);
  if (request.method === "DELETE") return response.end((await streams.abort(chat)).text);
  let question = "";
  for await (const some of request) if ((question += some).length > 10_000) return response.writeHead(413).end();
  const { job } = await streams.create(chat, {}, { userId: "me" });
  generate(chat, job.generation, question).catch((error) => error instanceof Refused || console.error(error));
  response.writeHead(202).end();
}

const status = (error) => (error instanceof Refused ? 409 : error instanceof Overloaded || error instanceof Unavailable ? 503 : 500);
const server = createServer((request, response) => {
  answer(request, response).catch((error) => response.headersSent || response.writeHead(status(error)).end(error.message));
});
server.listen(Number(PORT), "127.0.0.1", () => console.log(`http://127.0.0.1:${server.address().port}/`));
