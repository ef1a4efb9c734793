/** One reader of a stream: follows it by cursor until its end, however often the line goes away in between. */

import { $, sleep, word } from './dom.js';
import { ask, call, frames, refusal, streamPath } from './api.js';
import { Content, textOf } from './content.js';

const RESUME_DELAY_MS = 400, BACKOFF_MS_MAX = 8000;
/** What is kept for the timeline; the oldest tenth goes when there is more. */
const ROWS_MAX = 50_000, ROWS_BYTES_MAX = 32 * 1024 * 1024;
const encoder = new TextEncoder();
const numbers = (cursor) => cursor.split('-').map(Number); // [generation, sequence]
const sizeOf = (text) => (/^[\x00-\x7f]*$/.test(text) ? text.length : encoder.encode(text).length);
/** Null where nobody can say: a producer's JSON may be deeper than a browser can write. */
function isSame(a, b) {
  try { return JSON.stringify(a) === JSON.stringify(b); } catch { return null; }
}

export class Reader {
  content = this.#empty(); cursor = ''; generation = 0; sequence = 0; question = '';
  rows = []; kinds = new Map(); forgotten = 0; bytes = 0; number = 0;
  count = 0; resumes = 0; repeats = 0; skipped = 0; state = 'idle'; note = ''; bad = false; verdict = ['pending', ''];
  retryMs = 1000; failures = 0; over = false; isPartial = false; resumedAfter = null; line = new AbortController();

  /** `view` is told of every change: `changed()`, `restarted()` when the content is a new one, `ended()`. */
  constructor(id, view) { Object.assign(this, { id, view }); }
  #empty(resumeState) {
    const failed = (error) => this.mark(`the content cannot be shown here: ${error.message}`, true);
    return new Content(resumeState, () => this.view.changed(), failed);
  }
  get place() { return this.cursor || 'the start'; }
  stop() { this.over = true; this.line.abort(); }
  set(values) { Object.assign(this, values); this.view.changed(); }
  say(note, bad = false) { this.set({ note, bad }); }

  /** Reads until the end of the generation. */
  async read() {
    let by = 'start', waitMs;
    this.set({ state: 'connecting', verdict: ['pending', 'made at the end'] });
    while (!this.over) {
      this.line = new AbortController();
      this.wasCut = false;
      try {
        if (await this.connect(by)) return;
        [by, waitMs] = ['cursor', this.retryMs];
        this.mark(`the server ended the response at ${this.place}, but not the answer`);
      } catch (error) {
        if (this.over) return;
        by = $('mode').value;
        waitMs = this.wasCut ? RESUME_DELAY_MS : error.retryAfterMs || Math.min(this.retryMs * 2 ** this.failures++, BACKOFF_MS_MAX);
        if (!this.wasCut) this.say(`line lost at ${this.place} (${error.message}), next try in ${Math.ceil(waitMs / 1000)} s`, true);
      }
      this.resumedAfter = this.place;
      this.set({ state: 'cut' });
      await sleep(waitMs);
      if (!this.over) this.set({ state: 'connecting' });
    }
  }

  /** One connection. True when there is nothing more to read. */
  async connect(by) {
    const headers = { Accept: 'text/event-stream', ...(by === 'cursor' && this.cursor && { 'Last-Event-ID': this.cursor }) };
    const response = await ask(`${streamPath(this.id)}/events${by === 'resume' ? '?resume=true' : ''}`, { headers, signal: this.line.signal });
    if (response.status === 204) return this.end(this.cursor ? `ended at ${this.cursor}` : 'nothing to resume: unknown or expired');
    if (!response.ok) {
      const refused = await refusal(response);
      if (response.status === 429 || response.status >= 500) throw refused;
      return this.end(refused.message, 'failed');
    }
    if (this.resumedAfter === null) this.set({ state: 'live', note: 'records are shown as they come', bad: false });
    for await (const frame of frames(response.body)) {
      if (/^\d+$/.test(frame.retry)) this.retryMs = Number(frame.retry);
      if (!frame.data) continue;
      if (this.receive(frame)) return true;
      this.failures = 0; // only now: what cannot be applied would come again at once, for ever
    }
    return false;
  }

  /** One frame. True when it was the last one. */
  receive({ event, id, data }) {
    const record = JSON.parse(data);
    if (record.sync) return this.snapshot(id, record);
    if (record.reconcile) {
      return this.end(`replaced by generation ${record.generation}: open the stream again to follow it`, 'ended', 'not made: replaced');
    }
    this.resumed(`next record ${id}`);
    if (this.advance(id)) {
      this.count++;
      const kind = event ?? record.event ?? (record.created ? 'created' : record.final ? 'final' : 'record');
      this.keep({ cursor: id, kind: word(kind), size: sizeOf(data), at: Date.now(), data });
      if (record.created) this.quote(record.message?.text);
      try { this.content.push(data, record); } catch { /* a record of a shape unknown here is listed all the same */ }
      this.view.changed();
    }
    if (event === 'error') return this.end(`ended in error at ${id}: ${word(record.error)}`, 'failed');
    return record.final ? this.end(`${record.aborted ? 'aborted' : 'complete'} at ${id}`) : false;
  }

  /** Moves the cursor. False when this record was here before: the sequence numbers of a generation only grow. */
  advance(cursor) {
    const [generation, sequence] = numbers(cursor);
    if (generation === this.generation) {
      if (sequence <= this.sequence) return void this.repeats++;
      this.skipped += sequence - this.sequence - 1;
    }
    return Object.assign(this, { cursor, generation, sequence });
  }

  snapshot(id, { resumeState, reset }) {
    const [generation, sequence] = numbers(id), what = `${reset ? 'reset to a' : 'one'} snapshot of all up to ${id}`;
    Object.assign(this, { content: this.#empty(resumeState), cursor: id, generation, sequence, isPartial: true });
    this.view.restarted();
    this.quote(resumeState?.userMessage?.text);
    if (!this.resumed(what)) this.mark(what);
  }

  /** Notes that the line is back. False when it had not been away. */
  resumed(next) {
    if (this.resumedAfter === null) return false;
    this.resumes++;
    this.mark(`resumed after ${this.resumedAfter}: ${next}`);
    this.resumedAfter = null;
    this.set({ state: 'resumed' });
    return true;
  }

  cut() {
    if (this.over || this.wasCut || this.state === 'cut') return;
    this.wasCut = true;
    this.mark(`you left at ${this.place}`);
    this.line.abort();
  }

  end(text, state = 'ended', unchecked = '') {
    this.stop();
    this.mark(text, state === 'failed');
    this.set({ state });
    if (unchecked) this.set({ verdict: ['pending', unchecked] });
    else if (this.cursor) this.compare();
    this.view.ended();
    return true;
  }

  /**
   * The content that was read against the content that the server has stored. A snapshot does not tell which calls without ids some
   * fragments belong to (guest/embed/browser/README.md): after one the other parts may differ where nothing is missing.
   */
  async compare() {
    const [result, parts] = await Promise.all([call(streamPath(this.id)).catch(() => null), this.content.end()]);
    if (!result) return this.set({ verdict: ['pending', 'not made: no longer stored'] });
    if (result.job.generation !== this.generation) return this.set({ verdict: ['pending', 'not made: replaced'] });
    if (!parts) return this.set({ verdict: ['pending', 'not made: the content cannot be shown here'] });
    const stored = result.content ?? [], same = isSame(stored, parts);
    if (same === null) this.set({ verdict: ['pending', 'not made: nested too deep'] });
    else if (same) this.set({ verdict: ['match', 'matches the stored content'] });
    else if (this.isPartial && textOf(stored) === textOf(parts)) this.set({ verdict: ['text', 'text matches; after a snapshot other parts may differ'] });
    else this.set({ verdict: ['differs', 'differs from the stored content'] });
  }

  quote(question) { if (typeof question === 'string') this.question = question; }

  mark(text, bad = false) {
    this.keep({ mark: text, at: Date.now(), size: 0 });
    this.say(text, bad);
  }

  /** One more row of the timeline. */
  keep(row) {
    row.number = ++this.number;
    this.rows.push(row);
    this.bytes += row.size;
    if (!row.mark) this.kinds.set(row.kind, (this.kinds.get(row.kind) ?? 0) + 1);
    if (this.rows.length <= ROWS_MAX && this.bytes <= ROWS_BYTES_MAX) return;
    const gone = this.rows.splice(0, Math.ceil(this.rows.length / 10));
    this.forgotten += gone.filter(({ mark }) => !mark).length;
    this.bytes -= gone.reduce((sum, { size }) => sum + size, 0);
  }
}
