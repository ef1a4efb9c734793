/**
 * The way to one Redis: a connection for commands and one that listens, each made again as often as it takes.
 *
 * ioredis keeps two queues of its own without a bound. The one for commands without a connection is off: they wait here. The one for
 * commands without an answer cannot be, and keeps even those that nobody waits for any more: so many are under way at a time, and so
 * many late on one connection. What loses its connection leaves that queue at once, and is sent again from here.
 */
import { Redis, type RedisOptions } from "ioredis";
import { Overloaded, Unavailable } from "../types.js";
import { failed, wasDemoted } from "./redis-wire.js";

/** A connection on which nothing is said for this long, though something was asked, is dropped; and nobody waits longer for one. */
const ANSWER_MAX_MS = 5_000;
/** Commands that wait, for a connection or for an answer; and as many to the connection that listens. */
const ASKED_MAX = 65_536;
/** Commands on one connection that had no answer in time, nor has any after them: it is dropped. */
const LATE_MAX = 1_024;
/** What a connection that is given up may still take to end. */
const DISCONNECT_MS = 100;
const AGAIN_MIN_MS = 50;
const AGAIN_MAX_MS = 500;
/** Who only listens never learns that the other side is gone: it is asked this often. */
const PING_EVERY_MS = 5_000;

export interface Listening {
  heard: (channel: string, message: string) => void;
  /** All channels are listened to again: in between, anything may have been said. */
  again: () => void;
}

export class Link {
  #redis: Redis;
  #listener: Redis;
  #channels = new Set<string>();
  /** Those that wait for a connection, in the order in which they came. */
  #waiting = new Set<(error?: Error) => void>();
  /** Why there is no connection. */
  #why: Error | undefined;
  #closed = false;
  /** Commands that somebody waits for. */
  #asked = 0;
  /** Commands to the listener without an answer. */
  #told = 0;
  #ping: NodeJS.Timeout;

  constructor(url: string, { heard, again }: Listening) {
    const options: RedisOptions = {
      connectTimeout: ANSWER_MAX_MS,
      commandTimeout: ANSWER_MAX_MS,
      disconnectTimeout: DISCONNECT_MS,
      maxLoadingRetryTime: AGAIN_MAX_MS,
      retryStrategy: (times) => (this.#closed ? null : Math.min(times * AGAIN_MIN_MS, AGAIN_MAX_MS)),
      reconnectOnError: wasDemoted,
      enableOfflineQueue: false,
      maxRetriesPerRequest: 0,
      autoResendUnfulfilledCommands: false,
      autoResubscribe: false,
    };
    this.#redis = new Redis(url, options);
    this.#redis.on("error", (error: Error) => this.#failed(error));
    this.#redis.on("ready", () => {
      this.#why = undefined;
      for (const go of [...this.#waiting]) go();
    });
    this.#listener = new Redis(url, options);
    // What is wrong with one is wrong with the other, which says it.
    this.#listener.on("error", () => {});
    this.#listener.on("messageBuffer", (channel: Buffer, message: Buffer) => heard(channel.toString(), message.toString()));
    this.#listener.on("ready", () => {
      const all = [...this.#channels];
      // It fails with the connection: the next one asks again.
      const asked = all.length > 0 ? this.#tellListener((listener) => listener.subscribe(...all)) : Promise.resolve();
      void asked.then(again);
    });
    this.#ping = setInterval(() => void this.#tellListener((listener) => listener.ping()), PING_EVERY_MS).unref();
  }

  /** Whether a command would be sent at once. */
  get isUp(): boolean {
    return isUp(this.#redis);
  }

  /**
   * What Redis answers to `command`, which is repeated when its connection drops: it must be one that may be. Errors: `Unavailable`
   * without an answer in time and at once when the link is closed, `Overloaded`, and what {@link failed} makes of an answer.
   */
  async ask<T>(command: (redis: Redis) => Promise<T>): Promise<T> {
    if (this.#closed) throw closed();
    if (this.#asked >= ASKED_MAX) throw new Overloaded(`${ASKED_MAX} commands wait for Redis already`);
    this.#asked += 1;
    try {
      return await this.#answer(command);
    } finally {
      this.#asked -= 1;
    }
  }

  async #answer<T>(command: (redis: Redis) => Promise<T>): Promise<T> {
    for (const until = Date.now() + ANSWER_MAX_MS; ; ) {
      if (!this.isUp) await this.#connected(until);
      try {
        return await sent(this.#redis, command);
      } catch (error) {
        const { name, message } = error as Error;
        if (this.#closed) throw closed();
        if (name === "ReplyError") throw failed(message, error);
        if (this.isUp || Date.now() >= until) throw this.#away(ofClient(message), error);
      }
    }
  }

  listen(channel: string): void {
    this.#channels.add(channel);
    void this.#tellListener((listener) => listener.subscribe(channel));
  }

  ignore(channel: string): void {
    this.#channels.delete(channel);
    void this.#tellListener((listener) => listener.unsubscribe(channel));
  }

  /** Ends both connections; whoever waits is told. */
  close(): void {
    this.#closed = true;
    clearInterval(this.#ping);
    for (const go of [...this.#waiting]) go(closed());
    for (const redis of [this.#redis, this.#listener]) redis.disconnect();
  }

  /** Only to a connection that stands: the next one asks for all channels. Never fails. */
  async #tellListener(command: (listener: Redis) => Promise<unknown>): Promise<void> {
    if (!isUp(this.#listener)) return;
    if (this.#told >= ASKED_MAX) return this.#listener.disconnect(true);
    this.#told += 1;
    await sent(this.#listener, command).catch(() => {});
    this.#told -= 1;
  }

  #failed(error: Error): void {
    const isTold = error.name === "ReplyError" || "code" in error;
    this.#why = isTold ? error : new Error(ofClient(error.message), { cause: error });
    // What no other attempt mends is told at once.
    if (isFinal(error)) for (const go of [...this.#waiting]) go(failed(error.message, error));
  }

  #away(what: string, cause: unknown): Unavailable {
    return new Unavailable(`Redis cannot be reached: ${this.#why?.message ?? what}`, { cause });
  }

  #connected(until: number): Promise<void> {
    if (this.#why && isFinal(this.#why)) throw failed(this.#why.message, this.#why);
    return new Promise((resolve, reject) => {
      const go = (error?: Error): void => {
        clearTimeout(late);
        this.#waiting.delete(go);
        if (error) reject(error);
        else resolve();
      };
      const late = setTimeout(() => go(this.#away(ofClient(LATE), this.#why)), until - Date.now());
      this.#waiting.add(go);
    });
  }
}

/** What the client says of a command that had no answer within `commandTimeout`. */
const LATE = "Command timed out";
/** What it means that a command has failed of which neither Redis nor the system says why: what the client says is about itself. */
const ofClient = (message: string): string => (message === LATE ? "it does not answer" : "connections to it drop");
const closed = (): Unavailable => new Unavailable("this store is closed");
const isFinal = (error: Error): boolean => !(failed(error.message) instanceof Unavailable);
const isUp = (redis: Redis): boolean => redis.status === "ready" && redis.stream.writable;

/** How many late commands each connection holds. */
const lateOn = new WeakMap<object, number>();

/** What is answered to `command` on the present connection; one that says nothing at all in that time, or is that far behind, is dropped. */
async function sent<T>(redis: Redis, command: (redis: Redis) => Promise<T>): Promise<T> {
  const { stream } = redis;
  const { bytesRead } = stream;
  try {
    const answer = await command(redis);
    // In the order of the commands: with one in time, all that were late before have had theirs.
    lateOn.delete(stream);
    return answer;
  } catch (error) {
    const { name, message } = error as Error;
    if (name === "ReplyError") lateOn.delete(stream);
    if (message !== LATE) throw error;
    const behind = (lateOn.get(stream) ?? 0) + 1;
    lateOn.set(stream, behind);
    const isLost = stream.bytesRead === bytesRead || behind >= LATE_MAX;
    if (isLost && redis.stream === stream && stream.writable) redis.disconnect(true);
    throw error;
  }
}
