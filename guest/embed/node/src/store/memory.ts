import { type Cursor, type Entry, type Job, Overloaded, isTerminal, lastOf } from "../types.js";
import { type Append, type Head, LIFETIMES, type Lifetimes, type Page, type Rescue, type Store, type Ticket, type Wake, type Written } from "./store.js";

interface Row {
  job: Job;
  activeMs: number;
  by: string;
  last: string;
  log: Entry[];
  tickets: Map<string, number>;
  checkpoint?: { at: Cursor; state: string };
  chars: number;
}

/** What an entry costs beside its lines: short ones are mostly that. */
const ENTRY_CHARS = 256;
const ACCEPTED: Written = { is: "accepted" };
const name = (ticket: Ticket): string => `${ticket.session}.${ticket.number}`;

export interface MemoryOptions extends Partial<Lifetimes> {
  /** Streams, settled ones within their retention included. Default 10,000. */
  streamsMax?: number;
  /** Active jobs of one user. Default 100. */
  jobsPerUserMax?: number;
  /** Characters of all logs and checkpoints, and 256 more for each append. Default 256 Mi. */
  charsMax?: number;
}

/** Jobs and logs in this process: gone when it ends. */
export class MemoryStore implements Store {
  readonly lifetimes: Lifetimes;
  #rows = new Map<string, Row>();
  #followers = new Map<string, Set<(wake: Wake) => void>>();
  #streamsMax: number;
  #jobsPerUserMax: number;
  #charsMax: number;
  #chars = 0;

  constructor({ streamsMax = 10_000, jobsPerUserMax = 100, charsMax = 256 << 20, ...lifetimes }: MemoryOptions = {}) {
    this.lifetimes = { ...LIFETIMES, ...lifetimes };
    this.#streamsMax = streamsMax;
    this.#jobsPerUserMax = jobsPerUserMax;
    this.#charsMax = charsMax;
  }

  #row(stream: string): Row | undefined {
    const row = this.#rows.get(stream);
    return row && isTerminal(row.job.status) && this.#dueMs(row) <= Date.now() ? undefined : row;
  }

  #dueMs({ job, activeMs }: Row): number {
    if (job.status === "running") return activeMs + this.lifetimes.idleMs;
    if (job.status === "requires_action") return activeMs + this.lifetimes.pausedIdleMs;
    return (job.settledMs ?? activeMs) + this.lifetimes.retentionMs;
  }

  #grow(row: Row, chars: number): void {
    row.chars += chars;
    this.#chars += chars;
  }

  #forget(stream: string): void {
    this.#chars -= this.#rows.get(stream)?.chars ?? 0;
    this.#rows.delete(stream);
  }

  #tell(stream: string, wake: Wake): void {
    for (const heard of this.#followers.get(stream) ?? []) heard(wake);
  }

  async job(stream: string): Promise<Job | undefined> {
    const job = this.#row(stream)?.job;
    return job && structuredClone(job);
  }

  async head(stream: string): Promise<Head | undefined> {
    const job = this.#row(stream)?.job;
    return job && { cursor: { generation: job.generation, sequence: job.head }, status: job.status, revision: job.revision };
  }

  async create(stream: string, ticket: Ticket, previous: number, job: Job): Promise<Written> {
    const row = this.#row(stream);
    if (row?.by === name(ticket) && row.job.generation === job.generation) return ACCEPTED;
    if ((row?.job.generation ?? 0) !== previous) return { is: "generation-replaced", generation: row?.job.generation ?? 0 };
    if (!row && this.#rows.size >= this.#streamsMax) throw new Overloaded(`store full: it holds ${this.#streamsMax} streams`);
    let active = 0;
    for (const other of this.#rows.values()) if (other !== row && other.job.userId === job.userId && !isTerminal(other.job.status)) active += 1;
    if (active >= this.#jobsPerUserMax) throw new Overloaded(`this user has ${active} active jobs, which is the limit: complete or abort one first`);
    this.#forget(stream);
    const fresh = { ...structuredClone(job), head: 0, revision: 1 };
    this.#rows.set(stream, { job: fresh, activeMs: Date.now(), by: name(ticket), last: "", log: [], tickets: new Map(), chars: 0 });
    this.#tell(stream, { is: "head" });
    return ACCEPTED;
  }

  async append(stream: string, append: Append): Promise<Written> {
    const row = this.#row(stream);
    if (!row) return { is: "not-found" };
    const { job } = row;
    const { generation, sequence } = append.first;
    if (generation < job.generation) return { is: "generation-replaced", generation: job.generation };
    const end = { generation: job.generation, sequence: job.head };
    if (generation > job.generation) return { is: "ahead", end };
    const ticket = name(append.ticket);
    if (append.entry ? row.tickets.get(ticket) === sequence : row.last === ticket) return ACCEPTED;
    const fits = job.status === append.expectedStatus && job.revision === append.expectedRevision;
    if (isTerminal(job.status) && !(fits && !append.entry && !append.status)) return { is: "not-active", status: job.status };
    if (sequence - 1 !== job.head || !fits) return { is: "behind", head: job.head };

    const chars = append.entry ? append.entry.lines.length + ENTRY_CHARS : 0;
    // The end of a generation is written even where there is no room left.
    if (this.#chars + chars > this.#charsMax && !(append.status && isTerminal(append.status))) {
      throw new Overloaded(`store full: ${this.#charsMax} characters are in use; raise charsMax or shorten the retention`);
    }
    this.#grow(row, chars);
    job.revision += 1;
    if (append.entry) {
      row.log.push(append.entry);
      row.tickets.set(ticket, sequence);
      job.head = lastOf(append.entry);
      job.updatedMs = Date.now();
    } else {
      row.last = ticket;
    }
    if (append.entry || append.status) row.activeMs = Date.now();
    if (append.status) {
      job.status = append.status;
      if (isTerminal(append.status)) job.settledMs = Date.now();
    }
    for (const [field, json] of append.fields) {
      job.fields = job.fields.filter(([known]) => known !== field);
      if (json !== "null") job.fields.push([field, json]);
    }
    this.#tell(stream, append.entry ? { is: "entry", entry: append.entry } : { is: "head" });
    return ACCEPTED;
  }

  async rescue(_stream: string, _rescue: Rescue): Promise<Written> {
    // Memory forgets nothing but what was removed.
    return { is: "not-found" };
  }

  async putCheckpoint(stream: string, at: Cursor, state: string): Promise<void> {
    const row = this.#row(stream);
    const newer = row && at.generation === row.job.generation && at.sequence <= row.job.head;
    if (!newer || at.sequence <= (row.checkpoint?.at.sequence ?? -1)) return;
    this.#grow(row, state.length - (row.checkpoint?.state.length ?? 0));
    row.checkpoint = { at, state };
  }

  async checkpoint(stream: string, generation: number): Promise<{ at: Cursor; state: string } | undefined> {
    const row = this.#row(stream);
    return row?.job.generation === generation ? row.checkpoint : undefined;
  }

  async read(stream: string, after: Cursor, bytesMax: number): Promise<Page> {
    const row = this.#row(stream);
    if (!row) return { is: "gone" };
    const { generation, head } = row.job;
    if (after.generation !== generation || after.sequence > head) return { is: "reset", end: { generation, sequence: head } };
    // The first entry that ends behind `after`: entries stand in order.
    let [low, high] = [0, row.log.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      const entry = row.log[middle];
      if (entry && lastOf(entry) <= after.sequence) low = middle + 1;
      else high = middle;
    }
    const entries: Entry[] = [];
    let bytes = 0;
    for (const entry of row.log.slice(low, low + 4096)) {
      bytes += entry.lines.length;
      if (entries.length > 0 && bytes > bytesMax) break;
      entries.push(entry);
    }
    return { is: "entries", entries };
  }

  async remove(stream: string, generation: number): Promise<boolean> {
    if (this.#rows.get(stream)?.job.generation !== generation) return false;
    this.#forget(stream);
    this.#tell(stream, { is: "gone" });
    return true;
  }

  follow(stream: string, heard: (wake: Wake) => void): () => void {
    const followers = this.#followers.get(stream) ?? new Set();
    this.#followers.set(stream, followers.add(heard));
    return () => {
      followers.delete(heard);
      if (followers.size === 0) this.#followers.delete(stream);
    };
  }

  async presence(): Promise<void> {}
  async resolved(): Promise<void> {}

  async sweep(): Promise<string[]> {
    const now = Date.now();
    const due = [...this.#rows].filter(([, row]) => this.#dueMs(row) <= now);
    for (const [stream, row] of due) if (isTerminal(row.job.status)) this.#forget(stream);
    return due.filter(([, row]) => !isTerminal(row.job.status)).map(([stream]) => stream);
  }

  async close(): Promise<void> {
    this.#rows.clear();
    this.#chars = 0;
  }
}
