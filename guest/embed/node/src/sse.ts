/** The live stream for `node:http`: every record after where the client was, once, in order, or a word that this is impossible. */
import type { IncomingMessage, ServerResponse } from "node:http";
import { Live, type LiveOptions } from "./live.js";
import type { Streams } from "./streams.js";
import { type Cursor, Overloaded, Refused, Unavailable, checkStream, isTerminal, parseCursor } from "./types.js";

export interface SubscribeOptions extends LiveOptions {
  /** Where the client was, if not in `Last-Event-ID` or `?after=`. */
  after?: Cursor;
  /** Begin with one frame that holds the whole state. Default: `?resume=true`. */
  resume?: boolean;
}

const HEADERS = {
  "content-type": "text/event-stream; charset=utf-8",
  "cache-control": "no-cache, no-transform",
  "x-accel-buffering": "no",
  "content-encoding": "identity",
};

/**
 * Answers one request with the stream; resolves at its end. Who may read is checked before.
 *
 * Answers 204 when there is nothing to come, 400 for a cursor that is none, 404 for a stream that is not known, 429 and 503
 * with `Retry-After` for too many readers and for a store that cannot be reached.
 */
export async function subscribe(streams: Streams, stream: string, request: IncomingMessage, response: ServerResponse, options: SubscribeOptions = {}): Promise<void> {
  // A client that leaves is no error of ours.
  response.on("error", () => {});
  const query = new URLSearchParams(/\?(.*)$/s.exec(request.url ?? "")?.[1] ?? "");
  // The header wins: a browser that reconnects by itself sends what it saw last to the address of its first attempt.
  const header = request.headers["last-event-id"];
  const given = (Array.isArray(header) ? header[0] : header) || query.get("after");
  const after = options.after ?? (given ? parseCursor(given) : undefined);
  if (given && !after) return problem(response, 400, "invalid_cursor", "a cursor is <generation>-<sequence>, the id of a record");
  // Who has a cursor has the state.
  const resume = !after && (options.resume ?? query.get("resume") === "true");
  let live: Live;
  try {
    checkStream(stream);
    const job = await streams.store.job(stream);
    const nothing = resume ? () => void response.writeHead(204).end() : () => problem(response, 404, "not_found", "no such stream");
    if (!job) return nothing();
    const isEnd = after?.generation === job.generation && after.sequence === job.head;
    if (isEnd && isTerminal(job.status)) return void response.writeHead(204).end();
    const full = streams.rooms.isFull(stream);
    if (full) return problem(response, full === "host" ? 503 : 429, "too_many_subscribers", `too many readers of this ${full}`);
    if (response.destroyed || request.socket?.destroyed) return;
    live = new Live(streams, stream, request, response, job, options);
  } catch (error) {
    if (error instanceof Refused) return problem(response, 400, "invalid_stream_id", String(error.value));
    if (error instanceof Unavailable || error instanceof Overloaded) return problem(response, 503, "store_unavailable", error.message);
    throw error;
  }
  response.writeHead(200, HEADERS);
  if (request.method === "HEAD") return void response.end();
  try {
    await live.run(after, resume);
  } catch (error) {
    // Cut, not ended: the client comes back with its cursor.
    response.destroy();
    throw error;
  }
}

const RETRY_AFTER_S = 5;

function problem(response: ServerResponse, status: number, code: string, detail: string): void {
  if (status === 429 || status === 503) response.setHeader("retry-after", RETRY_AFTER_S);
  response.writeHead(status, { "content-type": "application/problem+json" }).end(JSON.stringify({ status, code, detail }));
}
