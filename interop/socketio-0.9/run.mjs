// Runs the tests of this folder against the server in the environment (see ../node/lib/server.mjs), and prints a last
// line with the counts.
//
//   node run.mjs [--test PATTERN]
import { readdirSync } from "node:fs";
import { run } from "node:test";
import { spec } from "node:test/reporters";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const { values: option } = parseArgs({ options: { test: { type: "string" } } });
const here = fileURLToPath(new URL(".", import.meta.url));
const files = readdirSync(here).filter((name) => name.endsWith(".test.mjs")).map((name) => here + name);
const count = { passed: 0, failed: 0 };
const isTest = (event) => event.details?.type !== "suite" && !event.name.endsWith(".test.mjs");

const tests = run({ files, concurrency: 1, forceExit: true, testNamePatterns: option.test ? [option.test] : undefined });
tests.on("test:pass", (event) => (count.passed += isTest(event) && event.skip === undefined ? 1 : 0));
tests.on("test:fail", (event) => (count.failed += event.details?.type === "suite" ? 0 : 1));
tests.compose(new spec()).pipe(process.stdout, { end: false });
tests.on("end", () => {
  process.exitCode = count.failed || !count.passed ? 1 : 0;
});
process.on("exit", () => {
  console.log(`socketio-0.9 (${process.env.INTEROP_ARGS || "defaults"}): ${count.passed} passed, ${count.failed} failed`);
});
