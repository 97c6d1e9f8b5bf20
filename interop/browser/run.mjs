// Starts a server, runs the tests against it, stops it, and prints a last line with the counts.
//
//   node run.mjs --server COMMAND [--suite PART-OF-FILE-NAME] [--test PATTERN]
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync } from "node:fs";
import { createInterface } from "node:readline";
import { run } from "node:test";
import { spec } from "node:test/reporters";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const START = 10_000;
const STOP = 10_000;

const { values: option } = parseArgs({ options: { server: { type: "string" }, test: { type: "string" }, suite: { type: "string", default: "" } } });

const listen = ["--address", "127.0.0.1", "--port", "0", "--workers", "4"];
// Over TLS, on the same port, the browser speaks HTTP/2.
const more = ["--tls-self-signed", "--tls-plain-too", "--metrics", "--deflate", "--http-compression", "0"];
// The user of the admin page, with the password `changeit`.
const admin = ["--admin-user", "ada", "--admin-password-hash", "$2b$04$GQlV3JNqSxuxF28Uhh0.rueJby7L3eERrWXhUoo3jBG.N.6p0c7Oy"];
const heartbeats = ["--ping-interval", "1000", "--ping-timeout", "1000"];
const server = spawn(option.server, [...listen, ...more, ...admin, ...heartbeats, "--log-level", "warn"], { stdio: ["ignore", "pipe", "inherit"] });
const ended = once(server, "exit");
process.on("exit", () => server.kill("SIGKILL"));

/** The address in the line `listening on HOST:PORT`. */
async function address() {
  const lines = createInterface({ input: server.stdout });
  const timer = setTimeout(() => lines.close(), START);
  for await (const line of lines) {
    const found = /^listening on (\S+)$/.exec(line);
    if (found) {
      clearTimeout(timer);
      return found[1];
    }
  }
  throw new Error("the server did not say that it listens");
}

process.env.SWITCHBOARD_URL = `http://${await address()}`;
const counts = { passed: 0, failed: 0 };
const here = fileURLToPath(new URL(".", import.meta.url));
const files = readdirSync(here).filter((name) => name.endsWith(".test.mjs") && name.includes(option.suite)).map((name) => here + name);
// A file's process exits when its tests are done. Without that, Node 20 sometimes waits forever at its end for
// the handles of connections that were reset.
const tests = run({ files, concurrency: 1, forceExit: true, testNamePatterns: option.test ? [option.test] : undefined });
// The test runner counts a file as a test around its tests. The file itself fails only if it could not be
// run.
const isFile = (data) => data.name.endsWith(".test.mjs");
tests.on("test:pass", (data) => (counts.passed += isFile(data) ? 0 : 1));
tests.on("test:fail", (data) => (counts.failed += isFile(data) && counts.failed > 0 ? 0 : 1));
tests.compose(spec).pipe(process.stdout);
await once(tests, "end");

server.kill("SIGTERM");
const timer = setTimeout(() => server.kill("SIGKILL"), STOP);
const [code, signal] = await ended;
clearTimeout(timer);
if (code !== 0) {
  console.log(`the server ended with ${signal ?? `status ${code}`} when it was told to stop`);
  counts.failed += 1;
}
if (counts.passed + counts.failed === 0) counts.failed = 1;
console.log(`browser: ${counts.passed} passed, ${counts.failed} failed`);
process.exit(counts.failed === 0 ? 0 : 1);
