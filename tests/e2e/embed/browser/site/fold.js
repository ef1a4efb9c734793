/** What is done alike in a page, a worker and a service worker. */

import { load } from '/kit/rejoin.js';

/**
 * Folds every case of a file, all in one instance: `[{ seed, list, events }]`, texts as they were recorded, `events` one by one.
 * Answers for each what comes of all at once and of every seven, or the message of what was thrown.
 */
export async function foldAll(cases) {
  const { Aggregator, foldJson } = await load('/component/rejoin.wasm');
  const answers = [];
  for (const { seed, list, events } of await (await fetch(cases)).json()) {
    const whole = seed === null ? foldJson(list) : pushed(Aggregator.seeded(seed), [events]);
    const batches = [];
    for (let at = 0; at < events.length; at += 7) batches.push(events.slice(at, at + 7));
    answers.push([whole, pushed(seed === null ? new Aggregator() : Aggregator.seeded(seed), batches)]);
  }
  return answers;
}

/** Goes on from every snapshot of a file, `[{ resumeState, rest }]`: `[what the snapshot gives, what it comes to]`. */
export async function goOn(snapshots) {
  const { Aggregator } = await load('/component/rejoin.wasm');
  return (await (await fetch(snapshots)).json()).map(({ resumeState, rest }) => {
    const fold = Aggregator.resumed(resumeState), at = fold.json();
    return [at, pushed(fold, [rest])];
  });
}

function pushed(fold, batches) {
  for (const events of batches) fold.push(events);
  const json = fold.json();
  fold.free();
  return json;
}
