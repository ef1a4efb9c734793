// Makes `generated/` (or the folder that is named): the component as JavaScript and core modules, the kit for browsers, by which
// it folds, and the scripts of Redis as text. None of it asks for anything of Node: the same files run in a browser.
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { transpileBytes } from "@bytecodealliance/jco-transpile";

const here = dirname(dirname(fileURLToPath(import.meta.url)));
const project = join(here, "..", "..", "..");
const component = process.env.REJOIN_COMPONENT ?? join(project, "target", "rejoin.wasm");
const scripts = join(project, "host", "src", "store", "redis", "scripts");
const out = resolve(process.argv[2] ?? join(here, "generated"));

let wasm;
try {
  wasm = readFileSync(component);
} catch {
  console.error(`${component} is not there: run \`cargo xtask component\` first, or name it in REJOIN_COMPONENT`);
  process.exit(1);
}
const { files } = await transpileBytes(wasm, { name: "rejoin", instantiation: { tag: "sync" }, wasiShim: false, nodejsCompat: false, noComponentErrorWrapping: false });

// Two things that cost a call in Node more than all the rest of it: each of its many notes looks into the environment
// again, and a text is walked once by hand to know its bytes before it is encoded.
const FASTER = [
  [/const _debugLog = \(\.\.\.args\) => \{\s+if \(!globalThis\?\.process\?\.env\?\.JCO_DEBUG\) \{ return; \}\s+console\.debug\(\.\.\.args\);\s+\};/, "const _debugLog = () => {};"],
  [/function _utf8AllocateAndEncode\(s, realloc, memory\) \{[\s\S]+?\n {2}\}\n/, `${encode}\n`],
];

/** Takes as many bytes as there are characters, which is exact for ASCII; more only from the first other one on. */
function encode(s, realloc, memory) {
  if (typeof s !== "string") throw new TypeError("expected a string, received [" + typeof s + "]");
  if (s.length === 0) return { ptr: 1, len: 0 };
  let ptr = realloc(0, 0, 1, s.length);
  let { read, written } = TEXT_ENCODER_UTF8.encodeInto(s, new Uint8Array(memory.buffer, ptr, s.length));
  if (read < s.length) {
    const most = written + 3 * (s.length - read);
    ptr = realloc(ptr, s.length, 1, most);
    written += TEXT_ENCODER_UTF8.encodeInto(s.slice(read), new Uint8Array(memory.buffer, ptr + written, most - written)).written;
    ptr = realloc(ptr, most, 1, written);
  }
  return { ptr, len: written };
}

function faster(code) {
  return FASTER.reduce((text, [slow, quick]) => {
    if (!slow.test(text)) throw new Error(`jco writes other code now: ${slow} is not in it`);
    return text.replace(slow, () => quick.replace("function encode", "function _utf8AllocateAndEncode"));
  }, code);
}

rmSync(out, { recursive: true, force: true });
for (const [name, bytes] of Object.entries(files)) {
  mkdirSync(dirname(join(out, name)), { recursive: true });
  writeFileSync(join(out, name), name === "rejoin.js" ? faster(Buffer.from(bytes).toString()) : bytes);
}

// Beside the rest, so that the package is whole by itself.
for (const name of ["component.js", "rejoin.js", "rejoin.d.ts", "resume.js"]) cpSync(join(project, "guest", "embed", "browser", name), join(out, "browser", name));

// Each script is what its part shares, and itself: as the Rust host puts them together.
const of = { stream: ["append", "checkpoint", "create", "read", "remove", "rescue"], index: ["admit", "counts", "due", "intend", "place"] };
const read = (name) => readFileSync(join(scripts, `${name}.lua`), "utf8");
const texts = Object.fromEntries(Object.entries(of).flatMap(([part, names]) => names.map((name) => [name, read(part) + read(name)])));
// Allowed to use memory that there is none of.
texts.ending = `#!lua flags=allow-oom\n${texts.append}`;
texts.presence = read("presence");
const body = Object.entries(texts).map(([name, text]) => `  ${name}: ${JSON.stringify(text)},\n`).join("");
writeFileSync(join(out, "scripts.js"), `export default {\n${body}};\n`);
writeFileSync(join(out, "scripts.d.ts"), `declare const scripts: { readonly [name in ${Object.keys(texts).map((name) => `"${name}"`).join(" | ")}]: string };\nexport default scripts;\n`);
