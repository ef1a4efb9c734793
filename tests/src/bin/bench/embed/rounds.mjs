// What is measured, the same in every engine of JavaScript. A host: `start()`, `fold(batches)`, `whole(list)`, `push(batches)`, each
// optional; the last three return the content as JSON text. A batch is JSON lines in one string, as they come from a network.

/** Answers tasks: `{ log }` first, then `{ host, what, batch, times }` with `{ ns, out }`, or with null for what a host has not. */
export function rounds(hosts) {
  let log = [];
  return (task) => {
    if (task.log) return (log = task.log).length;
    const run = hosts[task.host]?.[task.what];
    if (!run) return null;
    const input = task.batch === 0 ? `[${log.join(",")}]` : cut(log, task.batch);
    const start = performance.now();
    let out;
    for (let time = 0; time < task.times; time++) out = run(input);
    return { ns: (performance.now() - start) * 1e6, out: out ?? "" };
  };
}

function cut(log, size) {
  const batches = [];
  for (let at = 0; at < log.length; at += size) batches.push(log.slice(at, at + size).join("\n"));
  return batches;
}

const DISPOSE = Symbol.dispose ?? Symbol.for("dispose");
const LIMITS = { recordBytesMax: 1n << 20n, recordsMax: 1n << 40n, logBytesMax: 1n << 40n, idleMs: 60_000n, pausedIdleMs: 60_000n };

/** Generated bindings as they are: an instance, and sessions whose appends are accepted at once. */
export function bindings(instantiate, modules) {
  const make = () => {
    const asked = {};
    const store = {
      create: (_stream, ticket) => { asked.ticket = ticket; },
      append: (_stream, ticket) => { asked.ticket = ticket; },
      checkpoint: () => {},
    };
    const clock = { now: () => ({ seconds: BigInt(Math.floor(Date.now() / 1000)), nanoseconds: 0 }) };
    const sse = { publish: () => {}, signal: () => {} };
    const named = { "rejoin:streams/types": {}, "rejoin:streams/store": store, "rejoin:streams/sse": sse, "wasi:clocks/wall-clock": clock };
    const versions = Object.entries(named).map(([name, item]) => [`${name}@${name.startsWith("wasi") ? "0.2.0" : "0.1.0"}`, item]);
    return { asked, exports: instantiate((name) => modules[name], { ...named, ...Object.fromEntries(versions) }) };
  };
  const { asked, exports } = make();
  return {
    start: () => void make(),
    fold(batches) {
      const fold = new exports.content.Aggregator();
      for (const batch of batches) fold.push(batch);
      const parts = fold.parts();
      fold[DISPOSE]();
      return parts;
    },
    whole: (list) => exports.content.fold(list),
    push(batches) {
      const session = exports.session.Session.open("bench", undefined, undefined, LIMITS);
      const accept = () => session.settle(asked.ticket, { tag: "accepted" });
      session.create(undefined, undefined, "{}");
      accept();
      for (const batch of batches) {
        session.push(undefined, "ndjson", batch, undefined);
        accept();
      }
      const content = session.content();
      session[DISPOSE]();
      return content;
    },
  };
}

/** The loader without dependencies, of guest/embed/browser: the content alone. */
export function loader(component, load) {
  return {
    fold(batches) {
      const fold = new component.Aggregator();
      for (const batch of batches) fold.push(batch);
      const parts = fold.json();
      fold.free();
      return parts;
    },
    whole: (list) => component.foldJson(list),
    start: load,
  };
}
