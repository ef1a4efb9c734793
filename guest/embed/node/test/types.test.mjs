// What a program in TypeScript sees of the package: types that are whole where there are none of a browser, and that hold.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { test } from "./support/test.mjs";

const path = (name) => fileURLToPath(new URL(name, import.meta.url));

test("a program in TypeScript for Node alone compiles, with every declaration checked", () => {
  const options = "--noEmit --strict --exactOptionalPropertyTypes --module nodenext --target es2022 --lib es2022,esnext.disposable --types node".split(" ");
  const { status, stdout } = spawnSync(process.execPath, [path("../node_modules/typescript/bin/tsc"), ...options, path("support/consumer.mts")], { cwd: path(".."), encoding: "utf8", timeout: 150_000 });
  assert.equal(status, 0, stdout);
});
