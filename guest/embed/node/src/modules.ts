/** The core modules of the component, with an upper bound for the memory of an instance: without one it may take 4 GiB. */
import { readFileSync } from "node:fs";

/** What an instance wants beyond that is a trap. */
const MEMORY_BYTES_MAX = 256 * 1024 * 1024;
/** An instance with so much memory gets nothing new to do. */
export const MEMORY_BYTES_FULL = 64 * 1024 * 1024;

const compiled = new Map<string, WebAssembly.Module>();

/** The module of a file in `generated/`, compiled once. */
export function coreModule(name: string): WebAssembly.Module {
  let module = compiled.get(name);
  if (!module) {
    const bytes = readFileSync(new URL(`../generated/${name}`, import.meta.url));
    module = new WebAssembly.Module(withMemoryMax(bytes, MEMORY_BYTES_MAX));
    compiled.set(name, module);
  }
  return module;
}

const PAGE_BYTES = 65_536;
const MEMORY_SECTION = 5;

/** The same module, but its memory (where it defines one) may not grow beyond `bytesMax`. Errors: not a module. */
function withMemoryMax(module: Uint8Array, bytesMax: number): Uint8Array<ArrayBuffer> {
  // Magic and version, then sections: an id, a length, so many bytes.
  for (let at = 8; at < module.length; ) {
    const [length, body] = unsigned(module, at + 1);
    if (module[at] !== MEMORY_SECTION) {
      at = body + length;
      continue;
    }
    const [count, first] = unsigned(module, body);
    const [flags, limits] = unsigned(module, first);
    const [pages] = unsigned(module, limits);
    if (count !== 1 || flags > 1) throw new Error("a memory of another kind than the component has");
    const section = Uint8Array.of(1, 1, ...leb(pages), ...leb(Math.max(pages, Math.floor(bytesMax / PAGE_BYTES))));
    const parts = [module.subarray(0, at), Uint8Array.of(MEMORY_SECTION, ...leb(section.length)), section, module.subarray(body + length)];
    const bounded = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
    let to = 0;
    for (const part of parts) {
      bounded.set(part, to);
      to += part.length;
    }
    return bounded;
  }
  return new Uint8Array(module);
}

/** The memory that an instance exports, if it has one. */
export function memoryOf(instance: WebAssembly.Instance): WebAssembly.Memory | undefined {
  return Object.values(instance.exports).find((value) => value instanceof WebAssembly.Memory) as WebAssembly.Memory | undefined;
}

/** A LEB128 number, and where what follows it begins. */
function unsigned(bytes: Uint8Array, at: number): [value: number, next: number] {
  for (let value = 0, scale = 1; ; scale *= 128) {
    const byte = bytes[at];
    if (byte === undefined || scale > 2 ** 35) throw new Error("not a module");
    at += 1;
    value += (byte % 128) * scale;
    if (byte < 128) return [value, at];
  }
}

function leb(value: number): number[] {
  return value < 128 ? [value] : [128 + (value % 128), ...leb(Math.floor(value / 128))];
}
