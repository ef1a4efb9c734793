/**
 * The component in this process, for sessions: compiled once, and some sessions share an instance, because in JavaScript each instance
 * takes milliseconds to start. A trap ends the instance; its sessions are caches, and open again from the log.
 */
import { instantiate, type ImportObject } from "../generated/rejoin.js";
import type { Session as WitSession } from "../generated/interfaces/rejoin-streams-session.js";
import type { Job as WitJob, Status as WitStatus } from "../generated/interfaces/rejoin-streams-types.js";
import { MEMORY_BYTES_FULL, coreModule, memoryOf } from "./modules.js";
import { type Cursor, type Entry, type Job, type RecordKind, Refused, type Status, Trapped } from "./types.js";

/** What a call asked for. Nothing of it has happened yet. */
export interface Asked {
  write?: Write;
  checkpoint?: { at: Cursor; state: string };
  signals: Signal[];
}

/** One write to the store. `ticket` settles it. */
export type Write = { ticket: bigint } & (
  | { kind: "create"; previous: number; job: Job }
  | { kind: "append"; first: Cursor; entry?: Entry; expectedStatus: Status; status?: Status; fields: Array<[string, string]> }
);

/** What a producer must hear. */
export type Signal =
  | { kind: "abort"; generation: number }
  | { kind: "replaced"; generation: number; by: number }
  | { kind: "resolved"; generation: number; answer: string };

/** One instance, and what its calls ask for. */
export interface Instance {
  readonly Session: typeof WitSession;
  /** It trapped: whatever it holds is not to be believed, and it cannot be called again. */
  dead: boolean;
  /** Sessions that are open in it. */
  opened: number;
  /** Bytes of its memory, which only grows. */
  memoryBytes(): number;
  take(): Asked;
}

/** With so many sessions the next ones get a new instance. */
const SESSIONS_PER_INSTANCE = 64;
let shared: Instance | undefined;

/** An instance for one more session: one that others use too, or one of its own. */
export function instanceForSession(alone: boolean): Instance {
  if (alone) return newInstance();
  const isFull = !shared || shared.dead || shared.opened >= SESSIONS_PER_INSTANCE || shared.memoryBytes() >= MEMORY_BYTES_FULL;
  if (!shared || isFull) shared = newInstance();
  return shared;
}

/** A new instance, with a memory of its own. */
function newInstance(): Instance {
  let asked: Asked = { signals: [] };
  const imports: ImportObject = {
    "rejoin:streams/types@0.1.0": {} as never,
    "wasi:clocks/wall-clock@0.2.0": {
      now: () => {
        const ms = Date.now();
        return { seconds: BigInt(Math.floor(ms / 1000)), nanoseconds: (ms % 1000) * 1e6 };
      },
    },
    "rejoin:streams/store@0.1.0": {
      create: (_stream, ticket, previous, job) => {
        asked.write = { ticket, kind: "create", previous: Number(previous), job: fromWit(job) };
      },
      append: (_stream, ticket, first, records, change) => {
        const from = cursor(first);
        const kinds = records.map((record) => record.kind as RecordKind);
        asked.write = {
          ticket,
          kind: "append",
          first: from,
          ...(records.length > 0 && {
            entry: {
              first: from,
              lines: records.map((record) => `${record.json}\n`).join(""),
              count: records.length,
              ...(kinds.some((kind) => kind !== "event") && { kinds }),
            },
          }),
          expectedStatus: status(change.expectedStatus),
          ...(change.status && { status: status(change.status) }),
          fields: change.fields.map(({ name, value }) => [name, value]),
        };
      },
      checkpoint: (_stream, at, state) => {
        asked.checkpoint = { at: cursor(at), state };
      },
    },
    "rejoin:streams/sse@0.1.0": {
      // Whoever carries the write out tells the readers: it knows what was accepted.
      publish: () => {},
      signal: (_stream, of, what) => {
        const generation = Number(of);
        if (what.tag === "abort") asked.signals.push({ kind: "abort", generation });
        else if (what.tag === "replaced") asked.signals.push({ kind: "replaced", generation, by: Number(what.val) });
        else asked.signals.push({ kind: "resolved", generation, answer: what.val });
      },
    },
  };
  // The generated code looks for names without their version, its types for names with it.
  const named = Object.entries(imports).map(([name, functions]) => [name.split("@")[0], functions]);
  let memory: WebAssembly.Memory | undefined;
  const instantiateCore = (module: WebAssembly.Module, imports: WebAssembly.Imports): WebAssembly.Instance => {
    const instance = new WebAssembly.Instance(module, imports);
    memory ??= memoryOf(instance);
    return instance;
  };
  const { session } = instantiate(coreModule, { ...imports, ...Object.fromEntries(named) }, instantiateCore);
  return {
    Session: session.Session,
    memoryBytes: () => memory?.buffer.byteLength ?? 0,
    dead: false,
    opened: 0,
    take: () => {
      const taken = asked;
      asked = { signals: [] };
      return taken;
    },
  };
}

/** Runs a call of the component: its refusals are thrown as {@link Refused}; anything else that is thrown is a trap. */
export function refusing<T>(instance: Instance, call: () => T): T {
  if (instance.dead) throw new Trapped("the instance has trapped before, on this stream or on another one");
  try {
    return call();
  } catch (error) {
    const payload = (error as { payload?: { tag?: string; val?: unknown } | string } | undefined)?.payload;
    if (typeof payload === "string") throw new Refused("invalid", payload);
    if (payload?.tag) throw new Refused(payload.tag, typeof payload.val === "bigint" ? Number(payload.val) : payload.val);
    instance.dead = true;
    throw new Trapped("the component trapped", { cause: error });
  }
}

export const cursor = (at: { generation: bigint; sequence: bigint }): Cursor => ({
  generation: Number(at.generation),
  sequence: Number(at.sequence),
});

const status = (name: WitStatus): Status => name.replace("-", "_") as Status;
const witStatus = (name: Status): WitStatus => name.replace("_", "-") as WitStatus;

export function fromWit(job: WitJob): Job {
  return {
    generation: Number(job.generation),
    status: status(job.status),
    userId: job.userId,
    createdMs: Number(job.createdMs),
    updatedMs: Number(job.updatedMs),
    ...(job.settledMs !== undefined && { settledMs: Number(job.settledMs) }),
    head: Number(job.head),
    revision: 0,
    fields: job.fields.map(({ name, value }) => [name, value]),
  };
}

export function toWit(job: Job): WitJob {
  return {
    generation: BigInt(job.generation),
    status: witStatus(job.status),
    userId: job.userId,
    createdMs: BigInt(job.createdMs),
    updatedMs: BigInt(job.updatedMs),
    ...(job.settledMs !== undefined && { settledMs: BigInt(job.settledMs) }),
    head: BigInt(job.head),
    fields: job.fields.map(([name, value]) => ({ name, value })),
  };
}
