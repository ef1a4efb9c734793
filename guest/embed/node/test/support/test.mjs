// Tests that end: one that hangs fails by its name, and a file in which something stays open fails, too.
import * as runner from "node:test";

/** Far more than any takes on a machine that is busy with others. */
const TEST_MAX_MS = 180_000;
const HOOK_MAX_MS = 60_000;
const LEFT_OPEN_MAX_MS = 30_000;

/** `test(name, work)`. */
export const test = (name, work) => runner.test(name, { timeout: TEST_MAX_MS }, work);
export const before = (work) => runner.before(work, { timeout: HOOK_MAX_MS });
export const after = (work) => runner.after(work, { timeout: HOOK_MAX_MS });

runner.after(() => {
  const late = () => {
    console.error(`the tests are over, and this is open still: ${process.getActiveResourcesInfo().join(" ")}`);
    process.exit(1);
  };
  setTimeout(late, LEFT_OPEN_MAX_MS).unref();
});
