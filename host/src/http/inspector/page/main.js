/** Joins the parts of the page, and asks the server once a second how things are. */

import { $, count, duration, facts, put, sleep } from './dom.js';
import { call, isToken, post, token } from './api.js';
import { wireActions } from './actions.js';
import { Chart } from './charts.js';
import { textOf } from './content.js';
import { Panels } from './panels.js';
import { Stream } from './stream.js';
import { Streams } from './streams.js';
import { Timeline } from './timeline.js';

const POLL_MS = 1000, REFUSED_MS = 5000;
const timeline = new Timeline(), panels = new Panels();
const stream = new Stream(timeline, panels, () => refresh());
const streams = new Streams(open);
const charts = {
  records: new Chart($('chart-records'), 'records a second'),
  subscribers: new Chart($('chart-subscribers'), 'subscribers'),
  active: new Chart($('chart-active'), 'active jobs'),
};
let pauseUntil = 0, round = null;
wireActions(stream, close);

function open(id) {
  streams.selected = streams.list.key = id;
  stream.open(id);
  streams.list.paint();
  // On a narrow screen the list is gone now, and the focus with it.
  if (!$('streams').offsetParent) $('title').focus();
}

function close() {
  streams.selected = null;
  stream.close();
  streams.list.paint();
  $('streams').focus();
}

/** How things are. Two at a time never run; what is refused is said once, in the banner. */
function refresh() {
  round ??= look().finally(() => { round = null; });
  return round;
}

async function look() {
  try {
    const [stats] = await Promise.all([call('/v1/stats'), streams.refresh(), stream.refresh()]);
    figures(stats);
    banner('');
  } catch (error) {
    if (error.status === 429) pauseUntil = Date.now() + (error.retryAfterMs || 5000);
    if ([401, 403].includes(error.status)) {
      pauseUntil = Date.now() + REFUSED_MS;
      streams.list.set([]);
    }
    banner(error.message);
  }
}

function figures({ jobs, subscribers, sessions, store, uptimeS }) {
  streams.counts(jobs);
  charts.records.add(streams.rate);
  // A user's figures are of their own jobs; those of the host are for whoever runs it.
  charts.subscribers.figure.hidden = subscribers === undefined;
  if (subscribers !== undefined) charts.subscribers.add(subscribers);
  charts.active.add(jobs.running + jobs.requires_action);
  facts($('stats'), store === undefined ? []
    : [['store', store], ['sessions', count(sessions ?? 0)], ['up', duration((uptimeS ?? 0) * 1000)]]);
}

function banner(text) {
  put($('banner'), text);
  $('banner').hidden = !text;
}

// ---- the token ----

function showToken(shown) {
  $('token-form').hidden = !shown;
  $('access').setAttribute('aria-expanded', shown);
  if (shown) $('token').focus();
}

function tokenState() {
  $('access').dataset.set = Boolean(token.value);
  put($('token-note'), token.value ? 'A token is set for this tab.' : 'No token is set. On loopback without a key none is needed.');
}

function setToken(text) {
  if (!isToken(text)) return put($('token-note'), 'That is no token: it has characters that no header can carry.');
  token.value = text;
  $('token').value = '';
  tokenState();
  showToken(false);
  $('access').focus();
  pauseUntil = 0;
  streams.reset();
  if (stream.id) stream.open(stream.id);
}

$('access').addEventListener('click', () => showToken($('token-form').hidden));
$('token-form').addEventListener('submit', (event) => { event.preventDefault(); setToken($('token').value.trim()); });
$('token-clear').addEventListener('click', () => setToken(''));

// ---- opening, keys ----

$('open-form').addEventListener('submit', (event) => {
  event.preventDefault();
  const id = $('open').value.trim();
  if (id) open(id);
});
$('replay').addEventListener('click', async () => {
  try {
    open((await post('/inspector/sample', {})).streamId);
  } catch (error) { banner(`No sample: ${error.message}`); }
});
$('back').addEventListener('click', close);

document.addEventListener('keydown', (event) => {
  const { key, target } = event, typing = target.matches('input, textarea, select');
  if (event.ctrlKey || event.altKey || event.metaKey || event.isComposing) return;
  if (key === '/' && !typing) {
    event.preventDefault();
    if (!$('user').offsetParent) close();
    $('user').focus();
    $('user').select();
  } else if (key === 'Escape') {
    event.preventDefault();
    escape(target);
  }
});

/** Out of what was entered last: token, record, command, field, stream. */
function escape(target) {
  if (!$('token-form').hidden) { showToken(false); $('access').focus(); }
  else if (!$('command').hidden) $('command-close').click();
  else if (timeline.close()) return;
  else if (target === $('user') && target.value) { target.value = ''; streams.reset(); }
  else if (target.matches('input, textarea, select')) target.blur();
  else if (!$('streams').offsetParent) close();
  else $('streams').focus();
}

// ---- now ----

const hello = [{ event: 'on_run_step', data: { id: 's1', index: 0, stepDetails: { type: 'message_creation' } } },
  { event: 'on_message_delta', data: { id: 's1', delta: { content: [{ type: 'text', text: 'Hello' }] } } }];
const example = ([route, body]) =>
  `curl ${location.origin}/v1/streams/my-chat${route} -H 'content-type: application/json' -d '${JSON.stringify(body)}'`;
put($('example'), [['', { userId: 'me' }], ['/events', hello], ['/complete', {}]].map(example).join('\n\n'));
// For tests, and for the console.
window.rejoin = {
  parts: () => stream.reader?.content.look() ?? [],
  text: () => textOf(rejoin.parts()),
  get records() { return (stream.reader?.rows ?? []).filter(({ mark }) => !mark); },
  get cursor() { return stream.reader?.cursor ?? ''; },
};
tokenState();
streams.onfilter = () => refresh().then(refresh);
const openNamed = () => {
  if (location.hash.length < 2) return;
  try { open(decodeURIComponent(location.hash.slice(1))); } catch { banner('The address names no stream.'); }
};
addEventListener('hashchange', openNamed);
openNamed();
for (;; await sleep(POLL_MS)) if (!document.hidden && Date.now() >= pauseUntil) await refresh();
