// Is compiled, never run: how the package is used, and what it must not take.
import type { IncomingMessage, ServerResponse } from "node:http";
import { Aggregator, type Dialect, MemoryStore, type Pushed, Streams, type Translated, Translator, fold, subscribe } from "rejoin-embed";
import { RedisStore } from "rejoin-embed/redis";

export async function serve(request: IncomingMessage, response: ServerResponse): Promise<Pushed> {
  const streams = new Streams({ store: process.env.REDIS_URL ? new RedisStore({ url: process.env.REDIS_URL }) : new MemoryStore() });
  const { job } = await streams.create("s", {}, { userId: "u" });
  const pushed = await streams.append("s", [{ event: "on_agent_update" }], { generation: job.generation });
  await subscribe(streams, "s", request, response, { resume: true });
  return pushed;
}

export function folded(dialect: Dialect, body: string): string {
  const [translator, aggregator] = [new Translator(dialect), new Aggregator([])];
  const { records, bad }: Translated = translator.push(body, 3n);
  if (bad) throw new Error(`${bad.line.toFixed()}: ${bad.reason}`);
  aggregator.push(records);
  // @ts-expect-error one event alone is no list
  aggregator.push({ event: "on_agent_update" });
  // @ts-expect-error no such dialect
  new Translator("klingon").close();
  aggregator.close();
  return fold(aggregator.json());
}
