/**
 * The component in this process, for folds and translators. They ask nothing of a host, and take one small record a call as often as
 * not: called the way that pages call it (`generated/browser` is the kit for browsers), which costs a few hundred nanoseconds, where
 * the bindings that sessions need cost microseconds.
 */
import { Component, Trapped as InstanceTrapped } from "../generated/browser/rejoin.js";
import { MEMORY_BYTES_FULL, coreModule } from "./modules.js";
import { Refused, Trapped } from "./types.js";

let shared: Component | undefined;

/** The instance of the next fold or translator. None of them shares one with a session: a trap of either ends nothing of the other. */
export function foldingInstance(): Component {
  if (!shared?.alive || shared.memoryBytes >= MEMORY_BYTES_FULL) shared = new Component(coreModule("rejoin.core.wasm"));
  return shared;
}

/** Runs a call of it. Errors: {@link Refused} for what it does not take, {@link Trapped}. */
export function refusing<T>(call: () => T): T {
  try {
    return call();
  } catch (error) {
    if (error instanceof InstanceTrapped) throw new Trapped(error.message, { cause: error.cause });
    if (error instanceof TypeError) throw new Refused("invalid", error.message);
    throw error;
  }
}
