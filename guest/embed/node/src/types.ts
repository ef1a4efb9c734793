/** The words of the house, as `wit/types.wit` says them, with plain numbers: all are far below 2^53. */

export type Status = "running" | "requires_action" | "complete" | "error" | "aborted";
export type RecordKind = "event" | "internal" | "final" | "failure";

/** Where a record stands: written `<generation>-<sequence>`. */
export interface Cursor {
  generation: number;
  sequence: number;
}

/** The row that describes the current generation of a stream. */
export interface Job {
  generation: number;
  status: Status;
  userId: string;
  createdMs: number;
  updatedMs: number;
  settledMs?: number;
  head: number;
  /** Counts the accepted writes to the row: the store's own. */
  revision: number;
  /** Everything else: name and JSON text. Names with a colon are the component's own. */
  fields: Array<[name: string, json: string]>;
}

/** The records of one append, packed. */
export interface Entry {
  first: Cursor;
  /** One record a line, each ended by a line break. */
  lines: string;
  count: number;
  /** One a record; none when all are `event`. */
  kinds?: RecordKind[];
}

/** Why something did not happen, as `wit/types.wit` has it. */
export class Refused extends Error {
  constructor(
    readonly reason: string,
    readonly value?: unknown,
  ) {
    super(value === undefined ? `refused: ${reason}` : `refused: ${reason} (${String(value)})`);
    this.name = "Refused";
  }
}

/** The component failed on a call. Nothing of it was stored, and the next call opens a new session. */
export class Trapped extends Error {
  override readonly name = "Trapped";
}

/** The store could not answer: whether it was done is not known. Repeating with the same ticket is harmless. */
export class Unavailable extends Error {
  override readonly name = "Unavailable";
}

/** A bound was reached. Nothing has changed; it may be tried again later. */
export class Overloaded extends Error {
  override readonly name = "Overloaded";
}

/** Checks the name of a stream, as the Rust host does. Errors: `invalid`, with the rule that it breaks. */
export function checkStream(name: string): void {
  if (name.length < 1 || name.length > 256) throw new Refused("invalid", "a stream id has 1 to 256 bytes");
  if (!/^[\x21-\x7e]+$/.test(name)) throw new Refused("invalid", "a stream id is printable ASCII without blanks");
  if (name === "." || name === "..") {
    throw new Refused("invalid", "a stream id is not . or ..: browsers take these out of an address, in whatever spelling");
  }
}

export const isTerminal = (status: Status): boolean => status !== "running" && status !== "requires_action";

export const cursorText = (at: Cursor): string => `${at.generation}-${at.sequence}`;

/** The cursor of a text; none when it is none. Numbers that no log reaches become the largest safe one. */
export function parseCursor(text: string): Cursor | undefined {
  const [, generation, sequence] = /^(\d+)-(\d+)$/.exec(text) ?? [];
  if (generation === undefined || sequence === undefined || text.length > 128) return undefined;
  if (BigInt(generation) > U64_MAX || BigInt(sequence) > U64_MAX) return undefined;
  const safe = (digits: string): number => Math.min(Number(digits), Number.MAX_SAFE_INTEGER);
  return { generation: safe(generation), sequence: safe(sequence) };
}

const U64_MAX = 2n ** 64n - 1n;

/** The records of an entry with their cursors and kinds, in order. */
export function* records(entry: Entry): Generator<{ at: Cursor; kind: RecordKind; json: string }> {
  const lines = entry.lines.split("\n");
  for (let index = 0; index < entry.count; index += 1) {
    const at = { generation: entry.first.generation, sequence: entry.first.sequence + index };
    yield { at, kind: entry.kinds?.[index] ?? "event", json: lines[index] ?? "" };
  }
}

export const lastOf = (entry: Entry): number => entry.first.sequence + entry.count - 1;

/** The kind of the terminal record, where the entry has it: then it is the last record of the log. */
export function endsWith(entry: Entry): "final" | "failure" | undefined {
  const last = entry.kinds?.at(-1);
  return last === "final" || last === "failure" ? last : undefined;
}

// Checked before a call of the component: what is thrown within one is taken for a trap.
export function whole(name: string, number: number | bigint): bigint;
export function whole(name: string, number: number | undefined): bigint | undefined;
export function whole(name: string, number: number | bigint | undefined): bigint | undefined {
  if (number === undefined) return undefined;
  const is64Bits = typeof number === "bigint" ? BigInt.asUintN(64, number) === number : Number.isSafeInteger(number) && number >= 0;
  if (!is64Bits) throw new Refused("invalid", `${name} is a whole number from 0 on`);
  return BigInt(number);
}

export function string(name: string, value: string): string {
  if (typeof value !== "string") throw new Refused("invalid", `${name} is a string`);
  return value;
}

/** JSON text of a value. Errors: `invalid` for one that has none. */
export function json(value: unknown): string {
  const text: string | undefined = JSON.stringify(value);
  if (text === undefined) throw new Refused("invalid", "this has no JSON text");
  return text;
}

/** Events as lines: JSON texts stay as they are. Errors: `invalid` for what is neither text nor list, such as one event alone. */
export function lines(events: string | Iterable<unknown>): string {
  if (typeof events === "string") return events;
  if (typeof events?.[Symbol.iterator] !== "function") throw new Refused("invalid", "events are JSON lines, or a list of lines and objects");
  return Array.from(events, (event) => (typeof event === "string" ? event : json(event))).join("\n");
}
