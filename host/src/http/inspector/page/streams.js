/** The list of streams: pages of the server's list, of which the newest and the ones that are seen are kept fresh. */

import { $, count, duration, el, many, pill, put, visible, words } from './dom.js';
import { call } from './api.js';
import { VirtualList } from './list.js';

const PAGE = 200, ROWS_MAX = 20_000, RATE_MS_MAX = 5000;
const STATUSES = ['running', 'requires_action', 'complete', 'error', 'aborted'];

export class Streams {
  #pages = [{ rows: [] }]; #version = 0; #loading = null; #rates = new Map();

  /** `open(id)` is called with what was chosen. */
  constructor(open) {
    this.list = new VirtualList($('streams'), {
      height: 48, make: row, paint: (node, job) => this.#paint(node, job), keyOf: (job) => job.streamId,
      open: (job) => open(job.streamId), moved: () => this.#near(), toEnd: () => this.#all(),
    });
    $('user').addEventListener('input', () => this.#filtered());
    $('user').addEventListener('keydown', (event) => {
      if (event.key !== 'ArrowDown' && event.key !== 'Enter') return;
      event.preventDefault();
      $('streams').focus();
    });
    $('statuses').append(...['', ...STATUSES].map((status) => this.#chip(status)));
  }

  #chip(status) {
    const button = el('button', 'chip', el('span', '', status ? words(status) : 'all'), el('b', '', '–'));
    Object.assign(button, { type: 'button' }).dataset.status = status;
    button.setAttribute('aria-pressed', status === '');
    button.addEventListener('click', () => {
      for (const chip of $('statuses').children) chip.setAttribute('aria-pressed', chip === button);
      this.#filtered();
    });
    return button;
  }

  get #status() { return $('statuses').querySelector('[aria-pressed=true]').dataset.status; }

  /** Records a second that the rows of the last refreshes have grown by. */
  get rate() {
    const now = performance.now();
    // What is not measured any more, because it is filtered out or gone, is forgotten.
    for (const [id, { at }] of this.#rates) if (now - at > 10 * RATE_MS_MAX) this.#rates.delete(id);
    return [...this.#rates.values()].reduce((sum, { rate, at }) => sum + (now - at < RATE_MS_MAX ? rate : 0), 0);
  }

  counts(jobs) {
    for (const chip of $('statuses').children) {
      const { status } = chip.dataset;
      put(chip.lastChild, count(status ? jobs[status] ?? 0 : STATUSES.reduce((sum, name) => sum + (jobs[name] ?? 0), 0)));
    }
  }

  /** Other filters, or another token: from the beginning. */
  #filtered() {
    this.#version++;
    this.#loading = null;
    this.#pages = [{ rows: [] }];
    this.list.box.scrollTop = 0;
    this.onfilter?.();
  }
  reset() { this.#filtered(); }

  async #fetch(page) {
    const query = new URLSearchParams({ limit: PAGE });
    for (const [name, value] of [['userId', $('user').value.trim()], ['status', this.#status], ['after', page.after]]) {
      if (value) query.set(name, value);
    }
    const version = this.#version, { streams, next } = await call(`/v1/streams?${query}`);
    const at = this.#pages.indexOf(page);
    if (version !== this.#version || at < 0) return;
    streams.forEach((job) => this.#measure(job));
    this.#take(at, streams, next);
    this.#show();
  }

  /** A fresh page. What it pushed over its end is at the begin of the next one until that is fetched as well. */
  #take(at, rows, next) {
    const page = this.#pages[at], fresh = new Set(rows.map((job) => job.streamId)), last = rows.at(-1);
    const pushed = last ? page.rows.filter((job) => !fresh.has(job.streamId) && job.createdAt <= last.createdAt) : [];
    Object.assign(page, { rows, next });
    if (!next) this.#pages.length = at + 1;
    else if (this.#pages[at + 1]) {
      const following = this.#pages[at + 1];
      if (following.after !== next) Object.assign(following, { after: next, rows: [...pushed, ...following.rows] });
    }
  }

  #measure({ streamId, cursor, active }) {
    const [generation, sequence] = cursor.split('-').map(Number), at = performance.now(), old = this.#rates.get(streamId);
    if (!active && !old) return;
    const same = old?.generation === generation;
    const rate = old ? ((sequence - (same ? old.sequence : 0)) * 1000) / Math.max(1, at - old.at) : 0;
    if (!active && rate === 0) this.#rates.delete(streamId);
    else this.#rates.set(streamId, { generation, sequence, at, rate });
  }

  #show() {
    const seen = new Set(), rows = this.#pages.flatMap((page) => page.rows);
    this.list.set(rows.filter(({ streamId }) => !seen.has(streamId) && seen.add(streamId)));
    const more = this.#pages.at(-1).next, { length } = this.list.items;
    const filtered = $('user').value.trim() || this.#status;
    put($('listnote'), length === 0
      ? filtered ? 'No stream fits the filter.' : 'None yet. Press “Play the sample”.'
      : more ? `${count(length)} so far, scroll for more` : many(length, 'stream'));
  }

  /** The newest page and those that are seen. */
  async refresh() {
    const [first, last] = this.list.range, seen = [];
    let start = 0;
    for (const page of this.#pages) {
      const end = start + page.rows.length;
      if (page === this.#pages[0] || (start < last && end > first)) seen.push(page);
      start = end;
    }
    await Promise.all(seen.map((page) => this.#fetch(page)));
    this.#near();
  }

  #near() {
    const [, last] = this.list.range;
    if (last > this.list.items.length - PAGE / 4) this.#more().catch(() => {}); // the next refresh says why
  }

  /** One more page, if there is one. */
  #more() {
    const last = this.#pages.at(-1);
    if (!last.next || this.list.items.length >= ROWS_MAX) return Promise.resolve(false);
    const page = { after: last.next, rows: [] }, version = this.#version;
    this.#loading ??= (async () => {
      this.#pages.push(page);
      try {
        await this.#fetch(page);
        return true;
      } catch (error) {
        if (this.#pages.at(-1) === page) this.#pages.pop();
        throw error;
      } finally {
        if (version === this.#version) this.#loading = null;
      }
    })();
    return this.#loading;
  }

  async #all() {
    try { while (await this.#more()); } catch { /* the next refresh says why */ }
  }

  #paint(node, job) {
    const [id, status, small] = node.children, rate = this.#rates.get(job.streamId)?.rate ?? 0;
    put(id, job.streamId);
    pill(status, job.status, words(job.status));
    const records = Number(job.cursor.split('-')[1]), speed = job.active && rate >= 0.5 ? `, ${Math.round(rate)}/s` : '';
    put(small, `${visible(job.userId)} · ${duration(Date.now() - job.createdAt)} · ${many(records, 'record')}${speed}`);
    if (node.title !== job.streamId) node.title = job.streamId;
    node.toggleAttribute('aria-current', job.streamId === this.selected);
  }
}

const row = () => el('div', 'stream', el('b'), el('span', 'pill'), el('small'));
