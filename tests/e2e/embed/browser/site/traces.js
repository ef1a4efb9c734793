/** Recorded sessions with the bundle of the kit for Node: the whole component, as it is transpiled there. */

import { instantiate } from '/node/generated/rejoin.js';
import { runTrace } from '/node/test/support/trace.mjs';

const NAMES = ['rejoin.core.wasm', 'rejoin.core2.wasm', 'rejoin.core3.wasm'];

/** Runs the traces of these addresses. Answers the calls of each; throws what the first that differs says. */
export async function runTraces(addresses) {
  const modules = await Promise.all(NAMES.map(async (name) => [name, await WebAssembly.compile(await (await fetch(`/node/generated/${name}`)).arrayBuffer())]));
  const core = new Map(modules), calls = [];
  for (const address of addresses) {
    const answer = await fetch(address);
    if (!answer.ok) throw new Error(`${address}: ${answer.status}`);
    try {
      calls.push(runTrace(await answer.text(), (imports) => instantiate((name) => core.get(name), imports)));
    } catch (error) {
      throw new Error(`${address}: ${error.message} ${error.cause ?? ''}`);
    }
  }
  return calls;
}
