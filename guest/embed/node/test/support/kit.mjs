import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const here = fileURLToPath(new URL("../..", import.meta.url));

/** The kit as it is built, around another component of `target/`: in a folder of its own, which `remove` removes. */
export function kitOf(component) {
  const folder = mkdtempSync(join(tmpdir(), "rejoin-kit-"));
  cpSync(join(here, "dist"), join(folder, "dist"), { recursive: true });
  writeFileSync(join(folder, "package.json"), '{"type":"module"}');
  const file = join(here, "../../../target", component);
  const made = spawnSync(process.execPath, [join(here, "scripts/generate.mjs"), join(folder, "generated")], { env: { ...process.env, REJOIN_COMPONENT: file }, encoding: "utf8", timeout: 50_000 });
  if (made.status !== 0) throw new Error(`cannot transpile ${file} (cargo xtask test makes it): ${made.stderr}`);
  return {
    load: () => import(pathToFileURL(join(folder, "dist/index.js")).href),
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}
