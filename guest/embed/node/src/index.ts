/** Resumable streams of LLM answers in this process. See README.md. */
export { Aggregator, fold } from "./aggregator.js";
export type { Limits, Producer, Pushed } from "./session.js";
export { subscribe, type SubscribeOptions } from "./sse.js";
export { MemoryStore, type MemoryOptions } from "./store/memory.js";
export type { Lifetimes, Store } from "./store/store.js";
export { Streams, type Aborted, type StreamsOptions } from "./streams.js";
export { Translator, type Dialect, type Translated } from "./translator.js";
export { type Cursor, type Job, type Status, Overloaded, Refused, Trapped, Unavailable, cursorText, parseCursor } from "./types.js";
