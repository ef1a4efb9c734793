/** What can be done to the stream that is open. */

import { $, put } from './dom.js';
import { call, post, streamPath, token } from './api.js';

const ARMED_MS = 4000;

export function wireActions(stream, closed) {
  const path = (tail) => `${streamPath(stream.id)}${tail}`;
  // Fenced: what is meant is the generation that is seen, not one that took its place a moment ago.
  const fence = () => { const generation = stream.job?.generation ?? stream.reader.generation; return generation ? { generation } : {}; };

  /** Says what became of it. */
  const act = async (name, what) => {
    const { reader } = stream;
    try {
      const done = await what();
      if (done) reader.say(done);
    } catch (error) {
      reader.say(`${name}: ${error.message}`, true);
    }
    await stream.refresh().catch(() => {});
  };
  const on = (id, name, what) => $(id).addEventListener('click', () => act(name, what));

  $('cut').addEventListener('click', () => stream.reader.cut());
  on('abort', 'not aborted', () => post(path('/abort'), fence()).then(() => ''));
  on('complete', 'not completed', () => post(path('/complete'), fence()).then(() => ''));
  on('append', 'not appended', async () => {
    const record = { event: 'inspector_test', data: { sentAt: new Date().toISOString(), note: 'appended by hand' } };
    const { generation } = fence();
    const { last } = await post(path(`/events${generation ? `?generation=${generation}` : ''}`), record);
    return `test record appended as ${last}`;
  });
  on('curl', 'not copied', async () => {
    const command = curl(stream.reader);
    $('command').hidden = false;
    put($('command-text'), command);
    // Only a secure context has a clipboard; the command stands there to be taken by hand all the same.
    await navigator.clipboard?.writeText(command).catch(() => {});
    return '';
  });
  $('command-close').addEventListener('click', () => { $('command').hidden = true; $('curl').focus(); });

  $('resolve').addEventListener('submit', (event) => {
    event.preventDefault();
    act('not resolved', async () => {
      const decision = decisionOf($('decision').value), actionId = String(stream.job?.pendingAction?.id ?? '');
      await post(path('/action'), { type: 'resolve', actionId, decision, ...fence() });
      $('decision').value = '';
      return 'resolved: the answer goes on';
    });
  });

  let armed = 0;
  const disarm = () => { clearTimeout(armed); armed = 0; put($('delete'), 'Delete'); };
  $('delete').addEventListener('click', () => {
    if (!armed) {
      armed = setTimeout(disarm, ARMED_MS);
      return put($('delete'), 'Really delete?');
    }
    disarm();
    act('not deleted', async () => {
      await call(path(''), { method: 'DELETE' });
      closed();
      return '';
    });
  });
  $('delete').addEventListener('blur', disarm);
}

/** JSON as it is; anything else is text. */
function decisionOf(text) {
  try { return JSON.parse(text); } catch { return text; }
}

const quote = (text) => `'${text.replaceAll("'", `'\\''`)}'`;

/** Reads on where this page is. The token is the reader's own: it stays out of clipboards and shell histories. */
export function curl({ id, cursor }) {
  const parts = ['curl -N', quote(`${location.origin}${streamPath(id)}/events`), '-H', quote('Accept: text/event-stream')];
  if (cursor) parts.push('-H', quote(`Last-Event-ID: ${cursor}`));
  if (token.value) parts.push('-H', '"Authorization: Bearer $TOKEN"');
  return parts.join(' ');
}
