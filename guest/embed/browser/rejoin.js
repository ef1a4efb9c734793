/**
 * Rejoin's fold in a page or a worker: from the records of an answer to its content parts, by the component `rejoin.wasm`
 * itself. No build step, no dependencies; what the exports mean stands in `wit/content.wit` and `wit/translate.wit`.
 */

import { Instance, Trapped, coreModule } from './component.js';
import { eventsOf } from './resume.js';

export { Trapped };

const CONTENT = 'rejoin:streams/content@0.1.0', TRANSLATE = 'rejoin:streams/translate@0.1.0';
const PUSH = `${CONTENT}#[method]aggregator.push`, PARTS = `${CONTENT}#[method]aggregator.parts`;
const TRANSLATE_PUSH = `${TRANSLATE}#[method]translator.push`, FINISH = `${TRANSLATE}#[method]translator.finish`;
/** The cases of `enum dialect`, in its order: a case is passed as its number. */
const DIALECTS = ['events', 'openai-chat', 'openai-responses', 'anthropic-messages'];

/**
 * Loads the component: from its address, a response, its bytes, or the `module` of one that is loaded already (which can be posted to
 * workers). Every call makes an instance of its own. Throws `TypeError` for what is no component.
 */
export async function load(source) {
  return new Component(source instanceof WebAssembly.Module ? source : await WebAssembly.compile(coreModule(await bytesOf(source))));
}

async function bytesOf(source) {
  const given = await source;
  if (ArrayBuffer.isView(given)) return new Uint8Array(given.buffer, given.byteOffset, given.byteLength);
  if (given instanceof ArrayBuffer) return new Uint8Array(given);
  const response = given instanceof Response ? given : await fetch(given);
  if (!response.ok) throw new TypeError(`the component cannot be loaded: ${response.url} answers ${response.status}`);
  return new Uint8Array(await response.arrayBuffer());
}

/** One instance of the component. Its classes are its own: what lives in one instance means nothing to another. */
export class Component {
  #instance;

  /** Of the `module` of another one, at once. Throws `TypeError` for a module of anything else. */
  constructor(module) {
    this.module = module;
    this.#instance = new Instance(module);
    if (!this.#instance.has(`${CONTENT}#fold`)) throw new TypeError(`this component does not export ${CONTENT}: it is of another version, or another one`);
    this.Aggregator = aggregatorOf(this.#instance);
    this.Translator = translatorOf(this.#instance);
  }

  /** False after a trap: `load(module)` gives a new one. */
  get alive() { return this.#instance.alive; }

  /** Bytes of its memory, which only grows. */
  get memoryBytes() { return this.#instance.memoryBytes; }

  /** Folds a JSON list of events to a JSON list of parts, text to text. Throws `TypeError` for what is no list. */
  foldJson = (events) => good(this.#instance.call(`${CONTENT}#fold`, [String(events)], textOrError));

  /** The same from values to values. */
  fold = (events) => JSON.parse(this.foldJson(JSON.stringify(events)));
}

const aggregatorOf = (instance) => class Aggregator extends Resource {
  constructor(own = instance.call(`${CONTENT}#[constructor]aggregator`, [])) { super(instance, `${CONTENT}#[dtor]aggregator`, own); }

  /** Starts from parts that are there already, a list or its JSON text. Throws `TypeError` for what is no list. */
  static seeded(parts) {
    const text = typeof parts === 'string' ? parts : JSON.stringify(parts) ?? '';
    return new this(good(instance.call(`${CONTENT}#[static]aggregator.seeded`, [text], ownOrError)));
  }

  /** Goes on from the `resumeState` of a `sync` frame: later records name its run steps. How: `resume.js`. */
  static resumed(resumeState) {
    const fold = new this();
    fold.push(eventsOf(resumeState));
    return fold;
  }

  /** Folds records: JSON lines in one string, one event, or a list of events or lines. What is no event changes nothing. */
  push(records) { this.call(PUSH, [typeof records === 'string' ? records : [records].flat().map(line).join('\n')]); }

  /** The content parts so far, as the component writes them: JSON text. */
  json() { return this.call(PARTS, [], text); }

  /** The same as values. Both cost the whole content each time: once for each painted frame, not for each record. */
  parts() { return JSON.parse(this.json()); }
};

const translatorOf = (instance) => class Translator extends Resource {
  /** At the start of a body of that dialect. */
  constructor(dialect) {
    const at = DIALECTS.indexOf(dialect);
    if (at < 0) throw new TypeError(`the dialect is one of ${DIALECTS.join(', ')}, not ${dialect}`);
    super(instance, `${TRANSLATE}#[dtor]translator`, instance.call(`${TRANSLATE}#[constructor]translator`, [at]));
  }

  /** Takes whole lines of the body: `{ records, bad }`, JSON lines, and `{ line, reason }` or null for where it stopped. */
  push(lines, indexAtLeast = 0) { return this.call(TRANSLATE_PUSH, [String(lines), BigInt(indexAtLeast)], translated); }

  /** The body has ended. */
  finish(indexAtLeast = 0) { return this.call(FINISH, [BigInt(indexAtLeast)], translated); }
};

/** Frees what nobody holds any more. Engines do it late or never: `free()` does it at once. */
const forgotten = new FinalizationRegistry((drop) => {
  try { drop(); } catch { /* The instance says so at its next call. */ }
});

/** Something that lives in an instance. */
class Resource {
  #instance; #own; #drop;

  constructor(instance, destructor, own) {
    [this.#instance, this.#own] = [instance, own];
    this.#drop = () => { if (instance.alive) instance.call(destructor, [own]); };
    forgotten.register(this, this.#drop, this);
  }

  call(method, parameters, read) {
    if (this.#own === null) throw new TypeError('this was freed: make a new one');
    return this.#instance.call(method, [this.#own, ...parameters], read);
  }

  /** Gives its memory back. A second time, or after a trap, there is nothing left to do. */
  free() {
    if (this.#own === null) return;
    this.#own = null;
    forgotten.unregister(this);
    this.#drop();
  }
}

// What results look like in memory, at their natural alignment (CABI: alignment, load).
/** `string`: pointer, length. */
const text = (at, memory) => memory.string(at);
/** `result<string, string>`: the case, and at 4 one string or the other. */
const textOrError = (at, memory) => ({ [memory.byte(at) ? 'error' : 'ok']: memory.string(at + 4) });
/** `result<own<aggregator>, string>`: the case, and at 4 a handle or a string. */
const ownOrError = (at, memory) => (memory.byte(at) ? { error: memory.string(at + 4) } : { ok: memory.word(at + 4) });
/** `record { records: string, bad: option<record { line: u64, reason: string }> }`: the option at 8, what is in it at 16. */
const translated = (at, memory) =>
  ({ records: memory.string(at), bad: memory.byte(at + 8) ? { line: memory.long(at + 16), reason: memory.string(at + 24) } : null });

function good({ ok, error }) {
  if (error !== undefined) throw new TypeError(error);
  return ok;
}

const line = (record) => (typeof record === 'string' ? record : JSON.stringify(record) ?? '');
