/** What `load` takes: an address, a response, the bytes of `rejoin.wasm`, or the `module` of a component that is loaded already. */
export type Source = string | URL | Request | Response | ArrayBuffer | ArrayBufferView | WebAssembly.Module;

/** A record: one line of JSON, or the object that it says. */
export type Event = string | object;

/** A content part. Which members it has depends on its type. */
export interface Part {
  type: string;
  text?: string;
  think?: string;
  tool_call?: { id: string; name?: string; args?: unknown; type: 'tool_call'; progress?: number; output?: unknown };
  agentId?: string;
  [other: string]: unknown;
}

/** What a `sync` frame, and `GET /v1/streams/{id}/resume`, know of an answer. */
export interface ResumeState {
  aggregatedContent?: Part[];
  runSteps?: object[];
  [other: string]: unknown;
}

export type Dialect = 'events' | 'openai-chat' | 'openai-responses' | 'anthropic-messages';

export interface Translated {
  /** Records, one JSON object a line. */
  records: string;
  /** Where the body could not be read, if so: nothing from there on was taken. */
  bad: { line: number; reason: string } | null;
}

/** A fold in progress. Every call throws `Trapped` after a trap, and `TypeError` after `free()`. */
export interface Aggregator {
  /** Folds records: JSON lines in one string, one event, or a list of either. What is no event changes nothing. */
  push(records: Event | readonly Event[]): void;
  /** The content parts so far as JSON text, byte for byte what every other host of the component gives. */
  json(): string;
  /** The same as values. Costs the whole content each time. */
  parts(): Part[];
  /** Gives the memory back at once. */
  free(): void;
}

export interface AggregatorClass {
  new (): Aggregator;
  /** Starts from parts that are there already. Throws `TypeError` for what is no list. */
  seeded(parts: string | readonly Part[]): Aggregator;
  /** Goes on from a snapshot: records after it name its run steps. */
  resumed(resumeState: ResumeState | null | undefined): Aggregator;
}

/** A model provider's response body in progress, to records. */
export interface Translator {
  push(lines: string, indexAtLeast?: number | bigint): Translated;
  finish(indexAtLeast?: number | bigint): Translated;
  free(): void;
}

/** One instance of the component. */
export class Component {
  /** Of the `module` of another one, at once. Throws `TypeError` for a module of anything else. */
  constructor(module: WebAssembly.Module);
  readonly Aggregator: AggregatorClass;
  readonly Translator: new (dialect: Dialect) => Translator;
  /** Compiled; can be posted to workers, and loaded again at next to no cost. */
  readonly module: WebAssembly.Module;
  /** False after a trap. */
  readonly alive: boolean;
  /** Bytes of its memory, which only grows. */
  readonly memoryBytes: number;
  /** Folds a list of events to parts. */
  fold(events: readonly object[]): Part[];
  /** The same from JSON text to JSON text. Throws `TypeError` for what is no JSON list. */
  foldJson(events: string): string;
}

/** Loads the component and makes an instance of it. Throws `TypeError` for what is no component, or not this one. */
export function load(source: Source | Promise<Response>): Promise<Component>;

/** The component trapped: its instance is lost with all that lives in it, and no other. `cause`: what the engine threw. */
export class Trapped extends Error {}
