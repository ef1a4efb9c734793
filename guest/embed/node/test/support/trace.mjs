/**
 * Runs recorded session traces against the component as jco transpiles it. Asks nothing of its surroundings: the same file
 * runs in Node and in a browser. The format is described beside the traces, in `tests/cases/sessions/README.md`.
 */

/** Functions whose answer is a result: what they throw is its error. */
const RESULTS = {
  session: ["replay", "create", "push", "update", "complete", "fail", "abort", "time-out", "pause", "resolve", "settle", "content", "text", "resume-state", "save"],
  aggregator: ["seeded"],
  translator: [],
  content: ["fold"],
};
const RESOURCES = {
  session: (root) => root.session.Session,
  aggregator: (root) => root.content.Aggregator,
  translator: (root) => root.translate.Translator,
};
const HANDLES = { session: "s", aggregator: "a", translator: "t" };

const camel = (name) => name.replace(/-(\w)/g, (_, letter) => letter.toUpperCase());
const kebab = (name) => name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);

/** A value of the trace as the bindings take it. All numbers that go in are 64 bits wide. */
function lower(value) {
  if (value === null) return undefined;
  if (typeof value === "number") return BigInt(value);
  if (Array.isArray(value)) return value.map(lower);
  if (typeof value === "object") return Object.fromEntries(Object.entries(value).map(([name, of]) => [camel(name), lower(of)]));
  return value;
}

/** A value of the bindings as the trace has it: they keep the order of fields, and all of them. */
function lift(value) {
  if (value === undefined || value === null) return null;
  if (typeof value === "bigint") return Number(value);
  if (Array.isArray(value)) return value.map(lift);
  if (typeof value !== "object") return value;
  const fields = Object.fromEntries(Object.entries(value).map(([name, of]) => [kebab(name), lift(of)]));
  // A case without a payload has none in the trace.
  if ("tag" in fields && fields.val === null) return { tag: fields.tag };
  return fields;
}

/** What the component asks of its host while a call runs, written down. */
function listening(state) {
  const note = (call, names) => (...values) => {
    state.imports.push({ call, in: Object.fromEntries(names.map((name, at) => [name, lift(values[at])])) });
  };
  const now = () => {
    state.asked = true;
    const ms = state.now ?? 0;
    return { seconds: BigInt(Math.floor(ms / 1000)), nanoseconds: (ms % 1000) * 1_000_000 };
  };
  const imports = {
    "rejoin:streams/store@0.1.0": {
      create: note("store.create", ["stream-id", "ticket", "previous", "job"]),
      append: note("store.append", ["stream-id", "ticket", "first", "records", "change"]),
      checkpoint: note("store.checkpoint", ["stream-id", "at", "state"]),
    },
    "rejoin:streams/sse@0.1.0": {
      publish: note("sse.publish", ["stream-id", "at"]),
      signal: note("sse.signal", ["stream-id", "generation", "what"]),
    },
    "rejoin:streams/types@0.1.0": {},
    "wasi:clocks/wall-clock@0.2.0": { now },
  };
  // The generated code looks for names without their version.
  return { ...imports, ...Object.fromEntries(Object.entries(imports).map(([name, of]) => [name.split("@")[0], of])) };
}

/** The payload of a refusal; anything else that is thrown is a failure of the run. */
function refusal(error) {
  if (error === null || typeof error !== "object" || !("payload" in error)) throw error;
  return lift(error.payload);
}

/** Makes the call of one line. `handles`: resource by its name in the trace; `made`: how many there were of each kind. */
function call(root, handles, made, { call: name, in: given }) {
  const [of, what] = name.split(".");
  const { self, ...rest } = given;
  const values = Object.values(rest).map(lower);
  const handled = (resource) => {
    made[of] = (made[of] ?? 0) + 1;
    const handle = `${HANDLES[of]}${made[of]}`;
    handles.set(handle, resource);
    return handle;
  };
  if (of === "content") return root.content.fold(...values);
  const type = RESOURCES[of]?.(root);
  if (!type) throw new Error(`no such call: ${name}`);
  if (what === "constructor") return handled(new type(...values));
  if (self === undefined) return handled(type[camel(what)](...values));
  const resource = handles.get(self);
  if (!resource) throw new Error(`no such handle: ${self}`);
  if (what !== "drop") return lift(resource[camel(what)](...values));
  resource[Symbol.dispose]();
  handles.delete(self);
  return null;
}

/**
 * Runs the text of one trace on a fresh instance. `instance(imports)`: the exports of the component around these imports.
 * Answers the number of calls. Errors: the first line that differs, with what was wanted and what came.
 */
export function runTrace(text, instance) {
  if (!text.endsWith("\n")) throw new Error("a trace ends with a line break");
  const [head, ...lines] = text.slice(0, -1).split("\n");
  if (JSON.parse(head).trace !== 1) throw new Error(`not a trace of a known format: ${head}`);
  if (lines.length === 0) throw new Error("a trace without calls");
  const state = { now: null, asked: false, imports: [] };
  const root = instance(listening(state));
  const [handles, made] = [new Map(), {}];
  for (const [at, line] of lines.entries()) {
    const wanted = JSON.parse(line);
    Object.assign(state, { now: wanted.now, asked: false, imports: [] });
    const [of, what] = wanted.call.split(".");
    const isResult = RESULTS[of]?.includes(what);
    let out;
    try {
      out = call(root, handles, made, wanted);
      if (isResult) out = { ok: out ?? null };
    } catch (error) {
      if (!isResult) throw new Error(`line ${at + 2}: ${wanted.call} failed`, { cause: error });
      out = { err: refusal(error) };
    }
    const got = JSON.stringify({ call: wanted.call, in: wanted.in, now: state.asked ? wanted.now : null, imports: state.imports, out });
    if (state.asked && wanted.now === null) throw new Error(`line ${at + 2}: ${wanted.call} asked for the time`);
    if (got !== line) throw new Error(`line ${at + 2} differs\nwanted ${line}\ngot    ${got}`);
  }
  return lines.length;
}
