/** A module worker, and a service worker: folds what it is asked to. */

import { foldAll } from './fold.js';
import { load } from '/kit/rejoin.js';

// A service worker has to know at once what it listens to, and may fetch and compile while it is installed.
addEventListener('install', (event) => event.waitUntil(load('/component/rejoin.wasm').then(() => self.skipWaiting())));
addEventListener('activate', (event) => event.waitUntil(self.clients.claim()));
addEventListener('message', async ({ data, source }) => {
  const answer = (message) => (source ?? self).postMessage(message);
  try {
    if (data.cases) answer({ folded: await foldAll(data.cases) });
    const trapping = data.spin && await load('/component/rejoin-traps.wasm');
    if (!trapping) return;
    answer({ spins: true });
    new trapping.Aggregator().push({ event: 'test_trap_spin', data: {} });
  } catch (error) { answer({ error: String(error) }); }
});
