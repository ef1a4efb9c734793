/** How a session comes to be: from the row, the checkpoint and the log after it, up to where the row says that it stands. */
import type { Session } from "./session.js";
import type { Store } from "./store/store.js";
import { type Cursor, type Job, Overloaded, Trapped, isTerminal, records } from "./types.js";

type Make = (job: Job | undefined, checkpoint: string | undefined, alone: boolean) => Session;
type Patiently = <T>(ask: () => Promise<T>) => Promise<T>;

/** How often an opening starts over because the stream moved on in between. */
const OPENINGS = 8;
const REPLAY_BYTES = 256 * 1024;

/**
 * Opens the session of `stream`; of its row alone where nothing else is needed. `settle` carries out what a session asked for.
 * `alone`: in an instance that no other session uses, from the start.
 *
 * Errors: `Trapped` when its content cannot be opened any more. The generation has ended in error then, so that its readers
 * hear of it.
 */
export async function openSession(store: Store, stream: string, make: Make, settle: (session: Session) => Promise<boolean>, needs: "content" | "row", patiently: Patiently, alone: boolean): Promise<Session> {
  let why = "records are missing from the log";
  for (let opening = 1; opening <= OPENINGS; opening += 1) {
    const job = await patiently(() => store.job(stream));
    if (!job) return make(undefined, undefined, alone);
    if (needs === "row") {
      const session = make(job, undefined, alone);
      session.whole = false;
      return session;
    }
    const kept = await patiently(() => store.checkpoint(stream, job.generation));
    // Newer than the row: the row is read again. One that is newer each time is none that this row will ever reach.
    if (kept && kept.at.sequence > job.head && opening < OPENINGS) continue;
    let session: Session | undefined;
    try {
      session = make(job, kept && kept.at.sequence <= job.head ? kept.state : undefined, alone);
      if (await catchUp(store, stream, session, job, patiently)) return session;
      session.close();
    } catch (error) {
      session?.close();
      if (!(error instanceof Trapped)) throw error;
      // Others share the instance: it may have been their trap, or their memory. In one of its own it is its own.
      if (alone) {
        why = "component trapped";
        break;
      }
      alone = true;
    }
  }
  await end(store, stream, why, make, settle, patiently);
  throw new Trapped(`${stream} cannot be opened: ${why}`);
}

/** Replays the log after the session's position up to the head of `job`. False when it has a hole. */
async function catchUp(store: Store, stream: string, session: Session, job: Job, patiently: Patiently): Promise<boolean> {
  let at = session.head();
  while (at.sequence < job.head) {
    const from: Cursor = at;
    const page = await patiently(() => store.read(stream, from, REPLAY_BYTES));
    // Replaced, removed or forgotten just now: the session is told so when the store is asked again.
    if (page.is !== "entries") return true;
    let missing = "";
    for (const record of page.entries.flatMap((entry) => [...records(entry)])) {
      // What came after the row was read is left out: it would come without what it did to the row.
      if (record.at.sequence <= at.sequence || record.at.sequence > job.head) continue;
      if (record.at.sequence !== at.sequence + 1) return false;
      missing += `${record.json}\n`;
      at = record.at;
    }
    if (at === from) return false;
    session.replay(missing);
  }
  return true;
}

/** Ends a generation without opening its content, because the content is what cannot be opened. */
async function end(store: Store, stream: string, why: string, make: Make, settle: (session: Session) => Promise<boolean>, patiently: Patiently): Promise<void> {
  for (let attempt = 0; attempt < OPENINGS; attempt += 1) {
    const job = await patiently(() => store.job(stream));
    if (!job || isTerminal(job.status)) return;
    const session = make(job, undefined, true);
    session.fail(undefined, why);
    if (await settle(session)) return;
  }
  throw new Overloaded("contended: other producers write to the stream; try again");
}
