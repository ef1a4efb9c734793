// The example, as its README says: ask, leave, come back, stop.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { follow, readAll } from "./support/index.mjs";

test("the example answers, resumes and stops", async () => {
  const program = fileURLToPath(new URL("../example/server.mjs", import.meta.url));
  const child = spawn(process.execPath, [program], { env: { ...process.env, PORT: "0" }, stdio: ["ignore", "pipe", "inherit"] });
  try {
    const [url] = await once(createInterface(child.stdout), "line");
    assert.ok((await (await fetch(url)).text()).includes("EventSource"));
    assert.equal((await fetch(`${url}chats/1`, { method: "POST", body: "why?" })).status, 202);
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
    child.kill("SIGKILL");
    await once(child, "exit");
  }
});
