/** The content of an answer, folded in this page by the component that the server folds it with. */

import { load } from './rejoin.js';
import { ask } from './api.js';
import { Arguments } from './arguments.js';

/** Lines that wait for the next look; more are folded at once, so that a page in the background does not pile them up. */
const WAITING_MAX = 256;
/** Parts are read as a whole. Of a huge answer that takes long, so there are pauses: this many times as long. */
const REST = 4;
let compiled = null;

/** The component is fetched and compiled once; each answer has an instance of its own, so a trap harms no other. */
async function instance() {
  compiled ??= load(ask('/inspector/rejoin.wasm', { cache: 'no-cache' })); // asked for each time, sent where it has changed
  try {
    return await load((await compiled).module);
  } catch (error) {
    compiled = null; // the next answer tries again
    throw error;
  }
}

export class Content {
  parts = []; arguments = new Arguments();
  #fold = null; #waiting = []; #isOld = false; #notBefore = 0; #timer = 0; #failed; #changed; #ready;

  /** Starts empty, or from a snapshot. `changed()`: there is more to look at; `failed(error)`: there will be no parts. */
  constructor(resumeState, changed, failed) {
    [this.#changed, this.#failed] = [changed, failed];
    this.arguments.resume(resumeState?.runSteps);
    this.#ready = instance().then(({ Aggregator }) => {
      this.#fold = Aggregator.resumed(resumeState);
      this.#isOld = true;
      changed();
    }).catch((error) => this.#fail(error));
  }

  /** One more record: as it came, and what it says. */
  push(line, record) {
    this.#waiting?.push(line);
    this.#isOld = true;
    this.arguments.apply(record);
    if (this.#waiting?.length >= WAITING_MAX && this.#fold) this.#try(() => this.#flush());
  }

  /** The parts as they are now, or, of a huge answer, as they were a moment ago: then `changed()` follows. */
  look() {
    if (!this.#fold || !this.#isOld) return this.parts;
    const began = performance.now(), waitMs = this.#notBefore - began;
    if (waitMs > 0) {
      this.#timer ||= setTimeout(() => { this.#timer = 0; this.#changed(); }, waitMs);
      return this.parts;
    }
    this.#try(() => this.#read());
    const end = performance.now();
    this.#notBefore = end + (end - began > 4 ? REST * (end - began) : 0);
    return this.parts;
  }

  /** The parts after all that was pushed; null where there are none to be had. */
  async end() {
    await this.#ready;
    if (this.#fold) this.#try(() => this.#read());
    return this.#fold && this.parts;
  }

  #flush() {
    this.#fold.push(this.#waiting);
    this.#waiting = [];
  }

  #read() {
    this.#flush();
    this.parts = this.#fold.parts();
    this.#isOld = false;
  }

  #try(what) {
    try { what(); } catch (error) { this.#fail(error); }
  }

  #fail(error) {
    this.#fold = this.#waiting = null;
    this.#failed(error);
  }
}

/** All text of the answer. */
export const textOf = (parts) => parts.map((part) => (part?.type === 'text' && typeof part.text === 'string' ? part.text : '')).join('');
