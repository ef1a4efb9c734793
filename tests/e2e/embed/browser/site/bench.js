/** What a record costs: parse and fold, in batches, with the kit and the shipped component. */

import { load } from '/kit/rejoin.js';

const ROUNDS = 60;
/** A page's clock may tick ten times a millisecond only. */
const STARTS = 20;
const STEP = { event: 'on_run_step', data: { id: 'step_1', index: 0, stepDetails: { type: 'message_creation' } } };
const delta = (text) => ({ event: 'on_message_delta', data: { id: 'step_1', delta: { content: [{ type: 'text', text }] } } });

/**
 * Folds `deltas` text deltas, as JSON lines, in batches: `{ batches: { "1": nsPerEvent, … }, startUs }`, the best of many rounds. Lines are made
 * beforehand; a batch is joined before, too, as a stream's chunk comes with its lines.
 */
export async function bench(deltas = 2000, sizes = [1, 16, 64], component = '/component/rejoin.wasm') {
  const lines = [STEP, ...Array.from({ length: deltas }, (_, at) => delta(`word${at} `))].map((record) => JSON.stringify(record));
  const { Aggregator, module } = await load(component), batches = {};
  for (const size of sizes) {
    const chunks = Array.from({ length: Math.ceil(lines.length / size) }, (_, at) => lines.slice(at * size, (at + 1) * size).join('\n'));
    batches[size] = await best(ROUNDS, () => {
      const fold = new Aggregator(), began = performance.now();
      for (const chunk of chunks) fold.push(chunk);
      const took = performance.now() - began;
      fold.free();
      return Math.round((took * 1e6) / lines.length);
    });
  }
  const startUs = await best(20, async () => {
    const began = performance.now();
    for (let at = 0; at < STARTS; at++) await load(module);
    return Math.round(((performance.now() - began) * 1000) / STARTS);
  });
  return { batches, startUs };
}

async function best(rounds, measure) {
  let least = Infinity;
  for (let round = 0; round < rounds; round++) least = Math.min(least, await measure());
  return least;
}
