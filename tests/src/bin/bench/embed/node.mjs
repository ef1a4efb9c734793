// Hosts in Node: node node.mjs <kit for Node> <kit for browsers> <folder with @librechat/agents> <component>; tasks by line on standard input.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";
import { bindings, loader, rounds } from "./rounds.mjs";

const [node, browser, reference, component] = process.argv.slice(2);
const from = (...path) => import(pathToFileURL(join(...path)).href);
const hosts = {};

const { instantiate } = await from(node, "generated", "rejoin.js");
const names = ["rejoin.core.wasm", "rejoin.core2.wasm", "rejoin.core3.wasm"];
const modules = Object.fromEntries(names.map((name) => [name, new WebAssembly.Module(readFileSync(join(node, "generated", name)))]));
hosts.bindings = bindings(instantiate, modules);

const { Aggregator, fold } = await from(node, "dist", "index.js");
hosts.kit = {
  fold(batches) {
    const fold = new Aggregator();
    for (const batch of batches) fold.push(batch);
    const parts = fold.json();
    fold.close();
    return parts;
  },
  whole: fold,
};

const { load } = await from(browser, "rejoin.js");
hosts.loader = loader(await load(readFileSync(component)));

if (reference) {
  const { createContentAggregator } = createRequire(join(reference, "package.json"))("@librechat/agents");
  // What a job store lets through: ../shared/aggregator/SPEC.md, F1.
  const known = new Set(["on_run_step", "on_message_delta", "on_reasoning_delta", "on_run_step_delta", "on_run_step_completed", "on_agent_update"]);
  const folding = (each) => (input) => {
    const { contentParts, aggregateContent } = createContentAggregator();
    each(input, (event) => {
      if (event && event.data && known.has(event.event)) aggregateContent(event);
    });
    return JSON.stringify(contentParts.filter((part) => part !== undefined));
  };
  hosts.reference = {
    fold: folding((batches, take) => {
      for (const batch of batches) for (const line of batch.split("\n")) take(JSON.parse(line));
    }),
    whole: folding((list, take) => JSON.parse(list).forEach(take)),
  };
}

const answer = rounds(hosts);
for await (const line of createInterface({ input: process.stdin })) console.log(JSON.stringify(answer(JSON.parse(line))));
