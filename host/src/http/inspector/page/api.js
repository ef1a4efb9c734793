/** The server: requests with this tab's token, what a refusal means, and the frames of a live stream. */

const KEY = 'rejoin.token';

/** Kept for this tab alone, and sent in a header alone: never in an address, never on the page. */
export const token = {
  get value() { return sessionStorage.getItem(KEY) ?? ''; },
  set value(text) { if (text) sessionStorage.setItem(KEY, text); else sessionStorage.removeItem(KEY); },
};

/** What a header can carry. */
export const isToken = (text) => /^[\x21-\x7e]*$/.test(text);

export const streamPath = (id) => `/v1/streams/${encodeURIComponent(id)}`;

/** A request that was answered with an error, or not at all (status 0). */
export class Refused extends Error {
  constructor(status, message, code = '', retryAfterMs = 0) { super(message); Object.assign(this, { status, code, retryAfterMs }); }
}

/** The answer, whatever its status. Throws `Refused` when there is none. */
export async function ask(path, { headers, ...init } = {}) {
  const bearer = token.value && { Authorization: `Bearer ${token.value}` };
  try {
    return await fetch(path, { cache: 'no-store', ...init, headers: { ...headers, ...bearer } });
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw new Refused(0, 'The server does not answer.');
  }
}

/** The JSON of a good answer; null where it has no body. Throws `Refused` otherwise. */
export async function call(path, init) {
  const response = await ask(path, init);
  if (!response.ok) throw await refusal(response);
  return response.status === 204 ? null : response.json();
}

export const post = (path, body) =>
  call(path, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) });

/** What an answer with an error status says to whoever sits in front of the page. */
export async function refusal(response) {
  const body = await response.json().catch(() => ({})), { status } = response;
  const detail = String(body.detail ?? body.title ?? response.statusText), code = String(body.code ?? '');
  const seconds = Number(response.headers.get('Retry-After')) || 0;
  const message = {
    401: token.value
      ? `401: the server does not accept this token; it may have expired. ${detail}`
      : '401: this server wants an access token. Press “Access token” and paste one.',
    403: `403: the token does not allow this. ${detail}`,
    404: `404: no such stream. It is unknown, forgotten after its retention, or another user's.`,
    429: `429: too much at a time. ${detail}${seconds ? ` Next try in ${seconds} s.` : ''}`,
  }[status] ?? `${status} ${code}: ${detail}`;
  return new Refused(status, message, code, seconds * 1000);
}

/** Yields the frames of an SSE body: `{ event, id, data, retry }`. A frame that was cut in the middle is never yielded. */
export async function* frames(body) {
  const reader = body.getReader(), decoder = new TextDecoder();
  let rest = '', isHalf = false, frame = { data: [] }; // a last \r may be half of \r\n
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const text = decoder.decode(value, { stream: true });
    // A long line comes in many chunks, and is looked at once: `rest` itself is not touched until its end is there.
    if (!isHalf && !/[\r\n]/.test(text)) {
      rest += text;
      continue;
    }
    const lines = (rest + text).split(/\r\n|\n|\r(?!$)/);
    rest = lines.pop();
    isHalf = rest.endsWith('\r');
    for (const line of lines) {
      const [, field, content] = /^([^:]*):? ?(.*)$/s.exec(line); // a comment has an empty field name
      if (field === 'data') frame.data.push(content);
      else if (field) frame[field] = content;
      else if (line === '') {
        yield { ...frame, data: frame.data.join('\n') };
        frame = { data: [] };
      }
    }
  }
}
