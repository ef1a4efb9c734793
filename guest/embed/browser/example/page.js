/** Shows what the worker folds. Open it as `example/?stream=chat-1&server=http://127.0.0.1:8787`. */

const $ = (id) => document.getElementById(id), asked = new URLSearchParams(location.search);
const worker = new Worker('follow.js', { type: 'module' });
const follow = () => worker.postMessage({ server: asked.get('server') ?? 'http://127.0.0.1:8787', stream: asked.get('stream') ?? 'chat-1' });

worker.onmessage = ({ data: { state, parts } }) => {
  if (state) $('state').textContent = state;
  if (!parts) return;
  const nodes = $('answer').children;
  while (nodes.length > parts.length) $('answer').lastChild.remove();
  while (nodes.length < parts.length) $('answer').append(document.createElement('p'));
  parts.forEach((part, at) => {
    const text = part.text ?? part.think ?? JSON.stringify(part.tool_call ?? part);
    if (nodes[at].textContent !== text) nodes[at].textContent = text;
  });
};
worker.onerror = (event) => { $('state').textContent = event.message; };
$('leave').onclick = () => worker.postMessage({ leave: true });
$('return').onclick = follow;
follow();
