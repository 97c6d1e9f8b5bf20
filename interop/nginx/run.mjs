// Starts two stand-alone servers, one of which trusts proxies, and nginx in front of them. Runs the tests
// here, and prints a last line with the counts.
import { spawn } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { createInterface } from "node:readline";
import { run } from "node:test";
import { spec } from "node:test/reporters";
import { fileURLToPath } from "node:url";
import { until, within } from "../node/lib/deadline.mjs";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const folder = process.env.NGINX_FOLDER;
const children = [];

function start(command, args, stdout) {
  const child = spawn(command, args, { stdio: ["ignore", stdout, "inherit"] });
  child.once("error", (error) => console.error(`${command}: ${error.message}`));
  children.push(child);
  return child;
}

/** The address of a server that has just been started. */
function server(...options) {
  const args = ["--address", "127.0.0.1", "--port", "0", "--workers", "4", "--log-level", "warn", ...options];
  const lines = createInterface({ input: start(process.env.SWITCHBOARD_BIN, args, "pipe").stdout });
  return within(
    new Promise((resolve) => lines.on("line", (line) => line.startsWith("listening on ") && resolve(line.slice("listening on ".length)))),
    "server",
    30_000,
  );
}

const reachable = (path) =>
  new Promise((resolve) => {
    const socket = connect(path, () => resolve(socket.destroy() && true));
    socket.once("error", () => resolve(false));
  });

/** A free port in front of a socket of nginx, because nginx cannot choose a free port itself. */
async function front(name) {
  const path = `${folder}/${name}.sock`;
  await until(() => reachable(path), `nginx at ${name}.sock`, 30_000);
  const listener = createServer((incoming) => {
    const outgoing = connect(path);
    incoming.pipe(outgoing).pipe(incoming);
    for (const [one, other] of [[incoming, outgoing], [outgoing, incoming]]) {
      one.on("error", () => {}).on("close", () => other.destroy());
    }
  });
  await within(new Promise((resolve) => listener.listen(0, "127.0.0.1", resolve)), "port");
  return `127.0.0.1:${listener.address().port}`;
}

const counts = { passed: 0, failed: 0 };
try {
  const [trusting, wary] = await Promise.all([server("--trusted-proxies", "loopback"), server()]);
  const config = readFileSync(here("nginx.conf"), "utf8").replaceAll("FOLDER", folder).replaceAll("TRUSTING", trusting).replaceAll("WARY", wary);
  writeFileSync(`${folder}/nginx.conf`, config);
  start("nginx", ["-p", folder, "-c", `${folder}/nginx.conf`, "-e", "stderr"], "inherit");
  const hosts = {};
  for (const name of ["host", "forwarded", "untrusted", "bare"]) hosts[name] = await front(name);
  process.env.NGINX_HOSTS = JSON.stringify(hosts);
  const tests = run({ files: [here("proxy.test.mjs"), here("browser.test.mjs")], timeout: 120_000 });
  // A failure outside of every test belongs to the file itself.
  tests.on("test:pass", (event) => (counts.passed += event.details.type === "suite" || event.nesting === 0 ? 0 : 1));
  tests.on("test:fail", (event) => (counts.failed += event.details.type === "suite" ? 0 : 1));
  tests.compose(spec).pipe(process.stdout, { end: false });
  await new Promise((resolve) => tests.once("end", resolve));
} catch (error) {
  console.log(`FAILED: ${error.message}`);
  counts.failed += 1;
} finally {
  for (const child of children) child.kill("SIGTERM");
}
if (!counts.passed) counts.failed += 1;
process.exitCode = counts.failed ? 1 : 0;
process.on("exit", () => {
  for (const child of children) child.kill("SIGKILL");
  console.log(`nginx: ${counts.passed} passed, ${counts.failed} failed`);
});
await within(Promise.all(children.map((child) => child.exitCode ?? child.signalCode ?? new Promise((resolve) => child.once("exit", resolve)))), "end", 10_000)
  .catch(() => {})
  .finally(() => process.exit());
