/**
 * The way to one Redis: a connection for commands and one that listens, each made again as often as it takes.
 *
 * ioredis keeps two queues of its own, for commands without a connection and for those without an answer. Neither has a bound, and
 * what stands in them outlives a close. So both are off: what cannot be sent, or loses its connection, fails there at once, and waits here.
 */
import { Redis, type RedisOptions } from "ioredis";
import { Overloaded, Unavailable } from "../types.js";
import { failed, wasDemoted } from "./redis-wire.js";

/** A connection on which nothing is said for this long, though something was asked, is dropped; and nobody waits longer for one. */
const ANSWER_MAX_MS = 5_000;
/** Commands that wait for a connection. */
const WAITING_MAX = 65_536;
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
    for (const until = Date.now() + ANSWER_MAX_MS; ; ) {
      if (!this.isUp) await this.#connected(until);
      try {
        return await sent(this.#redis, command);
      } catch (error) {
        const { name, message } = error as Error;
        if (this.#closed) throw closed();
        if (name === "ReplyError") throw failed(message, error);
        if (this.isUp || Date.now() >= until) throw this.#away(message === LATE ? "it does not answer" : "connections to it drop", error);
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
    if (isUp(this.#listener)) await sent(this.#listener, command).catch(() => {});
  }

  #failed(error: Error): void {
    this.#why = error;
    // What no other attempt mends is told at once.
    if (isFinal(error)) for (const go of [...this.#waiting]) go(failed(error.message, error));
  }

  #away(what: string, cause: unknown): Unavailable {
    return new Unavailable(`Redis cannot be reached: ${this.#why?.message ?? what}`, { cause });
  }

  #connected(until: number): Promise<void> {
    if (this.#closed) throw closed();
    if (this.#why && isFinal(this.#why)) throw failed(this.#why.message, this.#why);
    if (this.#waiting.size >= WAITING_MAX) throw new Overloaded(`${WAITING_MAX} commands wait for Redis already`);
    return new Promise((resolve, reject) => {
      const go = (error?: Error): void => {
        clearTimeout(late);
        this.#waiting.delete(go);
        if (error) reject(error);
        else resolve();
      };
      const late = setTimeout(() => go(this.#away("it does not answer", this.#why)), until - Date.now());
      this.#waiting.add(go);
    });
  }
}

/** What the client says of a command that had no answer within `commandTimeout`. */
const LATE = "Command timed out";
const closed = (): Unavailable => new Unavailable("this store is closed");
const isFinal = (error: Error): boolean => !(failed(error.message) instanceof Unavailable);
const isUp = (redis: Redis): boolean => redis.status === "ready" && redis.stream.writable;

/** What is answered to `command` on the present connection; one that says nothing at all in that time is dropped. */
async function sent<T>(redis: Redis, command: (redis: Redis) => Promise<T>): Promise<T> {
  const { stream } = redis;
  const { bytesRead } = stream;
  try {
    return await command(redis);
  } catch (error) {
    const isSilent = (error as Error).message === LATE && stream.bytesRead === bytesRead;
    if (isSilent && redis.stream === stream && stream.writable) redis.disconnect(true);
    throw error;
  }
}
