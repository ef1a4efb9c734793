/** What the tests ask the page to do: `await rejoin.…`. */

import { Component, load, Trapped } from '/kit/rejoin.js';
import { bench } from './bench.js';
import { foldAll, goOn } from './fold.js';

const STEP = { event: 'on_run_step', data: { id: 's', index: 0, stepDetails: { type: 'message_creation' } } };
const text = (text) => ({ event: 'on_message_delta', data: { id: 's', delta: { content: [{ type: 'text', text }] } } });
const thrown = (what) => { try { what(); } catch (error) { return error; } };

const answerOf = (target) => new Promise((done, failed) => {
  target.onmessage = ({ data }) => (data.error ? failed(new Error(data.error)) : done(data));
  target.onerror = (event) => failed(new Error(event.message));
});

async function inWorker(cases) {
  const worker = new Worker('worker.js', { type: 'module' });
  const answer = answerOf(worker);
  worker.postMessage({ cases });
  const { folded } = await answer;
  worker.terminate();
  return folded;
}

async function inServiceWorker(cases) {
  await navigator.serviceWorker.register('worker.js', { type: 'module' });
  const { active } = await navigator.serviceWorker.ready, answer = answerOf(navigator.serviceWorker);
  active.postMessage({ cases });
  return (await answer).folded;
}

/** A trap in one instance, beside another one of the same module. */
async function trap() {
  const lost = await load('/component/rejoin-traps.wasm'), beside = await load(lost.module);
  const [fold, other] = [new lost.Aggregator(), new beside.Aggregator()];
  fold.push([STEP, text('before')]);
  other.push(STEP);
  const first = thrown(() => fold.push({ event: 'test_trap_panic', data: {} }));
  const later = [() => fold.json(), () => new lost.Aggregator(), () => lost.fold([])].map((what) => thrown(what) instanceof Trapped);
  fold.free();
  other.push(text('beside'));
  const fresh = new Component(lost.module), again = new fresh.Aggregator();
  again.push([STEP, text('before'), text(' and after')]);
  const alive = [lost.alive, beside.alive, fresh.alive];
  const { cause, message } = first;
  return { trapped: first instanceof Trapped, cause: cause.constructor.name, message, later, alive, other: other.json(), again: again.json() };
}

/** Nothing stops a call that does not end but the end of its worker. */
async function spin() {
  const worker = new Worker('worker.js', { type: 'module' }), answer = answerOf(worker);
  worker.postMessage({ spin: true });
  const said = await answer;
  worker.terminate();
  return [said, await inWorker('/cases/one.json')];
}

/** What is said about everything that is no component. */
async function refusals() {
  const bytes = await (await fetch('/component/rejoin.wasm')).arrayBuffer();
  const core = await WebAssembly.compile(new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0]));
  const messages = [];
  for (const source of ['/component/nothing.wasm', new ArrayBuffer(0), fetch('/site/page.js'), bytes.slice(0, 9000), core]) {
    messages.push(await load(source).then(() => 'loaded', (error) => `${error.name}: ${error.message}`));
  }
  const { Aggregator, Translator, foldJson } = await load(fetch('/component/rejoin.wasm')), freed = new Aggregator();
  freed.free();
  freed.free();
  const bad = [() => foldJson('{}'), () => Aggregator.seeded('7'), () => Aggregator.seeded({}), () => freed.json(), () => new Translator('klingon')];
  return [...messages, ...bad.map((what) => String(thrown(what)))];
}

/** A text that is no valid UTF-16 as it is, more than a memory has at first, and many folds, each of which is freed. */
async function edges() {
  const component = await load('/component/rejoin.wasm'), { Aggregator } = component;
  const fold = new Aggregator(), long = 'é😀'.repeat(1 << 18);
  const raw = '{"event":"on_message_delta","data":{"id":"s","delta":{"content":{"type":"text","text":"\ud800"}}}}';
  fold.push([STEP, text('\ud83d'), text('\ude00'), text('\u0000\ufeff\u2028'), text(long), raw]);
  const [part] = fold.parts();
  for (let at = 0; at < 60; at++) Aggregator.seeded([{ type: 'text', text: long }]).free();
  return { head: part.text.slice(0, 5), rest: part.text.slice(5) === `${long}\ufffd`, empty: Aggregator.seeded([]).json(), memory: component.memoryBytes };
}

/** A provider's body, to records, to parts. */
async function translate(dialect, body) {
  const { Aggregator, Translator } = await load('/component/rejoin.wasm'), translator = new Translator(dialect), fold = new Aggregator();
  const given = translator.push(body, 3);
  fold.push(given.records);
  fold.push(translator.finish().records);
  return { parts: fold.parts(), records: given.records, bad: given.bad };
}

window.rejoin = { foldAll, goOn, inWorker, inServiceWorker, trap, spin, refusals, edges, translate, bench };
