/** Nodes and text. Whatever comes from a stream becomes text here, never markup. */

export const $ = (id) => document.getElementById(id);
export const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

export function el(tag, className = '', ...children) {
  const node = Object.assign(document.createElement(tag), { className });
  node.append(...children);
  return node;
}

/** Sets the text only where it differs: selections stay, and nothing is announced twice. */
export function put(node, text) { if (node.textContent !== text) node.textContent = text; }

/** A state in a word, and its colour. */
export function pill(node, value, text = value, key = 'state') {
  put(node, text);
  if (node.dataset[key] !== value) node.dataset[key] = value;
}

const WORD_MAX = 1000;
const INVISIBLE = /[\u0000-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g;

/** One line in which control and direction characters can be seen, and do nothing. */
export const visible = (text) => text.replace(INVISIBLE, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`);

/** The JSON of a value. The stack of a browser is not as deep as a producer's JSON may be. */
export function jsonOf(value, indent) {
  try { return JSON.stringify(value, null, indent) ?? ''; } catch { return '"nested too deep to be shown"'; }
}

/** JSON in one line with air in it; what is no JSON stays as it is. */
export function json(value) {
  let parsed = value;
  if (typeof value === 'string') try { parsed = JSON.parse(value); } catch { return value; }
  return jsonOf(parsed, 1).replace(/\n\s*/g, ' ');
}

/** What stands where a name should, whatever it is: a producer's object need not have a text. */
export const word = (value) => (typeof value === 'string' ? value : json(value)).slice(0, WORD_MAX);

/** JSON as people read it, control characters made visible. */
export const pretty = (value) => jsonOf(value, 2).split('\n').map(visible).join('\n');

export const count = (n) => n.toLocaleString('en');
/** A number and what it counts. */
export const many = (n, what) => `${count(n)} ${what}${n === 1 ? '' : 's'}`;
export const words = (name) => name.replaceAll('_', ' ');

export function bytes(n) {
  if (n < 1024) return `${n} B`;
  return n < 1024 ** 2 ? `${(n / 1024).toFixed(1)} KiB` : `${(n / 1024 ** 2).toFixed(1)} MiB`;
}

export function duration(ms) {
  const s = Math.max(0, Math.round(ms / 1000));
  if (s < 60) return `${s} s`;
  if (s < 600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  return s < 86400 ? `${Math.floor(s / 3600)} h ${Math.floor(s / 60) % 60} min` : `${Math.floor(s / 86400)} d`;
}

/** Time of day to the millisecond. */
export function clock(ms) {
  const at = new Date(ms), two = (n) => String(n).padStart(2, '0');
  return `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}.${String(at.getMilliseconds()).padStart(3, '0')}`;
}

/** Changes the content of a box that scrolls; who was at its end still is. */
export function keepAtEnd(box, change) {
  const atEnd = box.scrollHeight - box.scrollTop - box.clientHeight < 40;
  change();
  if (atEnd) box.scrollTop = box.scrollHeight;
}

/** Rows of a description list: names and texts. Those that are there already are kept. */
export function facts(list, pairs) {
  while (list.children.length > pairs.length) list.lastChild.remove();
  pairs.forEach(([name, text], i) => {
    const row = list.children[i] ?? list.appendChild(el('div', '', el('dt'), el('dd')));
    put(row.firstChild, name);
    put(row.lastChild, text);
  });
}
