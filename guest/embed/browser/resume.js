/**
 * Going on from a snapshot. The records after it name run steps by id, so a fold that continues must know which step writes into which
 * part; a snapshot has both lists, but not that. The events made here lead an empty fold to the snapshot's parts, with each step
 * bound to its own: both lists are in the order in which places were first taken, so they are walked together.
 */

const event = (name, data) => ({ event: name, data });
const listOf = (value) => (Array.isArray(value) ? value : []);
const isCalls = ({ stepDetails: details }) => details?.type === 'tool_calls';
const idsOf = (step) => (isCalls(step) ? listOf(step.stepDetails.tool_calls) : []).map((call) => call?.id);
const callOf = (part) => (part?.type === 'tool_call' ? part.tool_call?.id : undefined);

/** The events that lead an empty fold to the content of a `resumeState`: `{ aggregatedContent, runSteps }`. */
export function eventsOf(resumeState) {
  const content = listOf(resumeState?.aggregatedContent), steps = listOf(resumeState?.runSteps).filter(Boolean);
  const announced = new Set(steps.flatMap(idsOf)), taken = new Set(), places = [], parts = [];
  /** How many parts from `at` on are of a call: a snapshot may have many thousands of both, and is walked once. */
  const left = new Map();
  for (const part of content) left.set(callOf(part), (left.get(callOf(part)) ?? 0) + 1);
  let at = 0;
  const take = () => {
    const part = content[at++], call = callOf(part);
    left.set(call, left.get(call) - 1);
    return part;
  };
  const isNews = (part) => part?.type === 'tool_call' && !announced.has(callOf(part));
  /** The next part goes to the place of this step. A completed summary is stored as it is, whatever it is (rule M3 of the fold). */
  const put = (id) => parts.push(event('on_run_step_completed', { result: { id, type: 'summary', summary: take() } }));
  /** The next part gets a step of ours: where its tool call is, or at a place of its own. The index is no producer's. */
  const place = () => {
    const id = `rejoin:resumed:${parts.length}`, call = callOf(content[at]);
    const stepDetails = call ? { type: 'tool_calls', tool_calls: [{ id: call }] } : { type: 'message_creation' };
    places.push(event('on_run_step', { id, index: id, stepDetails }));
    put(id);
  };

  for (const step of steps) {
    const calls = idsOf(step), isOpen = isCalls(step) && !calls.length, index = JSON.stringify(step.index);
    const kind = step.stepDetails?.message_creation?.content_type;
    // What no step announced: an agent's update, a call that came with a delta.
    if (calls.length) while (callOf(content[at]) !== calls[0] && left.get(calls[0])) place();
    else while (content[at]?.type === 'agent_update' || (!isOpen && isNews(content[at]))) place();
    places.push(event('on_run_step', step));
    const next = content[at], isFree = !calls.length && !taken.has(index); // steps of one index share a place, rule S3
    taken.add(index);
    if (isOpen) {
      for (; isNews(content[at]); place()) places.push(event('on_run_step_delta', { id: step.id, delta: { type: 'tool_calls', tool_calls: [{ id: callOf(content[at]) }] } }));
    } else if (isFree && next && next.type !== 'tool_call' && (!kind || kind === next.type) && (next.agentId ?? step.agentId) === step.agentId) put(step.id);
    for (const id of calls) if (callOf(content[at]) === id) place();
  }
  while (at < content.length) place();
  // Parts last: a call that is announced again adds to its arguments, rule C4.
  return [...places, ...parts];
}
