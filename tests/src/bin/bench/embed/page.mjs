// Hosts in a page: the loader without dependencies, and the generated bindings for sessions.
import { load } from "/kit/rejoin.js";
import { instantiate } from "/bindings/rejoin.js";
import { bindings, loader, rounds } from "./rounds.mjs";

const names = ["rejoin.core.wasm", "rejoin.core2.wasm", "rejoin.core3.wasm"];
const modules = {};
for (const name of names) modules[name] = await WebAssembly.compileStreaming(fetch(`/bindings/${name}`));

export const answer = rounds({
  bindings: bindings(instantiate, modules),
  loader: loader(await load("/rejoin.wasm")),
});
