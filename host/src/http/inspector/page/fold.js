const callsOf = (step) => (step.stepDetails?.type === 'tool_calls' ? step.stepDetails.tool_calls ?? [] : []);

/** From records to parts, for display. Slots stand in the order in which steps and calls first appear; a producer's
 `index` only says what shares a slot. */
export class Fold {
  slots = []; sources = new Map(); steps = new Map(); calls = new Map(); tools = new Map(); chunks = new Map(); dirty = new Set();

  put(slot, part) { this.slots[slot] = part; this.dirty.add(slot); }
  allocate() { return this.slots.push(null) - 1; }
  resolve(index) {
    if (!this.sources.has(index)) this.sources.set(index, this.allocate());
    return this.sources.get(index);
  }

  apply({ event, data }) {
    if (!data) return;
    if (event === 'on_run_step') this.step(data);
    else if (event === 'on_run_step_delta') this.fragments(data);
    else if (event === 'on_run_step_completed') this.completed(data.result ?? {});
    else if (event === 'on_agent_update' && data.agent_update) this.write(this.resolve(data.agent_update.index), data);
    else if (['on_message_delta', 'on_reasoning_delta'].includes(event) && this.steps.has(data.id)) {
      for (const part of [data.delta?.content].flat()) this.write(this.steps.get(data.id), part);
    }
  }

  step(step) {
    const calls = callsOf(step);
    const slots = calls.map((call, i) => this.calls.get(call.id) ?? (i ? this.allocate() : this.resolve(step.index)));
    this.steps.set(step.id, slots[0] ?? this.resolve(step.index));
    if (step.summary) this.write(this.steps.get(step.id), step.summary);
    if (!calls.length) return;
    this.sources.set(step.index, slots[0]);
    this.tools.set(step.id, { slots, unclaimed: new Set(slots) });
    calls.forEach((call, i) => this.call(slots[i], call));
  }

  write(slot, part) {
    if (typeof part?.type !== 'string' || part.type === '') return;
    const old = this.slots[slot];
    if (old && !part.type.startsWith(old.type)) return; // a slot keeps its kind
    const kind = ['text', 'think'].find((name) => part.type.startsWith(name));
    if (part.type === 'tool_call') { if (part.tool_call) this.call(slot, part.tool_call); }
    else if (kind && typeof part[kind] === 'string') this.put(slot, { type: kind, [kind]: (old?.[kind] ?? '') + part[kind] });
    else this.put(slot, kind ? old ?? { type: part.type } : part);
  }

  // After its first, a fragment has neither name nor id and may come under the step of another parallel call: the chunk index tells.
  fragments({ id, delta }) {
    const tools = this.tools.get(id);
    for (const entry of delta?.tool_calls ?? []) {
      const key = `${id} ${entry.index}`;
      const slot = this.calls.get(entry.id) ?? this.chunks.get(key) ?? [...tools?.unclaimed ?? []][0]
        ?? this.chunks.get(entry.index) ?? tools?.slots[0] ?? (entry.name ? this.allocate() : undefined);
      if (slot === undefined) continue;
      tools?.unclaimed.delete(slot);
      this.chunks.set(key, slot).set(entry.index, slot);
      this.call(slot, entry);
    }
  }

  call(slot, entry, done = false) {
    const part = this.slots[slot];
    if (part && part.type !== 'tool_call') return;
    const old = part?.tool_call ?? { streamed: '' };
    if (old.progress === 1 && !done) return; // a completed call is frozen
    const call = { ...old, id: entry.id || old.id, name: entry.name || old.name };
    if (done) Object.assign(call, { args: entry.args ?? old.args ?? old.streamed, output: entry.output, progress: 1 });
    else if (typeof entry.args === 'string') call.streamed += entry.args;
    else if (entry.args && Object.keys(entry.args).length) call.args = entry.args;
    if (call.id) this.calls.set(call.id, slot);
    this.put(slot, { type: 'tool_call', tool_call: call });
  }

  completed(result) {
    const own = this.tools.get(result.id)?.slots ?? [this.steps.get(result.id)];
    if (result.type === 'summary' && result.summary && this.steps.has(result.id)) this.put(this.steps.get(result.id), result.summary);
    else if (result.tool_call) {
      const slot = this.calls.get(result.tool_call.id) ?? (own.length === 1 ? own[0] : undefined);
      if (slot !== undefined) this.call(slot, result.tool_call, true);
    }
  }

  /** Starts from a snapshot. It does not say which step wrote which part, so both lists are walked in their common order. */
  seed(parts, steps) {
    const rest = parts.filter(Boolean), announced = new Set(steps.flatMap(callsOf).map((call) => call.id));
    const isCall = (part, id) => part?.type === 'tool_call' && part.tool_call?.id === id;
    const place = (slot, part) => {
      this.put(slot, part.type === 'tool_call' ? { type: 'tool_call', tool_call: { ...part.tool_call, streamed: '… ' } } : part);
      if (part.tool_call?.id) this.calls.set(part.tool_call.id, slot);
    };
    const stray = () => place(this.allocate(), rest.shift()); // a part that no run step announced
    for (const step of steps) {
      const ids = callsOf(step).map((call) => call.id), kind = step.stepDetails?.message_creation?.content_type;
      if (ids.length) while (rest.some((part) => isCall(part, ids[0])) && !isCall(rest[0], ids[0])) stray();
      else while (rest[0]?.type === 'agent_update' || (rest[0]?.tool_call && !announced.has(rest[0].tool_call.id))) stray();
      const end = this.slots.length;
      this.step(step);
      const free = step.stepDetails?.type !== 'tool_calls' && this.slots.length > end;
      const mine = free && rest[0] && rest[0].type !== 'tool_call' && (!kind || kind === rest[0].type);
      if (mine) place(end, rest.shift());
      for (const id of ids) if (isCall(rest[0], id)) place(this.calls.get(id), rest.shift());
    }
    while (rest.length) stray();
  }
}

/** All text of the answer. */
export const textOf = (parts) => parts.map((part) => (part?.type === 'text' ? part.text ?? '' : '')).join('');
