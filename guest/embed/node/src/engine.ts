/** The way of every command: finds or opens the session of its stream, calls it, carries out what it asked for, settles it. */
import { randomBytes } from "node:crypto";
import type { Asked, Write } from "./component.js";
import { openSession } from "./open.js";
import { type Limits, Session } from "./session.js";
import type { Store, Written } from "./store/store.js";
import { type Entry, Overloaded, Refused, Trapped, Unavailable, checkStream, isTerminal, lastOf } from "./types.js";

export interface EngineOptions {
  /** Sessions held ready for the next command. Default 1,000. */
  sessionsMax?: number;
  /** A session without work is dropped after this time; its stream lives on in the store. Milliseconds. Default 60,000. */
  sessionIdleMs?: number;
  /** Commands of one stream that may wait for their turn. Default 256. */
  waitingMax?: number;
  /** How long a command waits for its turn, and for a store that cannot be reached. Milliseconds. Default 10,000. */
  storeWaitMs?: number;
}

interface Slot {
  session?: Session;
  /** The command that runs, and those that wait. */
  tail: Promise<unknown>;
  waiting: number;
  /** The provider's body that has its turn, and those that wait. */
  turn: Promise<unknown>;
  turns: number;
  usedMs: number;
}

/** What a command must find in its session: the job alone is enough to replace a stream whose content cannot be opened. */
export type Needs = "content" | "row";

/** How often a command is repeated because somebody else wrote in between. */
const ATTEMPTS = 8;
const LAST_ENTRY_BYTES = 16 * 1024;
/** Sessions that one sweep compares with the store before they may go. */
const CONFIRMED_AT_ONCE = 64;
/** A pressed session may go after so little. */
const PRESSED_IDLE_MS = 100;

export class Engine {
  #slots = new Map<string, Slot>();
  #closed = false;
  #options: Required<EngineOptions>;
  // Tickets of this process must differ from those of every other one: 36 random bits are plenty, and short in every entry.
  #sessionId = randomBytes(8).readBigUInt64BE() >> 28n;

  constructor(
    readonly store: Store,
    private readonly limits: Limits,
    { sessionsMax = 1000, sessionIdleMs = 60_000, waitingMax = 256, storeWaitMs = 10_000 }: EngineOptions,
  ) {
    this.#options = { sessionsMax, sessionIdleMs, waitingMax, storeWaitMs };
  }

  /** Sessions that are open now. */
  get open(): number {
    return this.#slots.size;
  }

  /**
   * Runs `command`; when the store has accepted what it asked for, `after` looks at the result. One at a time on a stream.
   *
   * `command` is repeated on a freshly opened session when the store says that the present one is behind. What is only
   * read is believed only while the store stands where the session does: nothing else would fence it.
   */
  async run<T, U>(stream: string, needs: Needs, command: (session: Session) => T, after: (session: Session, value: T, entry?: Entry) => U): Promise<U> {
    checkStream(stream);
    if (this.#closed) throw closed();
    const slot = this.#slot(stream);
    if (slot.waiting >= this.#options.waitingMax) throw new Overloaded(`${slot.waiting} commands of this stream wait: await each before the next`);
    slot.waiting += 1;
    const until = Date.now() + this.#options.storeWaitMs;
    const mine = slot.tail.then(() => {
      if (this.#closed) throw closed();
      if (Date.now() > until) throw new Unavailable("the commands before it took too long");
      return this.#attempt(stream, slot, needs, until, command, after);
    });
    slot.tail = mine.catch(() => {});
    try {
      return await mine;
    } finally {
      slot.waiting -= 1;
      slot.usedMs = Date.now();
    }
  }

  /** Runs `work` when no other body of the stream has its turn on this host: two that were told the same index would share a place. */
  async inTurn<T>(stream: string, work: () => Promise<T>): Promise<T> {
    checkStream(stream);
    const slot = this.#slot(stream);
    // Counted apart from commands: whoever has the turn still needs those.
    if (slot.turns >= this.#options.waitingMax) throw new Overloaded(`${slot.turns} bodies of this stream wait`);
    slot.turns += 1;
    const mine = slot.turn.then(work);
    slot.turn = mine.catch(() => {});
    try {
      return await mine;
    } finally {
      slot.turns -= 1;
    }
  }

  /** Forgets the session of a stream that was removed from the store. */
  forget(stream: string): void {
    const slot = this.#slots.get(stream);
    // In its turn: a command may be using it.
    if (slot) slot.tail = slot.tail.then(() => drop(slot));
  }

  /**
   * Drops sessions without work. A store with replicas may forget what it acknowledged; as long as the session lives it can
   * give that back, so the store is asked before.
   */
  async dropIdle(): Promise<void> {
    const before = Date.now() - this.#options.sessionIdleMs;
    const idle = [...this.#slots].filter(([, slot]) => isIdle(slot, before));
    for (const [stream, slot] of idle) if (!slot.session?.unconfirmed) this.#remove(stream, slot);
    const asked = idle.filter(([, slot]) => slot.session?.unconfirmed).slice(0, CONFIRMED_AT_ONCE);
    await Promise.allSettled(asked.map(([stream, slot]) => this.run(stream, "row", () => undefined, () => undefined).finally(() => (slot.usedMs = before))));
  }

  /** Gives all sessions back; commands that wait for the store fail. */
  close(): void {
    this.#closed = true;
    for (const [stream, slot] of this.#slots) this.#remove(stream, slot);
  }

  #remove(stream: string, slot: Slot): void {
    // In its turn: a command may be using it.
    if (slot.waiting === 0) drop(slot);
    else slot.tail = slot.tail.then(() => drop(slot));
    this.#slots.delete(stream);
  }

  #slot(stream: string): Slot {
    const known = this.#slots.get(stream);
    if (known) return known;
    if (this.#slots.size >= this.#options.sessionsMax) {
      const before = Date.now() - PRESSED_IDLE_MS;
      for (const [name, slot] of this.#slots) if (isIdle(slot, before)) this.#remove(name, slot);
      if (this.#slots.size >= this.#options.sessionsMax) throw new Overloaded("all sessions are at work: try again, or raise sessionsMax");
    }
    const slot = { tail: Promise.resolve(), turn: Promise.resolve(), waiting: 0, turns: 0, usedMs: Date.now() };
    this.#slots.set(stream, slot);
    return slot;
  }

  async #attempt<T, U>(stream: string, slot: Slot, needs: Needs, until: number, command: (session: Session) => T, after: (session: Session, value: T, entry?: Entry) => U): Promise<U> {
    // In an instance of its own, because in the shared one it trapped.
    let alone = false;
    for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
      // Another stream of the same instance may have trapped meanwhile; one of the row alone was good for its command only.
      if (slot.session && !(slot.session.alive && slot.session.whole)) drop(slot);
      const fresh = slot.session === undefined;
      const session = (slot.session ??= await this.#open(stream, needs, until, alone));
      // Another stream's trap while this one opened.
      if (!session.alive) {
        drop(slot);
        continue;
      }
      let value: T | undefined;
      let refused: Refused | undefined;
      try {
        value = command(session);
      } catch (error) {
        if (!(error instanceof Refused)) {
          drop(slot);
          if (!(error instanceof Trapped) || alone) throw error;
          // Nothing was stored; others share the instance, and it may have been their memory. In one of its own it is its own.
          alone = true;
          continue;
        }
        refused = error;
      }
      const { write } = session.take();
      if (!write) {
        if (!fresh && !(await this.#agrees(stream, session, until))) {
          drop(slot);
          continue;
        }
        if (refused) throw refused;
        try {
          return after(session, value as T);
        } catch (error) {
          if (!(error instanceof Trapped) || alone) throw error;
          drop(slot);
          alone = true;
          continue;
        }
      }
      if (refused) throw refused;
      // What it has folded is not true until the store says so: whatever goes wrong from here on, it is not used again.
      delete slot.session;
      try {
        const written = await this.#written(stream, session, write, until);
        if (written.is === "behind" || written.is === "ahead") continue;
        if (written.is !== "accepted") {
          if (!fresh || write.kind === "create") continue;
          throw refusal(written);
        }
        const entry = noteAccepted(session, write);
        // Whether a trap that follows is its own, or was another stream's.
        alone ||= session.alive;
        try {
          session.accept(write.ticket);
          slot.session = session;
          this.#tell(stream, session.take());
          return after(session, value as T, entry);
        } catch (error) {
          if (!(error instanceof Trapped)) throw error;
          // It is in the log, whatever became of the instance: the answer is had from a fresh session.
          slot.session = await this.#open(stream, "content", until, alone);
          return after(slot.session, value as T, entry);
        }
      } finally {
        if (slot.session !== session) session.close();
      }
    }
    throw new Overloaded("contended: other producers write to the stream; try again");
  }

  async #open(stream: string, needs: Needs, until: number, alone: boolean): Promise<Session> {
    const make = (...[job, checkpoint, alone]: Parameters<Parameters<typeof openSession>[2]>): Session => {
      this.#sessionId += 1n;
      return new Session(this.#sessionId, stream, job, checkpoint, this.limits, alone);
    };
    const settle = async (session: Session): Promise<boolean> => {
      const { write } = session.take();
      return !write || (await this.#write(stream, session, write, until)).is === "accepted";
    };
    return openSession(this.store, stream, make, settle, needs, (ask) => this.#patiently(ask, until), alone);
  }

  /** Carries a write out; what the store has forgotten it is given back with it. */
  async #written(stream: string, session: Session, write: Write, until: number): Promise<Written> {
    const written = await this.#write(stream, session, write, until);
    const forgotten = (written.is === "ahead" || written.is === "not-found") && write.kind === "append";
    // One that another stream's trap took with it has nothing to give back.
    if (!forgotten || !session.alive) return written;
    // The row may be at any revision then: this session is good for the rest of this command.
    session.whole = false;
    return this.#rescue(stream, session, until, write);
  }

  #write(stream: string, session: Session, write: Write, until: number): Promise<Written> {
    const ticket = { session: session.id, number: write.ticket };
    if (write.kind === "create") return this.#patiently(() => this.store.create(stream, ticket, write.previous, write.job), until);
    const { first, entry, expectedStatus, status, fields } = write;
    const append = { ticket, first, expectedStatus, expectedRevision: session.revision, fields, ...(entry && { entry }), ...(status && { status }) };
    return this.#patiently(() => this.store.append(stream, append), until);
  }

  /** Gives a store that has forgotten acknowledged writes what the session knows. */
  async #rescue(stream: string, session: Session, until: number, write?: Write): Promise<Written> {
    const job = { ...session.job(), revision: session.revision + (write ? 1 : 0) };
    const pending = write?.kind === "append" ? write.entry : undefined;
    const last = pending ?? session.lastEntry;
    const entry = last && last.first.generation === job.generation && lastOf(last) === job.head ? last : undefined;
    const ticket = { session: session.id, number: BigInt(job.revision) };
    const rescue = { ticket, job, checkpoint: session.save(), ...(entry && { entry }) };
    return this.#patiently(() => this.store.rescue(stream, rescue), until);
  }

  /** Whether the store stands where the session does; what it has forgotten it is given back. */
  async #agrees(stream: string, session: Session, until: number): Promise<boolean> {
    const head = await this.#patiently(() => this.store.head(stream), until);
    if (!session.alive) return false;
    const standing = session.standing(head);
    if (standing === "ahead") await this.#rescue(stream, session, until);
    session.unconfirmed = false;
    return standing === "current" && session.alive;
  }

  /** Repeats what a store that cannot be reached did not answer: tickets make that harmless. */
  async #patiently<T>(ask: () => Promise<T>, until: number): Promise<T> {
    for (let pause = 20; ; pause = Math.min(pause * 2, 500)) {
      try {
        return await ask();
      } catch (error) {
        if (this.#closed || !(error instanceof Unavailable) || Date.now() + pause > until) throw error;
        await new Promise((resolve) => setTimeout(resolve, pause));
      }
    }
  }

  /** Readers hear of it through the store, which tells all replicas alike. */
  #tell(stream: string, { checkpoint, signals }: Asked): void {
    // Losing either costs time, never data.
    if (checkpoint) this.store.putCheckpoint(stream, checkpoint.at, checkpoint.state).catch(() => {});
    for (const signal of signals) {
      if (signal.kind === "resolved") this.store.resolved(stream, signal.generation, signal.answer).catch(() => {});
    }
  }
}

const isIdle = (slot: Slot, before: number): boolean => slot.waiting === 0 && slot.turns === 0 && slot.usedMs <= before;

const closed = (): Unavailable => new Unavailable("this host is closed");

function drop(slot: Slot): void {
  slot.session?.close();
  delete slot.session;
}

function noteAccepted(session: Session, write: Write): Entry | undefined {
  session.unconfirmed = true;
  if (write.kind === "create") {
    // A new generation is empty: there is nothing to replay.
    session.ended = false;
    session.revision = 1;
    session.lastEntry = undefined;
    session.whole = true;
    return undefined;
  }
  session.revision += 1;
  session.ended ||= write.status !== undefined && isTerminal(write.status);
  const { entry } = write;
  // The end of a generation must come back as a record; of other entries the checkpoint has all there is to know.
  if (entry) session.lastEntry = session.ended || entry.lines.length <= LAST_ENTRY_BYTES ? entry : undefined;
  return entry;
}

function refusal(written: Exclude<Written, { is: "accepted" | "behind" | "ahead" }>): Refused {
  if (written.is === "generation-replaced") return new Refused(written.is, written.generation);
  if (written.is === "not-active") return new Refused(written.is, written.status);
  return new Refused(written.is);
}
