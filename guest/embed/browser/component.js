/**
 * The component file as it is, in an engine that knows core modules only.
 *
 * Browsers do not load components yet. What a browser lacks is small for this one: its main core module is found by
 * walking over the file's sections, and the calls are made as the component model's "Canonical ABI" (CABI below:
 * github.com/WebAssembly/component-model, design/mvp/CanonicalABI.md) says, for the few types that occur in
 * `wit/content.wit` and `wit/translate.wit`. Glue that is generated for the whole world is 370 KB of JavaScript.
 */

const MAGIC = 0x6d736100, CORE = 1, COMPONENT = 0x1000d, CORE_MODULE_SECTION = 1;
const scratch = new Uint8Array(64 * 1024);
/** Names of exports, and those of what frees their results. Made once: a name that is put together is looked up slowly. */
const POST = {};
const encoder = new TextEncoder(), decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** The component trapped. Its instance is lost with all that lives in it; no other instance is touched. */
export class Trapped extends Error {
  name = 'Trapped';

  constructor(cause) {
    super(`the component trapped (${cause?.message ?? cause}): this instance is lost, make a new one and fold the log again`, { cause });
  }
}

/**
 * The main core module of a component; a core module stays as it is. Throws `TypeError` for anything else.
 *
 * Shape of a file: 8 bytes of preamble, then sections: a byte of kind, their size as LEB128, their content (component-model
 * design/mvp/Binary.md). The tools put two small modules beside the main one, which fill its imports through a table because a component's
 * imports need its memory. Here a closure does that, so they are left out: the largest is the one.
 */
export function coreModule(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const version = bytes.length >= 8 && view.getUint32(0, true) === MAGIC ? view.getUint32(4, true) : 0;
  if (version === CORE) return bytes;
  if (version !== COMPONENT) throw new TypeError('this is no WebAssembly component: is it the file rejoin.wasm, and not a page that says 404?');
  let at = 8, largest = bytes.subarray(0, 0);
  while (at < bytes.length) {
    const kind = bytes[at++];
    let size = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = bytes[at++];
      size += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) break;
      if (!(shift < 28)) throw new TypeError('the component is damaged: a section has no size');
    }
    if (at + size > bytes.length) throw new TypeError('the component is cut off: load all of it');
    if (kind === CORE_MODULE_SECTION && size > largest.length) largest = bytes.subarray(at, at + size);
    at += size;
  }
  if (!largest.length) throw new TypeError('the component has no core module');
  return largest;
}

/** One instance: a memory of its own. After a trap every call throws `Trapped` (CABI: a trap ends the instance for good). */
export class Instance {
  #exports; #trapped = null;

  constructor(module) {
    const imports = {};
    for (const { module: from, name } of WebAssembly.Module.imports(module)) {
      imports[from] ??= {};
      imports[from][name] = this.#supply(from, name);
    }
    this.#exports = new WebAssembly.Instance(module, imports).exports;
  }

  /**
   * Resources of the component's own: `resource-new` makes a handle of a representation, and whoever gets the handle as a result takes the
   * representation out again (CABI: lift_own); methods then get the representation itself (CABI: lower_borrow of an instance's own
   * resource). Nobody keeps a handle in between, so a representation may be its own. Everything else is a host's: see README.md.
   */
  #supply(from, name) {
    if (name.startsWith('[resource-new]')) return (representation) => representation;
    if (name.startsWith('[resource-drop]')) {
      const destructor = `${from.slice('[export]'.length)}#[dtor]${name.slice('[resource-drop]'.length)}`;
      return (representation) => this.#exports[destructor]?.(representation);
    }
    return () => { throw new Error(`${from} ${name} was called: sessions need a host, and this is the content alone`); };
  }

  /**
   * Calls an export. Strings become pointer and length (CABI: flatten). `read` gets the plain result: a number, or for what
   * does not fit one, a pointer to it, which is good until the `cabi_post_…` of the export has freed it (CABI: canon_lift).
   */
  call(name, parameters, read = (result) => result) {
    if (this.#trapped) throw new Trapped(this.#trapped);
    try {
      const flat = [];
      for (const value of parameters) {
        if (typeof value === 'string') this.#lower(value, flat);
        else flat.push(value);
      }
      const result = this.#exports[name](...flat), value = read(result, this);
      this.#exports[POST[name] ??= `cabi_post_${name}`]?.(result);
      return value;
    } catch (error) {
      // Also a stack that overflowed, an import that threw, a result that is no UTF-8: nothing in there is certain any more.
      this.#trapped = error;
      throw new Trapped(error);
    }
  }

  /** False after a trap. */
  get alive() { return !this.#trapped; }

  /** Bytes of its memory, which only grows. */
  get memoryBytes() { return this.#exports.memory.buffer.byteLength; }

  has(name) { return name in this.#exports; }

  /** Copies a string in (CABI: store_string). Half a surrogate pair cannot be UTF-8 and becomes U+FFFD: JSON escapes it. */
  #lower(text, flat) {
    // By way of `scratch`, because the room that is asked for must be exact, and `encode` is slow on short texts.
    const bytes = text.length * 3 > scratch.length ? encoder.encode(text) : scratch.subarray(0, encoder.encodeInto(text, scratch).written);
    const pointer = this.#exports.cabi_realloc(0, 0, 1, bytes.length) >>> 0;
    this.#bytes.set(bytes, pointer);
    flat.push(pointer, bytes.length);
  }

  /** Copies the string out whose pointer and length stand at `at` (CABI: load_string). */
  string(at) {
    const pointer = this.word(at);
    return decoder.decode(this.#bytes.subarray(pointer, pointer + this.word(at + 4)));
  }

  /** The 32-bit word at `at`. */
  word(at) { return this.#view.getUint32(at >>> 0, true); }

  /** The 64-bit word at `at`, as far as numbers are exact. */
  long(at) { return Number(this.#view.getBigUint64(at >>> 0, true)); }

  /** The byte at `at`: which case a result or an option is. */
  byte(at) { return this.#view.getUint8(at >>> 0); }

  // Never kept over a call: a memory that grows takes the views of it away.
  get #view() { return new DataView(this.#exports.memory.buffer); }
  get #bytes() { return new Uint8Array(this.#exports.memory.buffer); }
}
