import type { Aggregator as Fold } from "../generated/browser/rejoin.js";
import { foldingInstance, refusing } from "./folding.js";
import { json, lines, string } from "./types.js";

/** Folds events into content parts, alone: no stream, no store. After a trap it is lost: fold the log again in a new one. */
export class Aggregator {
  #fold: Fold;

  /** Starts empty, or from parts that are there already. Errors: not a list. */
  constructor(parts?: unknown[]) {
    const { Aggregator } = foldingInstance();
    const seed = parts && json(parts);
    this.#fold = refusing(() => (seed === undefined ? new Aggregator() : Aggregator.seeded(seed)));
  }

  /** Folds events: JSON lines, or a list of lines and objects. Lines that are no event change nothing. */
  push(events: string | Iterable<unknown>): void {
    const text = lines(events);
    refusing(() => this.#fold.push(text));
  }

  /** The content parts so far, as JSON text. */
  json(): string {
    return refusing(() => this.#fold.json());
  }

  /** The content parts so far. */
  parts(): unknown[] {
    return JSON.parse(this.json()) as unknown[];
  }

  /** Gives its memory back; without it that waits for the garbage collector. */
  close(): void {
    refusing(() => this.#fold.free());
  }
}

/** Folds a JSON list of events to a JSON list of parts. Errors: not a JSON list. */
export function fold(events: string): string {
  const text = string("events", events);
  return refusing(() => foldingInstance().foldJson(text));
}
