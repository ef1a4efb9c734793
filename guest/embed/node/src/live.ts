/** One reader's way through the log: hints while it keeps up, pages of the log while it does not. */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { News } from "./rooms.js";
import type { Streams } from "./streams.js";
import { type Cursor, type Entry, type Job, Overloaded, Refused, Trapped, Unavailable, cursorText, endsWith, isTerminal, lastOf, records } from "./types.js";

export interface LiveOptions {
  /** A live stream without records sends a comment this often. Milliseconds. Default 15,000. */
  keepAliveMs?: number;
  /** A client that takes less than 16 KiB in this long, while there are more for it, is cut. Milliseconds. Default 60,000. */
  stallMs?: number;
}

/** What one reader may hold: a page of the log, and as much that came by hints. */
const PAGE_BYTES = 64 * 1024;
/** What a client must take within the time that it may stall. */
const PIECE_BYTES = 16 * 1024;
const PAUSE_MIN_MS = 250;
const PAUSE_MAX_MS = 2_000;
/** A store that forgot records is given them back by the session that wrote them, if that lives: so long readers stay. */
const RESCUE_WAIT_MS = 3_000;

export class Live {
  #ahead: Entry[] = [];
  #aheadBytes = 0;
  /** The log has, or may have, more than what came by hints. */
  #missed = true;
  #open = true;
  #bell: () => void = () => {};
  #position: Cursor;
  /** The state is to be sent before all records. */
  #first: { reset: boolean } | undefined;
  /** The log does not grow any more. */
  #settled: boolean;
  /** A hole in the log before this sequence is known, and the reader was reset for it. */
  #hole = 0;
  /** Since when the log ends before the reader's position. */
  #beyondMs: number | undefined;
  #pauseMs = PAUSE_MIN_MS;
  #sentMs = Date.now();
  #keepAliveMs: number;
  #stallMs: number;

  constructor(
    private readonly streams: Streams,
    private readonly stream: string,
    private readonly request: IncomingMessage,
    private readonly response: ServerResponse,
    private readonly job: Job,
    { keepAliveMs = 15_000, stallMs = 60_000 }: LiveOptions,
  ) {
    this.#position = { generation: job.generation, sequence: 0 };
    this.#settled = isTerminal(job.status);
    this.#keepAliveMs = keepAliveMs;
    this.#stallMs = stallMs;
  }

  /** Sends until the end of the generation, or until the client or the host leaves. */
  async run(after: Cursor | undefined, resume: boolean): Promise<void> {
    const left = (): void => {
      this.#open = false;
      this.#bell();
    };
    this.response.on("close", left);
    // One that waits for those before it on its connection (pipelining) has no socket yet, and never hears that it is gone.
    const socket = this.response.socket ? undefined : this.request.socket;
    socket?.on("close", left);
    // Joined before the log is read: the other order loses what commits in between; repeats fall out by cursor.
    const leave = this.streams.rooms.join(this.stream, (news) => this.#heard(news), true);
    try {
      await this.#send("retry: 1000\n\n");
      const { generation, head } = this.job;
      const reset = after !== undefined && (after.generation !== generation || after.sequence > head);
      if (resume || reset) this.#first = { reset };
      else if (after) this.#position = after;
      while (this.#open && !(await this.#patient())) await this.#news();
    } finally {
      leave();
      this.response.off("close", left);
      socket?.off("close", left);
      this.#end();
    }
  }

  /** Nobody waits for the last bytes: a client that does not take them is cut later. */
  #end(): void {
    if (!this.response.destroyed) {
      const late = setTimeout(() => this.response.destroy(), this.#stallMs).unref();
      this.response.once("close", () => clearTimeout(late));
    }
    this.response.end();
  }

  #heard(news: News): void {
    const { generation, sequence } = this.#position;
    if (news.is === "readers" || news.is === "resolved") return;
    if (news.is === "closed") this.#open = false;
    else if (news.is === "stands" && !this.#settled && news.ended && news.generation === generation) {
      this.#settled = true;
      this.#missed = true;
    } else if (news.is === "stands" && news.generation === generation && news.sequence === sequence) return;
    else if (news.is === "entry" && !this.#missed && this.#aheadBytes + news.entry.lines.length <= PAGE_BYTES) {
      this.#ahead.push(news.entry);
      this.#aheadBytes += news.entry.lines.length;
    } else {
      // It stands in the log.
      this.#missed = true;
      this.#ahead = [];
      this.#aheadBytes = 0;
    }
    this.#bell();
  }

  /** The same as {@link #step}, asked again while the store cannot be reached: the connection lives. */
  async #patient(): Promise<boolean> {
    try {
      const ended = await this.#step();
      if (!ended && this.#beyondMs === undefined) this.#pauseMs = PAUSE_MIN_MS;
      return ended;
    } catch (error) {
      if (error instanceof Refused && error.reason === "not-found") return true;
      if (!(error instanceof Unavailable || error instanceof Overloaded)) throw error;
      this.#missed = true;
      await this.#pause();
      return false;
    }
  }

  /** Sends what there is. True at the end. */
  async #step(): Promise<boolean> {
    if (this.#first) {
      await this.#sync(this.#first.reset);
      this.#first = undefined;
    }
    while (this.#open && !this.#missed && this.#ahead.length > 0) {
      const entries = this.#ahead;
      this.#ahead = [];
      this.#aheadBytes = 0;
      const next = entries.filter((entry) => entry.first.generation !== this.#position.generation || lastOf(entry) > this.#position.sequence);
      const first = next[0]?.first;
      const fits = !first || (first.sequence <= this.#position.sequence + 1 && next.every((entry) => entry.first.generation === this.#position.generation));
      if (!fits) this.#missed = true;
      else if (await this.#entries(next)) return true;
    }
    while (this.#open && this.#missed) {
      // Before the read: what is heard meanwhile is looked at afterwards.
      this.#missed = false;
      const settled = this.#settled;
      const page = await this.streams.store.read(this.stream, this.#position, PAGE_BYTES);
      if (page.is === "gone") {
        if (await this.streams.isGone(this.stream)) return true;
        this.#missed = true;
        await this.#pause();
        continue;
      }
      if (page.is === "reset") {
        if (page.end.generation !== this.#position.generation) return this.#replaced(page.end.generation);
        await this.#beyond();
        continue;
      }
      this.#beyondMs = undefined;
      if (page.entries.length === 0) {
        if (settled) return true;
        continue;
      }
      // There may be more behind this page.
      this.#missed = true;
      if (await this.#entries(page.entries)) return true;
    }
    return false;
  }

  /** The log ends before the reader's position: after a while it gets the present state. */
  async #beyond(): Promise<void> {
    this.#missed = true;
    this.#beyondMs ??= Date.now();
    if (Date.now() - this.#beyondMs < RESCUE_WAIT_MS) return this.#pause();
    this.#beyondMs = undefined;
    await this.#sync(true);
  }

  async #entries(entries: Entry[]): Promise<boolean> {
    let frames = "";
    let ended = false;
    for (const entry of entries) {
      const { sequence } = entry.first;
      if (sequence > this.#position.sequence + 1 && sequence > this.#hole) {
        // Records are gone from the log: what comes before the hole is sent, then the reader is told.
        this.#missed = true;
        if (frames === "") {
          this.#hole = sequence;
          await this.#sync(true);
        }
        break;
      }
      for (const { at, kind, json } of records(entry)) {
        if (at.sequence <= this.#position.sequence) continue;
        this.#position = at;
        if (kind === "internal") continue;
        frames += `${kind === "failure" ? "event: error\n" : ""}id: ${cursorText(at)}\ndata: ${json}\n\n`;
      }
      ended ||= endsWith(entry) !== undefined;
    }
    if (frames !== "") await this.#send(frames);
    return ended;
  }

  /** The whole state and the cursor that it covers, from one cut. */
  async #sync(reset: boolean): Promise<void> {
    let cut: { at: Cursor; state: string };
    try {
      cut = await this.streams.cut(this.stream);
    } catch (error) {
      if (!(error instanceof Trapped)) throw error;
      // The records are still there; only the fold is not.
      cut = { at: { generation: this.job.generation, sequence: 0 }, state: "null" };
    }
    // Another generation has the stream: a reader that had begun asks again.
    if (!this.#first && cut.at.generation !== this.#position.generation) return;
    const mark = reset ? '"reset":true,' : "";
    const state = cut.state.replace(/[\r\n]/g, " ");
    // What was known of the end was about the one before; of this one the log says it.
    if (cut.at.generation !== this.#position.generation) this.#settled = false;
    this.#position = cut.at;
    this.#missed = true;
    await this.#send(`id: ${cursorText(cut.at)}\ndata: {"sync":true,${mark}"resumeState":${state},"generation":${cut.at.generation}}\n\n`);
  }

  async #replaced(generation: number): Promise<boolean> {
    await this.#send(`data: {"final":true,"reconcile":true,"reconcileReason":"generation_replaced","generation":${generation}}\n\n`);
    return true;
  }

  /** Waits for more; a comment goes out in a long silence. */
  async #news(): Promise<void> {
    while (this.#open && !this.#missed && this.#ahead.length === 0) {
      const left = this.#sentMs + this.#keepAliveMs - Date.now();
      if (left > 0) await this.#wait(left, () => !this.#open || this.#missed || this.#ahead.length > 0);
      else await this.#send(": keep-alive\n\n");
    }
  }

  async #pause(): Promise<void> {
    const until = Date.now() + this.#pauseMs;
    this.#pauseMs = Math.min(this.#pauseMs * 2, PAUSE_MAX_MS);
    while (this.#open && Date.now() < until) await this.#wait(until - Date.now(), () => !this.#open);
  }

  async #wait(ms: number, isOver: () => boolean): Promise<void> {
    await new Promise<void>((resolve) => {
      const late = setTimeout(resolve, ms);
      this.#bell = () => {
        if (!isOver()) return;
        clearTimeout(late);
        resolve();
      };
      this.#bell();
    });
    this.#bell = () => {};
  }

  /** Waits until there is room: nothing is prepared for a reader that does not read. */
  async #send(text: string): Promise<void> {
    this.#sentMs = Date.now();
    const bytes = Buffer.from(text);
    // Room is there again when all is gone that was written: of a long text that may take longer than a client may stall.
    for (let from = 0; this.#open && from < bytes.length; from += PIECE_BYTES) {
      if (!this.response.write(bytes.subarray(from, from + PIECE_BYTES))) await this.#room();
    }
  }

  /** Waits until the client has taken what was written. One that takes nothing is cut, at once when the host leaves. */
  async #room(): Promise<void> {
    await new Promise<void>((resolve) => {
      const late = setTimeout(() => {
        this.#open = false;
        this.#bell();
      }, this.#stallMs);
      const done = (): void => {
        clearTimeout(late);
        this.response.off("drain", done);
        this.response.off("close", done);
        this.#bell = () => {};
        resolve();
      };
      this.response.once("drain", done).once("close", done);
      this.#bell = () => {
        if (this.#open) return;
        this.response.destroy();
        done();
      };
      this.#bell();
    });
  }
}
