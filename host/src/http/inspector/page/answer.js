/** The answer as a reader sees it: text, reasoning, tool calls. */

import { $, bytes, el, json, jsonOf, keepAtEnd, word } from './dom.js';

/** Characters of one part; a step is how much goes at a time. */
const SHOWN_MAX = 128 * 1024, STEP = 32 * 1024;

export function clearAnswer() { $('answer').replaceChildren(); }

/** Paints the parts that have changed since the last time. */
export function paintAnswer(content, question) {
  $('question').hidden = !question;
  if ($('question').textContent !== question) $('question').textContent = question;
  const parts = content.look(), nodes = $('answer').children;
  const keys = parts.map((part) => keyOf(part, streamedOf(part, content)));
  const changed = keys.flatMap((key, at) => (nodes[at]?.key === key ? [] : [at]));
  if (!changed.length && nodes.length === parts.length) return;
  keepAtEnd($('answer').parentElement, () => {
    while (nodes.length > parts.length) $('answer').lastChild.remove();
    while (nodes.length < parts.length) $('answer').append(el('div'));
    for (const at of changed) {
      paintPart(nodes[at], parts[at], streamedOf(parts[at], content));
      nodes[at].key = keys[at];
    }
  });
}

const streamedOf = (part, content) => content.arguments.of(part?.tool_call?.id);
/** What was made of a part stays with it: between two reads the content gives the same ones, and what streams only grows. */
const made = new WeakMap();

/** Equal where a part looks the same. */
function keyOf(part, streamed) {
  if (part === null || typeof part !== 'object') return String(part);
  const length = streamed?.length, old = made.get(part);
  if (old && old.length === length) return old.key;
  const key = isProse(part) ? part.type + part[part.type] : `${length} ${jsonOf(part)}`;
  made.set(part, { length, key });
  return key;
}
const isProse = (part) => ['text', 'think'].includes(part?.type) && typeof (part[part.type] ?? '') === 'string';

function paintPart(node, part, streamed) {
  const kind = isProse(part) ? part.type : part?.tool_call ? 'tool' : 'other';
  if (kind === 'think' && node.className !== kind) {
    node.replaceChildren(Object.assign(el('details', '', el('summary', '', 'Reasoning'), el('div')), { open: true }));
  }
  if (node.className !== kind) delete node.dataset.left;
  node.className = kind;
  if (kind === 'text') write(node, part.text ?? '');
  else if (kind === 'think') write(node.querySelector('div'), part.think ?? '');
  else if (kind === 'other') node.replaceChildren(el('h3', '', word(part?.type ?? 'part')), el('pre', '', end(json(part))));
  else paintCall(node, part.tool_call, streamed);
}

/**
 * What only grew is appended, and of a huge text only the end is there: a browser lays out the whole text anew for each
 * word. What is left out is said above it, by the style.
 */
function write(node, whole) {
  const left = Math.max(0, Math.ceil(whole.length / STEP) * STEP - SHOWN_MAX), text = whole.slice(left), old = node.firstChild;
  if (old?.data !== undefined && text.startsWith(old.data)) old.appendData(text.slice(old.data.length));
  else node.textContent = text;
  if (left) node.dataset.left = `${bytes(left)} before this are not shown here.`;
  else delete node.dataset.left;
}

/** The end of a text, as much as one part shows. */
const end = (text) => (text.length > SHOWN_MAX ? `… ${text.slice(-SHOWN_MAX)}` : text);

function paintCall(node, { name, args, output, progress: told }, streamed) {
  const progress = typeof told === 'number' ? told : 0, isStreamed = progress !== 1 && streamed && /\S/.test(streamed);
  const state = progress === 1 ? 'done' : 'running', shown = end(isStreamed ? streamed : json(args));
  const mark = el('span', 'pill', progress > 0 && progress < 1 ? `${Math.round(progress * 100)} %` : state);
  mark.dataset.state = state;
  node.replaceChildren(el('div', '', el('b', '', word(name ?? 'tool call')), mark));
  if (shown) node.append(el('h3', '', 'Arguments'), el('pre', '', shown));
  if (output != null) node.append(el('h3', '', 'Output'), el('pre', '', end(json(output))));
}
