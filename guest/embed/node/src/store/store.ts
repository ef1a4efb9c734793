/** What a store promises, as the Rust host's `trait Store` has it: one atomic step a write, refused without a trace. */
import type { Cursor, Entry, Job, Status } from "../types.js";

/** Identifies one attempt to write, so that its repeat is recognised. */
export interface Ticket {
  /** Unique to one opened session in all replicas. */
  session: bigint;
  number: bigint;
}

export interface Append {
  ticket: Ticket;
  first: Cursor;
  entry?: Entry;
  expectedStatus: Status;
  expectedRevision: number;
  status?: Status;
  fields: Array<[name: string, json: string]>;
}

/** What a session gives back to a store that has forgotten acknowledged writes. */
export interface Rescue {
  ticket: Ticket;
  job: Job;
  entry?: Entry;
  checkpoint: string;
}

export type Written =
  | { is: "accepted" }
  | { is: "not-found" }
  | { is: "generation-replaced"; generation: number }
  | { is: "not-active"; status: Status }
  | { is: "behind"; head: number }
  | { is: "ahead"; end: Cursor };

export type Page = { is: "entries"; entries: Entry[] } | { is: "reset"; end: Cursor } | { is: "gone" };

export interface Head {
  cursor: Cursor;
  status: Status;
  revision: number;
}

/** A hint that a stream has more. The log is the truth. */
export type Wake = { is: "entry"; entry: Entry } | { is: "head" } | { is: "gone" } | { is: "readers"; any: boolean } | { is: "resolved"; generation: number; answer: string };

export interface Store {
  /** How long what lives in it. */
  readonly lifetimes: Lifetimes;
  job(stream: string): Promise<Job | undefined>;
  head(stream: string): Promise<Head | undefined>;
  create(stream: string, ticket: Ticket, previous: number, job: Job): Promise<Written>;
  append(stream: string, append: Append): Promise<Written>;
  rescue(stream: string, rescue: Rescue): Promise<Written>;
  putCheckpoint(stream: string, at: Cursor, state: string): Promise<void>;
  checkpoint(stream: string, generation: number): Promise<{ at: Cursor; state: string } | undefined>;
  /** Whole entries after `after`, about `bytesMax` but at least one where there is one; the first may start before it. */
  read(stream: string, after: Cursor, bytesMax: number): Promise<Page>;
  remove(stream: string, generation: number): Promise<boolean>;
  /** Calls `heard` at each wake of the stream until what is returned is called. */
  follow(stream: string, heard: (wake: Wake) => void): () => void;
  /** Tells other replicas that this one has readers, or none any more. */
  presence(stream: string, readers: boolean): Promise<void>;
  /** Tells other replicas a person's answer. */
  resolved(stream: string, generation: number, answer: string): Promise<void>;
  /** Forgets what has outlived its retention, and names jobs that are idle for too long. */
  sweep(): Promise<string[]>;
  close(): Promise<void>;
}

/** How long what lives. Milliseconds. Replicas that share a Redis have the same. */
export interface Lifetimes {
  idleMs: number;
  pausedIdleMs: number;
  retentionMs: number;
}

export const LIFETIMES: Lifetimes = { idleMs: 30 * 60_000, pausedIdleMs: 24 * 3_600_000, retentionMs: 5 * 60_000 };
