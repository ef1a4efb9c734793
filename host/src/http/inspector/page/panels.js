/** What there is to know about a stream beside its records: subscribers, run steps, the job. */

import { $, clock, count, duration, el, facts, jsonOf, many, pretty, put, visible, word } from './dom.js';
import { call, streamPath } from './api.js';
import { VirtualList } from './list.js';

const STEPS_MAX = 300, STEP_SHOWN_MAX = 16 * 1024;

export class Panels {
  #id = ''; #steps = ''; #lagMax = 1; #present = '-';

  constructor() {
    this.list = new VirtualList($('subscribers'), {
      height: 28, make: row, paint: (node, reader) => this.#paint(node, reader), keyOf: ({ id }) => id,
    });
    this.tabs = [...$('tabs').children];
    for (const tab of this.tabs) {
      tab.addEventListener('click', () => this.#choose(tab));
      tab.addEventListener('keydown', (event) => this.#key(event, tab));
    }
  }

  get open() { return this.tabs.find((tab) => tab.getAttribute('aria-selected') === 'true').id; }

  #choose(tab) {
    for (const each of this.tabs) {
      each.setAttribute('aria-selected', each === tab);
      each.tabIndex = each === tab ? 0 : -1;
      $(each.getAttribute('aria-controls')).hidden = each !== tab;
    }
    this.refresh().catch(() => {});
  }

  #key(event, tab) {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const next = this.tabs.at((this.tabs.indexOf(tab) + step) % this.tabs.length);
    next.focus();
    this.#choose(next);
  }

  /** From now on this stream. */
  show(id) {
    this.#id = id;
    this.#steps = '';
    this.list.set([]);
    for (const name of ['steps', 'job', 'subscribers-note', 'pending-json']) $(name).replaceChildren();
    $('pending').hidden = true;
    put($('readers'), '–');
  }

  job(job) {
    const { pendingAction: pending } = job, times = ['createdAt', 'updatedAt', 'completedAt'];
    const text = (name, value) => (times.includes(name) ? `${new Date(value).toLocaleString()} (${clock(value)})`
      : typeof value === 'string' ? visible(value) : pretty(value));
    facts($('job'), Object.entries(job).map(([name, value]) => [name, text(name, value)]));
    $('pending').hidden = job.status !== 'requires_action';
    put($('pending-json'), pending === undefined ? 'The job has no action to show.' : pretty(pending).slice(0, STEP_SHOWN_MAX));
  }

  /** Asks for what can be seen. */
  async refresh(job) {
    const id = this.#id;
    if (!id) return;
    const asks = [this.#readers(id)];
    if (this.open === 'tab-steps') asks.push(this.#runSteps(id));
    await Promise.all(asks);
    if (job === null) put($('subscribers-note'), 'The stream is no longer stored.');
  }

  async #readers(id) {
    const answer = await call(`${streamPath(id)}/subscribers`).catch(() => ({ subscribers: [], total: 0, listeners: 0 }));
    if (id !== this.#id) return;
    const { subscribers, total, listeners, host, shared, cursor = '-' } = answer, furthest = subscribers[0]?.lag ?? 0;
    put($('readers'), count(total));
    $('readers').parentElement.title = `Readers on this host${furthest ? `; the slowest is ${furthest} records behind` : ''}`;
    this.#present = cursor.slice(0, cursor.indexOf('-') + 1);
    this.#lagMax = Math.max(1, ...subscribers.map(({ lag }) => lag));
    this.list.set(subscribers);
    const these = `${count(total)} on this host${host ? ` (${host})` : ''}, and ${many(listeners, 'producer')} listening. `;
    const page = 'This page is one of them while it reads.';
    const others = 'This is the view of one host: others that share its Redis may have subscribers of their own. ';
    put($('subscribers-note'), `${these}${shared ? others : ''}${total > subscribers.length ? `The ${subscribers.length} furthest behind. ` : ''}${page}`);
  }

  #paint(node, { id, cursor, lag, sinceMs, kind }) {
    const [name, at, behind, bar, since] = node.children;
    put(name, `${kind} ${id}`);
    // The generation is told where it is not the present one.
    put(at, cursor.startsWith(this.#present) ? `at ${cursor.slice(this.#present.length)}` : cursor);
    at.title = cursor;
    put(behind, lag ? `${count(lag)} behind` : 'up to date');
    node.dataset.lag = lag;
    bar.style.setProperty('--part', lag / this.#lagMax);
    put(since, duration(Date.now() - sinceMs));
  }

  async #runSteps(id) {
    const state = await call(`${streamPath(id)}/resume`).catch((error) => ({ runSteps: [], error }));
    if (id !== this.#id) return;
    const steps = (state.runSteps ?? []).slice(0, STEPS_MAX), text = jsonOf(steps);
    put($('steps-note'), state.error ? state.error.message
      : `${many(state.runSteps?.length ?? 0, 'run step')}, as of ${state.cursor}${steps.length < state.runSteps?.length ? `; the first ${STEPS_MAX}` : ''}`);
    if (text === this.#steps) return;
    this.#steps = text;
    const open = new Set([...$('steps').querySelectorAll('[open]')].map((node) => node.dataset.id));
    $('steps').replaceChildren(...steps.map((step) => stepRow(step, open)));
  }
}

const row = () => el('div', 'reader', el('span'), el('span', 'cursor'), el('b'), el('i'), el('small'));

function stepRow(step, open) {
  const id = word(step?.id), type = word(step?.stepDetails?.type ?? step?.type ?? 'step');
  // Only tool calls are told to be done; a message just ends.
  const state = step?.result ? 'done' : type === 'tool_calls' ? 'running' : '', mark = el('span', 'pill', state);
  mark.dataset.state = state;
  const node = el('details', 'step', el('summary', '', el('b', '', visible(id)), el('span', 'soft', visible(type)), mark));
  node.append(el('pre', '', pretty(step).slice(0, STEP_SHOWN_MAX)));
  node.dataset.id = id;
  node.open = open.has(id);
  return el('li', '', node);
}
