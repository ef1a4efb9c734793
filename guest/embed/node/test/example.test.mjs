// The example, as its README says: ask, leave, come back, stop.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { firstLine, follow, readAll } from "./support/index.mjs";
import { test } from "./support/test.mjs";

test("the example answers, resumes and stops", async () => {
  const program = fileURLToPath(new URL("../example/server.mjs", import.meta.url));
  const child = spawn(process.execPath, [program], { env: { ...process.env, PORT: "0" }, stdio: ["ignore", "pipe", "inherit"] });
  try {
    const url = await firstLine(child);
    assert.ok((await (await fetch(url)).text()).includes("EventSource"));
    // The answer repeats the question: it is not over before it is stopped, however slow this machine is.
    assert.equal((await fetch(`${url}chats/1`, { method: "POST", body: "why? ".repeat(1900) })).status, 202);
    const leaving = follow(`${url}chats/1`);
    const [, first] = [await leaving.next(), await leaving.next()];
    await leaving.return();
    const reader = follow(`${url}chats/1`, first.value.id);
    const second = await reader.next();
    assert.equal(Number(second.value.id.split("-")[1]), Number(first.value.id.split("-")[1]) + 1);
    const text = await (await fetch(`${url}chats/1`, { method: "DELETE" })).text();
    assert.match(text, /^You asked:/);
    const all = await readAll(`${url}chats/1`);
    assert.equal(JSON.parse(all.at(-1).data).aborted, true);
    assert.equal((await fetch(`${url}chats/1`, { method: "DELETE" })).status, 409);
    await reader.return();
  } finally {
    const gone = once(child, "exit");
    if (child.kill("SIGKILL")) await gone;
  }
});
