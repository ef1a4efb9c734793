/** The stream that is open: its reader, its job, and what they look like. */

import { $, count, pill, put, visible, words } from './dom.js';
import { call, streamPath } from './api.js';
import { clearAnswer, paintAnswer } from './answer.js';
import { Reader } from './reader.js';

export class Stream {
  reader = null; job = null;
  #frame = 0;

  /** `changed()` is called when the end of a stream makes the list of streams old. */
  constructor(timeline, panels, changed) { Object.assign(this, { timeline, panels, changed: () => this.draw(), listChanged: changed }); }

  get id() { return this.reader?.id; }

  open(id) {
    this.reader?.stop();
    this.job = null;
    $('empty').hidden = $('command').hidden = true;
    $('stream').hidden = false;
    document.body.dataset.view = 'stream';
    put($('title'), id);
    put($('status'), '');
    put($('owner'), '');
    clearAnswer();
    history.replaceState(null, '', `#${encodeURIComponent(id)}`);
    const reader = new Reader(id, {
      changed: () => { if (this.reader === reader) this.draw(); },
      restarted: () => { if (this.reader === reader) clearAnswer(); },
      ended: () => { if (this.reader === reader) this.refresh().then(this.listChanged, () => {}); },
    });
    this.reader = reader;
    this.timeline.show(reader);
    this.panels.show(id);
    reader.read();
    this.refresh().catch(() => {});
  }

  /** Nothing is open any more: the list has the page to itself. */
  close() {
    this.reader?.stop();
    this.reader = this.job = null;
    $('stream').hidden = true;
    $('empty').hidden = false;
    document.body.dataset.view = 'list';
    history.replaceState(null, '', location.pathname);
  }

  /** Asks for the job, and for what the open panel shows. */
  async refresh() {
    const { id } = this;
    if (!id) return;
    const answer = await call(`${streamPath(id)}?content=false`).catch((error) => error);
    if (id !== this.id) return;
    // After its retention a stream is gone; what was read of it stays here.
    this.job = answer.job ?? null;
    if (this.job) this.panels.job(this.job);
    else if (answer.status === 404) put($('status'), '');
    this.draw();
    await this.panels.refresh(this.job);
  }

  draw() {
    if (this.reader?.over) this.#paint();
    else this.#frame ||= requestAnimationFrame(() => this.#paint());
  }

  #paint() {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    const { reader, job } = this;
    if (!reader) return;
    pill($('state'), reader.state);
    put($('note'), reader.note);
    $('note').classList.toggle('bad', reader.bad);
    pill($('verdict'), reader.verdict[0], reader.verdict[1], 'verdict');
    for (const name of ['count', 'resumes', 'repeats', 'skipped']) put($(name), count(reader[name]));
    $('cut').disabled = reader.over;
    for (const name of ['append', 'abort']) $(name).disabled = job ? !job.active : reader.over;
    $('complete').disabled = job ? job.status !== 'running' : reader.over;
    $('delete').disabled = !job;
    if (job) {
      pill($('status'), job.status, words(job.status));
      put($('owner'), `user ${visible(job.userId)}, generation ${job.generation}`);
    }
    paintAnswer(reader.content, reader.question);
    this.timeline.draw();
  }
}
