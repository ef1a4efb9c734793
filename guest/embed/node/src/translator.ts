import type { ReadableStream, ReadableStreamDefaultReader } from "node:stream/web";
import type { Translated as Given, Translator as Translation } from "../generated/browser/rejoin.js";
import { foldingInstance, refusing } from "./folding.js";
import { Refused, string, whole } from "./types.js";

/** Whose body it is: `events` are server-sent events whose data are records already. */
export type Dialect = "events" | "openai-chat" | "openai-responses" | "anthropic-messages";

/** What a piece of the body gave. */
export interface Translated {
  /** Records, one JSON object a line. Empty: none. */
  records: string;
  /** Line of the body (from 1) that could not be read, and why: nothing from there on was taken, the translator is done. */
  bad?: { line: number; reason: string };
}

/** From a model provider's response body, taken as it is, to records. One for each body. */
export class Translator {
  #translation: Translation;

  /** Errors: `invalid` for a dialect that there is not. */
  constructor(dialect: Dialect) {
    const { Translator } = foldingInstance();
    this.#translation = refusing(() => new Translator(dialect));
  }

  /** Takes whole lines. Run steps get an `index` of at least `indexAtLeast`, so that bodies of one answer keep apart. */
  push(lines: string, indexAtLeast: number | bigint = 0): Translated {
    const [text, least] = [string("lines", lines), whole("indexAtLeast", indexAtLeast)];
    return translated(refusing(() => this.#translation.push(text, least)));
  }

  /** The body has ended. */
  finish(indexAtLeast: number | bigint = 0): Translated {
    const least = whole("indexAtLeast", indexAtLeast);
    return translated(refusing(() => this.#translation.finish(least)));
  }

  /** Gives its memory back. */
  close(): void {
    refusing(() => this.#translation.free());
  }
}

const translated = ({ records, bad }: Given): Translated => ({ records, ...(bad && { bad }) });

type Body = AsyncIterable<Uint8Array | string>;

/**
 * The pieces of a body, and `leave`, which gives it up whatever it waits for: the iterator of a stream would wait for the next piece,
 * which may never come. A body that is neither a web stream nor one of Node has only its iterator.
 */
export function opened(body: Body): { pieces: Body; leave: () => void } {
  const stream = body as Body & Partial<ReadableStream<Uint8Array | string> & { destroy: () => void }>;
  if (typeof stream.getReader !== "function") return { pieces: body, leave: () => stream.destroy?.() };
  const web = body as ReadableStream<Uint8Array | string>;
  let reader: ReadableStreamDefaultReader<Uint8Array | string> | undefined;
  async function* pieces(): AsyncGenerator<Uint8Array | string> {
    reader = web.getReader();
    for (let piece = await reader.read(); !piece.done; piece = await reader.read()) yield piece.value;
  }
  return { pieces: pieces(), leave: () => void (reader ?? web).cancel().catch(() => {}) };
}

/** Characters of one line of a provider's body. */
const LINE_MAX = 8 * 1024 * 1024;

/**
 * The whole lines that each piece of a body completes, the last one with or without a line break; never none.
 *
 * Errors: `invalid` for what is not UTF-8, or a line that has no end.
 */
export async function* wholeLines(body: Body): AsyncGenerator<string> {
  const decoder = new TextDecoder("utf-8", { fatal: true });
  let rest = "";
  for await (const piece of body) {
    rest += typeof piece === "string" ? piece : decode(decoder, piece);
    const end = rest.lastIndexOf("\n") + 1;
    if (end > 0) yield rest.slice(0, end);
    rest = rest.slice(end);
    if (rest.length > LINE_MAX) throw new Refused("invalid", `a line of a provider's body has at most ${LINE_MAX} characters`);
  }
  rest += decode(decoder, undefined);
  if (rest !== "") yield rest;
}

function decode(decoder: TextDecoder, piece: Uint8Array | undefined): string {
  try {
    return piece ? decoder.decode(piece, { stream: true }) : decoder.decode();
  } catch (error) {
    throw new Refused("invalid", "the body is not UTF-8");
  }
}
