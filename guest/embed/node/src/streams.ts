/** Streams of this process: the commands of `wit/session.wit`, each durable and told to readers when its promise resolves. */
import { setTimeout } from "node:timers/promises";
import { Engine, type EngineOptions } from "./engine.js";
import { Rooms, type RoomsOptions } from "./rooms.js";
import { Shared } from "./shared.js";
import type { Limits, Producer, Pushed } from "./session.js";
import { LIFETIMES, type Store } from "./store/store.js";
import { type Dialect, type Translated, Translator, opened, wholeLines } from "./translator.js";
import { type Cursor, type Job, Overloaded, Refused, Unavailable, checkStream, endsWith, isTerminal, json, lines, records } from "./types.js";

/** Milliseconds for which the name of a generation may be ahead of the clock. */
const NAME_WAITS_MAX = 20;

export interface StreamsOptions extends Partial<Limits>, EngineOptions, RoomsOptions {
  store: Store;
  /** Bodies of model providers that are read at a time. Default 1,000. */
  bodiesMax?: number;
  /** Generations that are watched by `stopped` at a time. Default 10,000. */
  watchedMax?: number;
}

/** What an abort leaves. */
export interface Aborted {
  job: Job;
  content: unknown[];
  /** All text parts, joined and trimmed. */
  text: string;
  finalEvent: unknown;
}

export class Streams {
  readonly store: Store;
  /** Who listens here: used by `subscribe`. */
  readonly rooms: Rooms;
  #engine: Engine;
  #sweeper: NodeJS.Timeout;
  #sweeping = false;
  #watched = new Set<() => void>();
  #watchedMax: number;
  /** What ends the reading of each body. */
  #bodies = new Set<() => void>();
  #bodiesMax: number;
  #closed = false;
  // Thousands of readers that come back at once ask the session once: its places are for who writes.
  #cuts = new Shared((stream) => this.snapshot(stream));
  #gone = new Shared((stream) => this.#isGone(stream));

  constructor(options: StreamsOptions) {
    const { store, bodiesMax = 1000, watchedMax = 10_000 } = options;
    const { recordBytesMax = 1 << 20, recordsMax = 200_000, logBytesMax = 64 << 20 } = options;
    // The store decides who is due; the session agrees.
    const { idleMs = LIFETIMES.idleMs, pausedIdleMs = LIFETIMES.pausedIdleMs } = { ...store.lifetimes, ...options };
    this.store = store;
    this.rooms = new Rooms(store, options);
    this.#engine = new Engine(store, { recordBytesMax, recordsMax, logBytesMax, idleMs, pausedIdleMs }, options);
    this.#bodiesMax = bodiesMax;
    this.#watchedMax = watchedMax;
    this.#sweeper = setInterval(() => void this.#sweep(), 1000).unref();
  }

  /** Sessions that are open now. */
  get sessions(): number {
    return this.#engine.open;
  }

  /** Makes a new generation. `made` is false when the idempotency key had made it before. */
  create(stream: string, request: object = {}, options: { userId?: string; idempotencyKey?: string } = {}): Promise<{ made: boolean; job: Job }> {
    const text = json(request);
    return this.#engine.run(stream, "row", (session) => session.create(options.userId, options.idempotencyKey, text), (session, made) => ({ made, job: session.job() }));
  }

  /**
   * Appends records: JSON lines, or a list of lines and objects. Everything that the answer counts is durable; what stopped
   * it, if anything, is in `stopped`. Errors: nothing was taken.
   */
  append(stream: string, events: string | Iterable<unknown>, options: { generation?: number; producer?: Producer } = {}): Promise<Pushed> {
    const text = lines(events);
    return this.#engine.run(stream, "content", (session) => session.push(text, options), (_, pushed) => {
      if (pushed.stopped && pushed.appended + pushed.duplicate === 0) throw pushed.stopped.reason;
      return pushed;
    });
  }

  /**
   * Appends a model provider's body as it comes, to its end: the `body` of a `fetch`, or anything that gives bytes or text.
   * It is never read faster than it can be stored. Errors: `invalid` names the line that is not what the dialect says;
   * everything before is kept.
   */
  async appendBody(stream: string, dialect: Dialect, body: AsyncIterable<Uint8Array | string>, { generation }: { generation?: number } = {}): Promise<{ appended: number; last?: Cursor }> {
    if (this.#bodies.size >= this.#bodiesMax) throw new Overloaded(`${this.#bodies.size} bodies are read already: raise bodiesMax`);
    const { pieces, leave } = opened(body);
    const translator = new Translator(dialect);
    const done: { appended: number; last?: Cursor } = { appended: 0 };
    // One body never feeds two generations.
    let of = generation;
    const take = (translate: (index: bigint) => Translated, isEnd: boolean): Promise<void> =>
      this.#engine.inTurn(stream, async () => {
        const index = await this.#engine.run(stream, "content", (session) => session.nextIndex(), (_, next) => next);
        const { records: translated, bad } = translate(index);
        // A body without records still asks whether the job would take any.
        if (translated !== "" || (isEnd && done.last === undefined)) {
          const pushed = await this.append(stream, translated, of === undefined ? {} : { generation: of });
          done.appended += pushed.appended;
          if (pushed.last) done.last = pushed.last;
          of ??= pushed.first?.generation;
          if (pushed.stopped) throw pushed.stopped.reason;
        }
        if (bad) throw new Refused("invalid", `line ${bad.line} of the body: ${bad.reason}`);
      });
    const texts = wholeLines(pieces);
    let stop: (error: Error) => void = () => {};
    // A model that says nothing does not hold a host that closes.
    const next = (): Promise<IteratorResult<string>> =>
      new Promise((resolve, reject) => {
        stop = reject;
        if (this.#closed) end();
        else texts.next().then(resolve, reject);
      });
    const end = (): void => stop(new Unavailable("this host is closed"));
    this.#bodies.add(end);
    try {
      for (let text = await next(); !text.done; text = await next()) {
        const lines = text.value;
        await take((index) => translator.push(lines, index), false);
      }
      await take((index) => translator.finish(index), true);
      return done;
    } finally {
      this.#bodies.delete(end);
      leave();
      // Nor does one that does not hear that nobody reads it any more.
      texts.return(undefined).catch(() => {});
      translator.close();
    }
  }

  /** Writes metadata. Never changes the status. */
  update(stream: string, fields: object): Promise<Job> {
    const text = json(fields);
    return this.#engine.run(stream, "content", (session) => session.update(text), (session) => session.job());
  }

  /** Ends well, with this final event or one made from the content. */
  complete(stream: string, options: { generation?: number; finalEvent?: object } = {}): Promise<Job> {
    const event = options.finalEvent && json(options.finalEvent);
    return this.#engine.run(stream, "content", (session) => session.complete(options.generation, event), (session) => session.job());
  }

  /** Ends in `error` with this reason. */
  fail(stream: string, reason: string, options: { generation?: number } = {}): Promise<Job> {
    return this.#engine.run(stream, "content", (session) => session.fail(options.generation, reason), (session) => session.job());
  }

  /** Stops for the reader's sake; the winner gets what there is. Errors: `not-active` when it had ended. */
  abort(stream: string, options: { generation?: number } = {}): Promise<Aborted> {
    return this.#engine.run(
      stream,
      "content",
      (session) => session.abort(options.generation),
      (session, _, entry) => {
        const last = entry && [...records(entry)].at(-1);
        const finalEvent = last ? (JSON.parse(last.json) as unknown) : null;
        return { job: session.job(), content: JSON.parse(session.content()) as unknown[], text: session.text(), finalEvent };
      },
    );
  }

  /** Pauses until a person answers. */
  pause(stream: string, action: object, options: { generation?: number } = {}): Promise<Job> {
    const text = json(action);
    return this.#engine.run(stream, "content", (session) => session.pause(options.generation, text), (session) => session.job());
  }

  /** The person's answer: exactly one wins. */
  resolve(stream: string, actionId: string, decision: unknown, options: { generation?: number } = {}): Promise<Job> {
    const text = json(decision ?? null);
    return this.#engine.run(stream, "content", (session) => session.resolve(options.generation, actionId, text), (session) => session.job());
  }

  /** Job and folded content from one cut. */
  content(stream: string): Promise<{ job: Job; at: Cursor; parts: unknown[] }> {
    return this.#engine.run(stream, "content", () => undefined, (session) => ({ job: session.job(), at: session.head(), parts: JSON.parse(session.content()) as unknown[] }));
  }

  /** What a returning reader needs (a JSON object), and the cursor that it covers. */
  snapshot(stream: string): Promise<{ at: Cursor; state: string }> {
    return this.#engine.run(stream, "content", () => undefined, (session) => session.snapshot());
  }

  /**
   * Aborts when the generation has ended, was replaced or is gone, whoever did it on whichever replica, and when this host
   * closes: give it to the call of the model. Ask for it once a generation; it is released with the end of the generation.
   */
  stopped(stream: string, generation: number): AbortSignal {
    checkStream(stream);
    if (this.#watched.size >= this.#watchedMax) throw new Overloaded(`${this.#watched.size} generations are watched already: raise watchedMax`);
    const stop = new AbortController();
    const leave = this.rooms.join(stream, (news) => {
      if (news.is === "stands" && news.generation === generation && !news.ended) return;
      if (news.is === "entry" && news.entry.first.generation === generation && !endsWith(news.entry)) return;
      if (news.is === "closed") end();
      else if (news.is !== "readers" && news.is !== "resolved") void look();
    }, false);
    const end = (): void => {
      leave();
      this.#watched.delete(end);
      stop.abort();
    };
    const look = async (): Promise<void> => {
      // A store that cannot be reached says nothing about the generation.
      const head = await this.store.head(stream).catch(() => null);
      if (head === null || (head?.cursor.generation === generation && !isTerminal(head.status))) return;
      if (head || (await this.isGone(stream).catch(() => false))) end();
    };
    this.#watched.add(end);
    void look();
    return stop.signal;
  }

  /** The same as {@link snapshot}, made once for all readers that ask at the same time. */
  cut(stream: string): Promise<{ at: Cursor; state: string }> {
    return this.#cuts.get(stream);
  }

  /** Whether the store has no such stream. What it has forgotten, and a session here still knows, it is given back before. */
  isGone(stream: string): Promise<boolean> {
    return this.#gone.get(stream);
  }

  async #isGone(stream: string): Promise<boolean> {
    if (await this.store.head(stream)) return false;
    await this.#engine.run(stream, "row", () => undefined, () => undefined);
    return (await this.store.head(stream)) === undefined;
  }

  /** Forgets a stream now; an active job is aborted first. */
  async remove(stream: string): Promise<void> {
    checkStream(stream);
    const job = await this.store.job(stream);
    if (!job) throw new Refused("not-found");
    if (!isTerminal(job.status)) await this.abort(stream, { generation: job.generation }).catch(() => {});
    // Not in the millisecond that it is named after: made anew in the same one, the stream would have equal cursors.
    for (let waits = 0; Date.now() <= job.generation && waits < NAME_WAITS_MAX; waits++) await setTimeout(1);
    await this.store.remove(stream, job.generation);
    this.#engine.forget(stream);
  }

  /** Ends everything: live responses, what `stopped` gave, bodies that are read, the sweeper, the sessions and the store. Streams in Redis live on. */
  async close(): Promise<void> {
    this.#closed = true;
    clearInterval(this.#sweeper);
    this.rooms.close();
    for (const end of [...this.#watched, ...this.#bodies]) end();
    this.#engine.close();
    await this.store.close();
  }

  async #sweep(): Promise<void> {
    if (this.#sweeping) return;
    this.#sweeping = true;
    try {
      for (const stream of await this.store.sweep()) {
        // Another replica was first, or the job went on: nothing is left to do.
        await this.#engine.run(stream, "content", (session) => session.timeOut(), () => undefined).catch(() => {});
      }
      await this.#engine.dropIdle();
    } catch {
      // The store cannot be reached: a second later it is asked again.
    } finally {
      this.#sweeping = false;
    }
  }
}
