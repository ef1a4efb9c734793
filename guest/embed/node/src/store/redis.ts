/** The store in Redis that the Rust host has too: the same keys, the same scripts, the same messages. One server (7 or newer). */
import { createHash, randomBytes } from "node:crypto";
import scripts from "../../generated/scripts.js";
import { type Cursor, type Job, Overloaded, type Status, Unavailable, isTerminal, parseCursor } from "../types.js";
import { Link } from "./redis-link.js";
import { base36, failed, kindDigits, placeText, readEntry, readJob, readWake, rowColumns, ticketText, whole } from "./redis-wire.js";
import { type Append, type Head, LIFETIMES, type Lifetimes, type Page, type Rescue, type Store, type Ticket, type Wake, type Written } from "./store.js";

export interface RedisOptions extends Partial<Lifetimes> {
  /** redis://[user:password@]host[:port][/db] */
  url: string;
  prefix?: string;
  jobsMax?: number;
  jobsPerUserMax?: number;
}

const LETTERS = { running: "r", requires_action: "p", complete: "c", error: "e", aborted: "a" } as const;
/** Columns of the row that say where a stream stands. */
const HEAD = ["gen", "status", "head", "rev", "active", "settled", "expires", "created"];
const TTL_MORE_MS = 3_600_000;
/** How long the last word of a replica counts, and how often it says it again. */
const PRESENT_MS = 15_000;
const PRESENT_EVERY_MS = 5_000;
const PRESENT_AT_ONCE = 256;
/** What a store that is closed may take to say that its readers have left. */
const LAST_WORD_MS = 1_000;
const SWEEP_MAX = 256;
/** An idle job that could not be settled is named again after this. */
const NAMED_AGAIN_MS = 1_000;

export class RedisStore implements Store {
  readonly lifetimes: Lifetimes;
  #link: Link;
  #prefix: string;
  #bounds: string;
  #replica = randomBytes(8).toString("hex");
  #hashes = new Map<string, string>();
  #followers = new Map<string, Set<(wake: Wake) => void>>();
  #present = new Set<string>();
  #again: NodeJS.Timeout;
  #telling = false;

  constructor({ url, prefix = "rejoin", jobsMax = 10_000, jobsPerUserMax = 100, ...lifetimes }: RedisOptions) {
    this.lifetimes = { ...LIFETIMES, ...lifetimes };
    const db = database(url);
    // Channels know of no database: streams of the same name in two of them would hear one another.
    this.#prefix = db === 0 ? prefix : `${prefix}.${db}`;
    this.#bounds = `${jobsMax} ${jobsPerUserMax}`;
    this.#link = new Link(url, {
      heard: (channel, message) => this.#heard(channel, message),
      // What was said while nobody listened is in the log.
      again: () => {
        for (const followers of this.#followers.values()) for (const heard of followers) heard({ is: "head" });
      },
    });
    this.#again = setInterval(() => void this.#stillPresent(), PRESENT_EVERY_MS).unref();
  }

  #key(stream: string, name: string): string {
    const escaped = stream.replace(/[{}%]/g, (sign) => `%${sign.charCodeAt(0).toString(16).toUpperCase()}`);
    return `${this.#prefix}:{${escaped}}:${name}`;
  }

  #script(name: Extract<keyof typeof scripts, string>, keys: string[], args: Array<string | Buffer>): Promise<unknown> {
    const text = scripts[name];
    const hash = this.#hashes.get(name) ?? createHash("sha1").update(text).digest("hex");
    this.#hashes.set(name, hash);
    return this.#link.ask(async (redis) => {
      try {
        return await redis.evalsha(hash, keys.length, ...keys, ...args);
      } catch (error) {
        if (!(error as Error).message.startsWith("NOSCRIPT")) throw error;
        return redis.eval(text, keys.length, ...keys, ...args);
      }
    });
  }

  #streamScript(name: "append" | "checkpoint" | "create" | "ending" | "read" | "remove" | "rescue", stream: string, now: number, args: Array<string | Buffer>): Promise<unknown> {
    const { idleMs, pausedIdleMs, retentionMs } = this.lifetimes;
    return this.#script(name, [this.#key(stream, "job")], [`${now} ${idleMs} ${pausedIdleMs} ${retentionMs} PUBLISH`, ...args]);
  }

  #index(name: "admit" | "intend" | "place" | "due", now: number, args: string[]): Promise<unknown> {
    const { idleMs, pausedIdleMs, retentionMs } = this.lifetimes;
    const ttl = 2 * Math.max(idleMs, pausedIdleMs) + retentionMs + TTL_MORE_MS;
    return this.#script(name, [`${this.#prefix}:{index}:places`], [`${now} ${ttl}`, ...args]);
  }

  async #row(stream: string): Promise<Record<string, string>> {
    return this.#link.ask((redis) => redis.hgetall(this.#key(stream, "job")));
  }

  async job(stream: string): Promise<Job | undefined> {
    return this.#jobOf(await this.#row(stream));
  }

  #jobOf(row: Record<string, string>): Job | undefined {
    const job = readJob(row);
    return job && !this.#isExpired(row, job, Date.now()) ? job : undefined;
  }

  #isExpired(row: Record<string, string>, job: Job, now: number): boolean {
    return isTerminal(job.status) && this.#dueMs(row, job.status) <= now;
  }

  #dueMs(row: Record<string, string | undefined>, status: Status): number {
    const active = whole(row.active) ?? 0;
    if (status === "running") return active + this.lifetimes.idleMs;
    if (status === "requires_action") return active + this.lifetimes.pausedIdleMs;
    return whole(row.expires) ?? (whole(row.settled) ?? active) + this.lifetimes.retentionMs;
  }

  async head(stream: string): Promise<Head | undefined> {
    const values = await this.#link.ask((redis) => redis.hmget(this.#key(stream, "job"), ...HEAD));
    const row = Object.fromEntries(HEAD.flatMap((name, at) => (values[at] == null ? [] : [[name, values[at]]])));
    const job = this.#jobOf({ ...row, user: "" });
    return job && { cursor: { generation: job.generation, sequence: job.head }, status: job.status, revision: job.revision };
  }

  async create(stream: string, ticket: Ticket, previous: number, job: Job): Promise<Written> {
    const now = Date.now();
    const admitted = await this.#index("admit", now, [this.#bounds, stream, job.userId]);
    if (admitted !== "A") {
      const row = await this.job(stream);
      const takesOver = row !== undefined && !isTerminal(row.status);
      if ((row?.generation ?? 0) === previous && !takesOver) throw new Overloaded("too many active jobs: complete or abort one first");
    }
    const columns = rowColumns({ ...job, head: 0, revision: 1 });
    const answer = await this.#streamScript("create", stream, now, [`${job.generation} ${previous} ${ticketText(ticket)}`, ...columns]);
    return this.#finish(stream, now, String(answer), true);
  }

  async append(stream: string, append: Append): Promise<Written> {
    const now = Date.now();
    const changes = append.status !== undefined && append.status !== append.expectedStatus;
    if (changes) await this.#index("intend", now, [stream]);
    const { first, entry } = append;
    const fields = [...new Map(append.fields).entries()];
    const header = [
      base36(now - first.generation),
      base36(first.sequence),
      base36(entry?.count ?? 0),
      ticketText(append.ticket),
      base36(append.expectedRevision - first.sequence),
      LETTERS[append.expectedStatus] + (append.status ? LETTERS[append.status] : ""),
      "0",
      String(fields.length),
      ...(entry?.kinds ? [kindDigits(entry.kinds)] : []),
    ].join(" ");
    // The end of a generation is written even where there is no memory left.
    const script = append.status && isTerminal(append.status) ? "ending" : "append";
    const [answer] = (await this.#streamScript(script, stream, now, [`${header}\n${entry?.lines ?? ""}`, ...fields.flat()])) as string[];
    return this.#finish(stream, now, answer ?? "", changes);
  }

  async rescue(stream: string, { ticket, job, entry, checkpoint }: Rescue): Promise<Written> {
    const now = Date.now();
    await this.#index("intend", now, [stream]);
    const last = entry ? `${entry.count} ${entry.kinds ? kindDigits(entry.kinds) : ""}` : "";
    const args = [`${job.generation} ${job.head} ${job.revision} ${ticketText(ticket)}`, checkpoint, last, entry?.lines ?? ""];
    const answer = await this.#streamScript("rescue", stream, now, [...args, ...rowColumns(job)]);
    return this.#finish(stream, now, String(answer), false);
  }

  /** What a script answered; tells the index where it must hear of it. */
  async #finish(stream: string, now: number, answer: string, mustPlace: boolean): Promise<Written> {
    const [kind, ...words] = answer.split(" ");
    switch (kind) {
      case "P": {
        const [generation, revision, status, created, due] = words;
        const user = answer.split(" ").slice(6).join(" ");
        await unlessAway(this.#place(stream, now, `${generation} ${revision} ${status} ${created} ${user}`, String(due)));
        return { is: "accepted" };
      }
      case "A": {
        // The first attempt of a repeat may have ended before the index was told.
        if (mustPlace) await unlessAway(this.#placeAgain(stream, now));
        return { is: "accepted" };
      }
      case "N":
        return { is: "not-found" };
      case "G":
        return { is: "generation-replaced", generation: Number(words[0]) };
      case "T":
        return { is: "not-active", status: words[0] as Status };
      case "B":
        return { is: "behind", head: Number(words[0]) };
      case "H":
        return { is: "ahead", end: { generation: Number(words[0]), sequence: Number(words[1]) } };
      default:
        throw failed(kind === "E" ? answer.slice(2) : `a script answered ${answer}`);
    }
  }

  async #placeAgain(stream: string, now: number): Promise<void> {
    const row = await this.#row(stream);
    const job = this.#jobOf(row);
    if (job) await this.#place(stream, now, placeText(job), String(this.#dueMs(row, job.status)));
  }

  async #place(stream: string, now: number, place: string, due: string): Promise<void> {
    await this.#index("place", now, [stream, place, due, "", ""]);
  }

  async putCheckpoint(stream: string, at: Cursor, state: string): Promise<void> {
    await this.#streamScript("checkpoint", stream, Date.now(), [`${at.generation} ${at.sequence}`, state]);
  }

  async checkpoint(stream: string, generation: number): Promise<{ at: Cursor; state: string } | undefined> {
    const [text, state] = await this.#link.ask((redis) => redis.hmget(this.#key(stream, "checkpoint"), "at", "state"));
    const at = text ? parseCursor(text) : undefined;
    return at && state && at.generation === generation ? { at, state } : undefined;
  }

  async read(stream: string, after: Cursor, bytesMax: number): Promise<Page> {
    for (let from = after.sequence; ; ) {
      const answer = (await this.#streamScript("read", stream, Date.now(), [`${after.generation} ${from} ${bytesMax}`])) as unknown[];
      const [generation, head, marker, ...found] = answer;
      if (generation === undefined) return { is: "gone" };
      if (marker === undefined) return { is: "reset", end: { generation: Number(generation), sequence: Number(head) } };
      const entries = (found as Array<[string, string[]]>).map(([id, fields]) => readEntry(id, fields)).filter((entry) => entry !== undefined);
      const last = parseCursor((found.at(-1) as [string] | undefined)?.[0] ?? "");
      // Damaged entries alone are not the end of the log.
      if (entries.length > 0 || !last) return { is: "entries", entries };
      from = last.sequence;
    }
  }

  async remove(stream: string, generation: number): Promise<boolean> {
    const now = Date.now();
    await this.#index("intend", now, [stream]);
    const removed = await this.#streamScript("remove", stream, now, [`${generation} asked`]);
    await this.#index("place", now, [stream, "", String(now), "", String(generation)]);
    return removed === 1;
  }

  follow(stream: string, heard: (wake: Wake) => void): () => void {
    const channel = this.#key(stream, "wake");
    const followers = this.#followers.get(channel) ?? new Set();
    if (followers.size === 0) {
      this.#followers.set(channel, followers);
      this.#link.listen(channel);
    }
    followers.add(heard);
    return () => {
      followers.delete(heard);
      if (followers.size > 0 || this.#followers.get(channel) !== followers) return;
      this.#followers.delete(channel);
      this.#link.ignore(channel);
    };
  }

  #heard(channel: string, message: string): void {
    const followers = this.#followers.get(channel);
    const wake = followers && readWake(message, this.#replica);
    if (wake) for (const heard of followers) heard(wake);
  }

  async presence(stream: string, readers: boolean): Promise<void> {
    if (readers) this.#present.add(stream);
    else this.#present.delete(stream);
    await this.#tellPresence([stream], readers);
  }

  /** Says again that there are readers: one round at a time, however slow Redis is. */
  async #stillPresent(): Promise<void> {
    if (this.#telling) return;
    this.#telling = true;
    await this.#tellPresence([...this.#present], true).catch(() => {});
    this.#telling = false;
  }

  async #tellPresence(streams: string[], readers: boolean): Promise<void> {
    for (let from = 0; from < streams.length; from += PRESENT_AT_ONCE) {
      const some = streams.slice(from, from + PRESENT_AT_ONCE);
      const now = Date.now();
      const keys = some.map((stream) => this.#key(stream, "present"));
      await this.#script("presence", keys, [`${now} ${now + PRESENT_MS} PUBLISH`, this.#replica, ...some.map(() => (readers ? "1" : "0"))]);
    }
  }

  async resolved(stream: string, generation: number, answer: string): Promise<void> {
    await this.#link.ask((redis) => redis.publish(this.#key(stream, "wake"), `r ${generation} ${this.#replica}\n${answer}`));
  }

  async sweep(): Promise<string[]> {
    const now = Date.now();
    const due = (await this.#index("due", now, [String(SWEEP_MAX)])) as string[];
    const idle: string[] = [];
    for (let at = 0; at + 1 < due.length; at += 2) {
      const stream = due[at] ?? "";
      // One bad stream never stops a sweep; it comes again in some seconds.
      if (await this.#visit(stream, due[at + 1] ?? "", now).catch(() => false)) idle.push(stream);
    }
    return idle;
  }

  /** Looks at a stream that is due, and either forgets it or puts it where it belongs. True when it is active and idle. */
  async #visit(stream: string, seen: string, now: number): Promise<boolean> {
    const row = await this.#row(stream);
    const job = readJob(row);
    const gone = (generation: string): Promise<unknown> => this.#index("place", now, [stream, "", "0", seen, generation]);
    if (!job) {
      await gone("0");
      return false;
    }
    if (this.#isExpired(row, job, now)) {
      await this.#streamScript("remove", stream, now, [`${job.generation} swept`]);
      // Not gone when it was replaced, or told to stay, just now: then who did that has placed it.
      if ((await this.#link.ask((redis) => redis.exists(this.#key(stream, "job")))) === 0) await gone(String(job.generation));
      return false;
    }
    const dueMs = this.#dueMs(row, job.status);
    const isIdle = dueMs <= now;
    await this.#index("place", now, [stream, placeText(job), String(isIdle ? now + NAMED_AGAIN_MS : dueMs), seen, ""]);
    return isIdle;
  }

  async close(): Promise<void> {
    clearInterval(this.#again);
    const late = setTimeout(() => this.#link.close(), LAST_WORD_MS);
    // Readers that are cut count for some seconds yet, unless it is said that they have left.
    if (this.#link.isUp) await this.#tellPresence([...this.#present], false).catch(() => {});
    clearTimeout(late);
    this.#link.close();
  }
}

/** The row is the truth, and accepted: where the index cannot be told of it, the intent that stands there makes a sweep do it within seconds. */
async function unlessAway(placed: Promise<void>): Promise<void> {
  await placed.catch((error: Error) => {
    if (!(error instanceof Unavailable || error instanceof Overloaded)) throw error;
  });
}

/** The number of the database. Errors: what is no address of a Redis. */
function database(url: string): number {
  const { protocol, pathname } = new URL(url);
  const db = /^(?:\/(\d*))?$/.exec(pathname);
  if (!db || !/^rediss?:$/.test(protocol)) throw new TypeError("the url of a Redis is redis://[user:password@]host[:port][/db], or rediss:// for TLS");
  return Number(db[1] ?? 0);
}
