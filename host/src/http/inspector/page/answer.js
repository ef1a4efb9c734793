/** The answer as a reader sees it: text, reasoning, tool calls. */

import { $, bytes, el, json, keepAtEnd } from './dom.js';

/** Characters of one part; a step is how much goes at a time. */
const SHOWN_MAX = 128 * 1024, STEP = 32 * 1024;

export function clearAnswer() { $('answer').replaceChildren(); }

/** Paints the parts that have changed since the last time. */
export function paintAnswer({ slots, dirty }, question) {
  $('question').hidden = !question;
  if ($('question').textContent !== question) $('question').textContent = question;
  if (!dirty.size) return;
  keepAtEnd($('answer').parentElement, () => {
    while ($('answer').children.length < slots.length) $('answer').append(Object.assign(el('div'), { hidden: true }));
    for (const slot of dirty) paintPart($('answer').children[slot], slots[slot]);
    dirty.clear();
  });
}

function paintPart(node, part) {
  node.hidden = false;
  const kind = ['text', 'think'].includes(part.type) ? part.type : part.tool_call ? 'tool' : 'other';
  if (kind === 'think' && node.className !== kind) {
    node.replaceChildren(Object.assign(el('details', '', el('summary', '', 'Reasoning'), el('div')), { open: true }));
  }
  node.className = kind;
  if (kind === 'text') write(node, part.text ?? '');
  else if (kind === 'think') write(node.querySelector('div'), part.think ?? '');
  else if (kind === 'other') node.replaceChildren(el('h3', '', part.type ?? 'part'), el('pre', '', json(part)));
  else paintCall(node, part.tool_call);
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

function paintCall(node, { name, args, streamed, output, progress }) {
  const state = progress === 1 ? 'done' : 'running', shown = progress !== 1 && streamed?.trim() ? streamed : json(args);
  const mark = el('span', 'pill', progress > 0 && progress < 1 ? `${Math.round(progress * 100)} %` : state);
  mark.dataset.state = state;
  node.replaceChildren(el('div', '', el('b', '', name ?? 'tool call'), mark));
  if (shown) node.append(el('h3', '', 'Arguments'), el('pre', '', shown));
  if (output != null) node.append(el('h3', '', 'Output'), el('pre', '', json(output)));
}
