/** One opening of one stream in one instance: plain synchronous calls. After a trap it is dead and must be dropped. */
import type { Session as WitSession } from "../generated/interfaces/rejoin-streams-session.js";
import { type Asked, type Instance, cursor, fromWit, instanceForSession, refusing, toWit } from "./component.js";
import type { Head } from "./store/store.js";
import { type Cursor, type Entry, type Job, Refused, isTerminal, string, whole } from "./types.js";

/** Bounds of one generation. */
export interface Limits {
  recordBytesMax: number;
  recordsMax: number;
  logBytesMax: number;
  idleMs: number;
  pausedIdleMs: number;
}

export interface Producer {
  id: string;
  seq: number;
  offset?: number;
}

export interface Pushed {
  appended: number;
  duplicate: number;
  first?: Cursor;
  last?: Cursor;
  /** Line within the text, from 1, where it stopped, and why. Everything before is durable. */
  stopped?: { line: number; reason: Refused };
}

export class Session {
  readonly id: bigint;
  /** The row's revision that it knows. */
  revision: number;
  /** The generation has ended: from then on the store may forget it at any time. */
  ended: boolean;
  /** The last write, for a store that forgets it. */
  lastEntry: Entry | undefined;
  /** It has the row and all that the log has made of it. */
  whole = true;
  /** It has written, and the store was not asked since whether it still has that. */
  unconfirmed = false;
  #instance: Instance;
  #session: WitSession;
  #closed = false;

  /** `alone`: in an instance that no other session uses. */
  constructor(id: bigint, stream: string, job: Job | undefined, checkpoint: string | undefined, limits: Limits, alone = false) {
    this.id = id;
    this.revision = job?.revision ?? 0;
    this.ended = job !== undefined && isTerminal(job.status);
    this.#instance = instanceForSession(alone);
    const bounds = {
      recordBytesMax: BigInt(limits.recordBytesMax),
      recordsMax: BigInt(limits.recordsMax),
      logBytesMax: BigInt(limits.logBytesMax),
      idleMs: BigInt(limits.idleMs),
      pausedIdleMs: BigInt(limits.pausedIdleMs),
    };
    this.#session = refusing(this.#instance, () =>
      this.#instance.Session.open(stream, job && toWit(job), checkpoint, bounds),
    );
    this.#instance.opened += 1;
  }

  /** Its instance has not trapped, on this stream or on another one. */
  get alive(): boolean {
    return !this.#instance.dead;
  }

  /** Gives its memory, and its place in the instance, back. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#instance.opened -= 1;
    if (this.alive) (this.#session as Partial<Disposable>)[Symbol.dispose]?.();
  }

  /** What the last call asked for. Taken once. */
  take(): Asked {
    return this.#instance.take();
  }

  head(): Cursor {
    return cursor(refusing(this.#instance, () => this.#session.head()));
  }

  replay(lines: string): void {
    refusing(this.#instance, () => this.#session.replay(lines));
  }

  /** True when a generation is to be made, false when the key had made the present one. */
  create(userId: string | undefined, idempotencyKey: string | undefined, request: string): boolean {
    if (userId !== undefined) string("userId", userId);
    if (idempotencyKey !== undefined) string("idempotencyKey", idempotencyKey);
    return refusing(this.#instance, () => this.#session.create(userId, idempotencyKey, request)) === "pending";
  }

  push(text: string, options: { generation?: number; framing?: "ndjson" | "json"; producer?: Producer } = {}): Pushed {
    const { framing = "ndjson", producer } = options;
    const generation = whole("generation", options.generation);
    const by = producer && { id: string("producer.id", producer.id), seq: whole("producer.seq", producer.seq) ?? 0n, offset: whole("producer.offset", producer.offset) ?? 0n };
    const pushed = refusing(this.#instance, () => this.#session.push(generation, framing, text, by));
    return {
      appended: pushed.appended,
      duplicate: pushed.duplicate,
      ...(pushed.first && { first: cursor(pushed.first) }),
      ...(pushed.last && { last: cursor(pushed.last) }),
      ...(pushed.stopped && { stopped: { line: pushed.stopped.line, reason: refusal(pushed.stopped.reason) } }),
    };
  }

  update(fields: string): void {
    refusing(this.#instance, () => this.#session.update(fields));
  }

  complete(generation?: number, finalEvent?: string): void {
    const of = whole("generation", generation);
    refusing(this.#instance, () => this.#session.complete(of, finalEvent));
  }

  fail(generation: number | undefined, reason: string): void {
    string("reason", reason);
    const of = whole("generation", generation);
    refusing(this.#instance, () => this.#session.fail(of, reason));
  }

  abort(generation?: number): void {
    const of = whole("generation", generation);
    refusing(this.#instance, () => this.#session.abort(of));
  }

  timeOut(): void {
    refusing(this.#instance, () => this.#session.timeOut());
  }

  pause(generation: number | undefined, action: string): void {
    const of = whole("generation", generation);
    refusing(this.#instance, () => this.#session.pause(of, action));
  }

  resolve(generation: number | undefined, actionId: string, decision: string): void {
    string("actionId", actionId);
    const of = whole("generation", generation);
    refusing(this.#instance, () => this.#session.resolve(of, actionId, decision));
  }

  accept(ticket: bigint): void {
    refusing(this.#instance, () => this.#session.settle(ticket, { tag: "accepted" }));
  }

  /** The job as it stands. Errors: there is none. */
  job(): Job {
    const job = refusing(this.#instance, () => this.#session.job());
    if (!job) throw new Refused("not-found");
    return { ...fromWit(job), revision: this.revision };
  }

  content(): string {
    return refusing(this.#instance, () => this.#session.content());
  }

  text(): string {
    return JSON.parse(refusing(this.#instance, () => this.#session.text())) as string;
  }

  save(): string {
    return refusing(this.#instance, () => this.#session.save());
  }

  /** The `index` that a new run step may take without meeting an earlier one's. */
  nextIndex(): bigint {
    return refusing(this.#instance, () => this.#session.nextIndex());
  }

  /** State and position from one cut: the state is a JSON object. */
  snapshot(): { at: Cursor; state: string } {
    const { at, state } = refusing(this.#instance, () => this.#session.resumeState());
    return { at: cursor(at), state };
  }

  /** How it stands to what the store says of the stream. */
  standing(head: Head | undefined): "current" | "behind" | "ahead" {
    const known = this.head();
    if (!head) return known.generation === 0 ? "current" : this.ended ? "behind" : "ahead";
    const order = head.cursor.generation - known.generation || head.cursor.sequence - known.sequence;
    if (order !== 0) return order < 0 ? "ahead" : "behind";
    if (head.revision < this.revision) return "ahead";
    return head.revision === this.revision && isTerminal(head.status) === this.ended ? "current" : "behind";
  }
}

const refusal = (reason: { tag: string; val?: unknown }): Refused =>
  new Refused(reason.tag, typeof reason.val === "bigint" ? Number(reason.val) : reason.val);
