/** What stands in Redis and is said there, as `host/src/store/redis` of the Rust host has it: rows, entries, messages, errors. */
import { type Cursor, type Entry, type Job, Overloaded, type RecordKind, type Status, Unavailable, parseCursor } from "../types.js";
import type { Ticket, Wake } from "./store.js";

const KINDS: RecordKind[] = ["event", "internal", "final", "failure"];
const STATUSES: string[] = ["running", "requires_action", "complete", "error", "aborted"];

/** The row; none when it is not there, or damaged. */
export function readJob(row: Record<string, string>): Job | undefined {
  const [generation, head, revision, createdMs] = [row.gen, row.head, row.rev, row.created].map(whole);
  const status = row.status as Status;
  if (generation === undefined || head === undefined || revision === undefined || createdMs === undefined) return undefined;
  if (!STATUSES.includes(status) || row.user === undefined) return undefined;
  const settledMs = whole(row.settled);
  // In the order in which they were last written.
  const fields = Object.entries(row).flatMap(([column, text]): Array<[number, number, string, string]> => {
    const found = column.startsWith("f:") ? /^(\d+)(?:\.(\d+))?:(.*)$/s.exec(text) : null;
    return found ? [[Number(found[1]), Number(found[2] ?? 0), column.slice(2), found[3] ?? ""]] : [];
  });
  fields.sort((a, b) => a[0] - b[0] || a[1] - b[1] || (a[2] < b[2] ? -1 : 1));
  return {
    generation,
    status,
    userId: row.user,
    createdMs,
    updatedMs: whole(row.updated) ?? createdMs,
    ...(settledMs !== undefined && { settledMs }),
    head,
    revision,
    fields: fields.map(([, , name, json]) => [name, json]),
  };
}

export const whole = (text: string | undefined): number | undefined => {
  const number = text !== undefined && /^\d+$/.test(text) ? Number(text) : Number.NaN;
  return Number.isSafeInteger(number) ? number : undefined;
};

/** Where a stream stands in the index. */
export const placeText = ({ generation, revision, status, createdMs, userId }: Job): string => `${generation} ${revision} ${status} ${createdMs} ${userId}`;

/** A server that may not write any more: a new connection finds another one. */
export const wasDemoted = (error: Error): boolean => /^(READONLY|MASTERDOWN)/.test(error.message);

/** What an error of Redis means: no room, a command that will never do, or anything that may be asked again. */
export function failed(why: string, cause?: unknown): Error {
  if (why.includes("OOM command not allowed")) return new Overloaded("store full: raise maxmemory of Redis, or shorten the retention", { cause });
  const isFinal = /^(NOAUTH|WRONGPASS|NOPERM|ERR unknown command)/.test(why);
  return isFinal ? new Error(`Redis refuses: ${why}`, { cause }) : new Unavailable(why, { cause });
}

export const base36 = (number: number | bigint): string => number.toString(36);
export const ticketText = ({ session, number }: Ticket): string => `${base36(session)}.${base36(number)}`;
export const kindDigits = (kinds: RecordKind[]): string => kinds.map((kind) => KINDS.indexOf(kind)).join("");

/** The row as `create.lua` and `rescue.lua` take it: names and values in turn. */
export function rowColumns(job: Job): string[] {
  const columns = ["gen", job.generation, "status", job.status, "user", job.userId, "created", job.createdMs, "updated", job.updatedMs];
  if (job.settledMs !== undefined) columns.push("settled", job.settledMs);
  columns.push("head", job.head, "rev", job.revision, "active", Math.max(job.createdMs, job.updatedMs));
  job.fields.forEach(([name, json], at) => columns.push(`f:${name}`, `${job.revision}.${at}:${json}`));
  return columns.map(String);
}

/** An entry that ends at `id`, if its parts fit one another; none in place of one that is damaged. */
function packed(last: Cursor, count: number | undefined, lines: string | undefined, digits: string): Entry | undefined {
  if (count === undefined || lines === undefined || !lines.endsWith("\n")) return undefined;
  const kinds = Array.from(digits, (digit) => KINDS[Number(digit)]);
  const fits = lines.split("\n").length - 1 === count && (kinds.length === 0 || kinds.length === count);
  const first = { generation: last.generation, sequence: last.sequence - count + 1 };
  if (!fits || first.sequence < 1 || kinds.includes(undefined)) return undefined;
  return { first, lines, count, ...(kinds.length > 0 && { kinds: kinds as RecordKind[] }) };
}

export function readEntry(id: string, fields: string[]): Entry | undefined {
  const of = (name: string): string | undefined => {
    const at = fields.indexOf(name);
    return at % 2 === 0 ? fields[at + 1] : undefined;
  };
  const last = parseCursor(id);
  return last && packed(last, whole(of("n")), of("r"), of("k") ?? "");
}

/** What is said on the channel of a stream: see `host/src/store/redis/message.rs`. What cannot be read is passed over. */
export function readWake(message: string, replica: string): Wake | undefined {
  const end = message.indexOf("\n");
  const words = (end < 0 ? message : message.slice(0, end)).split(" ");
  const body = end < 0 ? "" : message.slice(end + 1);
  const [kind, one, two, three, four] = words;
  if (kind === "e") {
    const [generation, first, count] = [one, two, three].map(whole);
    if (generation === undefined || first === undefined || count === undefined) return undefined;
    const entry = packed({ generation, sequence: first + count - 1 }, count, body, four === "-" ? "" : (four ?? ""));
    return entry && { is: "entry", entry };
  }
  if (kind === "h") return { is: "head" };
  if (kind === "g") return { is: "gone" };
  if (kind === "p") return { is: "readers", any: one === "1" };
  const generation = whole(one);
  if (kind === "r" && two !== replica && generation !== undefined) return { is: "resolved", generation, answer: body };
  return undefined;
}

