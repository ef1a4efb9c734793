/** Follows one stream in a worker: folds records as they come, and tells the page the parts, 20 times a second at most. */

import { load } from '../rejoin.js';

const PAINT_MS = 50;
const loading = load(new URL('../rejoin.wasm', import.meta.url));
let source = null, fold = null, cursor = '', timer = 0;

onmessage = async ({ data: { server, stream, leave } }) => {
  source?.close();
  if (leave) return tell({ state: `left at ${cursor}` });
  try {
    follow(await loading, `${server}/v1/streams/${encodeURIComponent(stream)}/events`);
  } catch (error) { tell({ state: error.message }); }
};
function follow({ Aggregator }, address) {
  source?.close();
  fold ??= new Aggregator();
  // At first everything so far in one frame; who has been here goes on strictly after what it has.
  source = new EventSource(`${address}?${cursor ? `after=${cursor}` : 'resume=true'}`);
  source.onopen = () => tell({ state: `reading after ${cursor || 'the start'}` });
  source.onmessage = ({ data, lastEventId }) => {
    const record = JSON.parse(data);
    cursor = lastEventId || cursor;
    if (record.sync) { // the first frame, or a reset: what was here before is no longer true
      fold.free();
      fold = Aggregator.resumed(record.resumeState);
    } else fold.push(data);
    paint();
    if (record.final) end(record.reconcile ? 'replaced by a newer answer' : record.aborted ? 'aborted' : 'complete');
  };
  // With data it is the last record of an answer that failed. Without, the line is gone: EventSource comes back by itself, with
  // the last cursor, unless the server says that there is nothing more (204) or nothing at all (404).
  source.onerror = ({ data, target }) => {
    if (data) end(`failed: ${JSON.parse(data).error}`);
    else if (target === source) tell({ state: source.readyState === EventSource.CLOSED ? 'nothing to read' : 'line lost, coming back' });
  };
}

function end(state) {
  source.close();
  tell({ state });
}

function paint() {
  timer ||= setTimeout(() => { timer = 0; tell({ parts: fold.parts() }); }, PAINT_MS);
}

const tell = (message) => postMessage(message);
