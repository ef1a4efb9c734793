import { once } from "node:events";
import { createInterface } from "node:readline";

/** `count` records of one message, one JSON text each. */
export function answer(count) {
  const step = { event: "on_run_step", data: { id: "step-1", index: 0, type: "message_creation", stepDetails: { type: "message_creation", message_creation: { message_id: "m" } } } };
  const delta = (text) => ({ event: "on_message_delta", data: { id: "step-1", delta: { content: [{ type: "text", text }] } } });
  return [step, ...Array.from({ length: count - 1 }, (_, at) => delta(`w${at} `))].slice(0, count).map((record) => JSON.stringify(record));
}

/** All frames up to the end of the response. */
export async function readAll(url, lastEventId) {
  const frames = [];
  for await (const frame of follow(url, lastEventId)) frames.push(frame);
  return frames;
}

/** Frames as they come. */
export async function* follow(url, lastEventId, signal) {
  const headers = { accept: "text/event-stream", ...(lastEventId && { "last-event-id": lastEventId }) };
  const response = await fetch(url, { headers, signal });
  if (response.status !== 200) throw new Error(`${response.status} ${await response.text()}`);
  let text = "";
  const decoder = new TextDecoder();
  for await (const chunk of response.body) {
    text += decoder.decode(chunk, { stream: true });
    for (let end; (end = text.indexOf("\n\n")) >= 0; text = text.slice(end + 2)) {
      const frame = {};
      for (const line of text.slice(0, end).split("\n")) {
        const [, name, value] = /^(\w+): ?(.*)$/.exec(line) ?? [];
        if (name && name !== "retry") frame[name] = value;
      }
      if (frame.data) yield frame;
    }
  }
}

/** Waits until it is so. */
export async function until(what, isSo) {
  for (const end = Date.now() + 60_000; !(await isSo()); ) {
    if (Date.now() > end) throw new Error(`not within a minute: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** The first line that a process prints, its address mostly. Errors: it has ended before. */
export async function firstLine(child) {
  const [line, gone] = [once(createInterface(child.stdout), "line"), once(child, "exit")];
  const ended = gone.then(([code, signal]) => {
    throw new Error(`it has ended (${code ?? signal}) before it said anything`);
  });
  line.catch(() => {});
  ended.catch(() => {});
  return (await Promise.race([line, ended]))[0];
}
