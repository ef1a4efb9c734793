import type { Aggregator as WitAggregator } from "../generated/interfaces/rejoin-streams-content.js";
import { type Instance, refusing, statelessInstance } from "./component.js";
import { lines } from "./types.js";

/** Folds events into content parts, alone: no stream, no store. */
export class Aggregator {
  #instance: Instance = statelessInstance();
  #fold: WitAggregator;

  /** Starts empty, or from parts that are there already. Errors: not a list. */
  constructor(parts?: unknown[]) {
    const { content } = this.#instance.exports;
    this.#fold = refusing(this.#instance, () =>
      parts ? content.Aggregator.seeded(JSON.stringify(parts)) : new content.Aggregator(),
    );
  }

  /** Folds events: JSON lines, or a list of lines and objects. Lines that are no event change nothing. */
  push(events: string | Iterable<unknown>): void {
    refusing(this.#instance, () => this.#fold.push(lines(events)));
  }

  /** The content parts so far, as JSON text. */
  json(): string {
    return refusing(this.#instance, () => this.#fold.parts());
  }

  /** The content parts so far. */
  parts(): unknown[] {
    return JSON.parse(this.json()) as unknown[];
  }
}

/** Folds a JSON list of events to a JSON list of parts. Errors: not a JSON list. */
export function fold(events: string): string {
  const instance = statelessInstance();
  return refusing(instance, () => instance.exports.content.fold(events));
}
