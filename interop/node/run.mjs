// Runs the suites against the server in the environment (see lib/server.mjs; interop/run sets it), and prints
// a last line with the counts.
//
//   node run.mjs [--folder FOLDER] [--suite PART-OF-FILE-NAME] [--test PATTERN]
//
// FOLDER has the suites, and its name is that of the run; by default that is `suites` here.

import { readdirSync } from "node:fs";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { run } from "node:test";
import { spec } from "node:test/reporters";

const FILES_AT_ONCE = 3;
/** Milliseconds for one file. Every wait has its own deadline; this one is for unforeseen cases. */
const FILE_LIMIT = 180_000;

const { values: option } = parseArgs({
  options: {
    folder: { type: "string" },
    suite: { type: "string", default: "" },
    test: { type: "string" },
  },
});

const here = (path) => fileURLToPath(new URL(path, import.meta.url));

const folder = option.folder ?? here("suites");

const files = readdirSync(folder)
  .filter((name) => name.endsWith(".test.mjs") && name.includes(option.suite))
  .map((name) => join(folder, name));
if (!files.length) throw new Error(`no suite has "${option.suite}" in its name`);

const count = { passed: 0, failed: 0, skipped: 0 };
const isTest = (event) => event.details?.type !== "suite";

const tests = run({ files, concurrency: FILES_AT_ONCE, timeout: FILE_LIMIT, testNamePatterns: option.test ? [option.test] : undefined });
tests.on("test:pass", (event) => {
  if (isTest(event)) count[event.skip === undefined ? "passed" : "skipped"] += 1;
});
tests.on("test:fail", (event) => {
  if (isTest(event)) count.failed += 1;
});
tests.on("end", () => {
  process.exitCode = count.failed || !count.passed ? 1 : 0;
});

const what = process.env.INTEROP_REFERENCE ? "reference" : process.env.INTEROP_ARGS || "defaults";
const started = performance.now();
tests.compose(new spec()).pipe(process.stdout, { end: false });
process.on("exit", () => {
  const skipped = count.skipped ? `, ${count.skipped} skipped` : "";
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  console.log(`${option.folder ? basename(folder) : "node"} (${what}, ${seconds} s): ${count.passed} passed, ${count.failed} failed${skipped}`);
});
