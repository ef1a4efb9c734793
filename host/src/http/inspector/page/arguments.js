/**
 * The arguments of tool calls while they stream. The content has them when the call is completed (rule C1 of the fold): until
 * then they come in fragments with neither name nor id, and under the step of another call when calls are made in parallel. The chunk index tells.
 */
export class Arguments {
  #calls = new Map(); #waiting = new Map(); #texts = new Map();

  /** What has come of a call that is not completed. */
  of(call) { return this.#texts.get(call); }

  apply({ event, data }) {
    if (event === 'on_run_step') this.#announce(data);
    else if (event === 'on_run_step_completed') this.#texts.delete(data?.result?.tool_call?.id);
    else if (event === 'on_run_step_delta') for (const entry of listed(data?.delta?.tool_calls)) this.#add(this.#callOf(data.id, entry), entry.args);
  }

  /** After a snapshot: what came before it is not known. */
  resume(steps) {
    for (const step of listed(steps)) for (const id of this.#announce(step)) if (id) this.#texts.set(id, '… ');
  }

  #announce(step) {
    const calls = step?.stepDetails?.type === 'tool_calls' ? listed(step.stepDetails.tool_calls) : [];
    this.#waiting.set(step?.id, calls.map(({ id }) => id));
    for (const { id, args } of calls) this.#add(id, args);
    return this.#waiting.get(step?.id);
  }

  #callOf(step, { id, index }) {
    const key = JSON.stringify([step, index]), waiting = this.#waiting.get(step) ?? [];
    const call = id || this.#calls.get(key) || waiting[0] || this.#calls.get(index);
    this.#waiting.set(step, waiting.filter((other) => other !== call));
    this.#calls.set(key, call).set(index, call);
    return call;
  }

  #add(call, args) {
    if (call && typeof args === 'string') this.#texts.set(call, (this.#texts.get(call) ?? '') + args);
  }
}

/** What is in a list; nothing where a producer sent something else. */
const listed = (value) => (Array.isArray(value) ? value.filter(Boolean) : []);
