// Starts the tested server, once for each set of options in a test file, and stops it after the file's tests.
//
//   SWITCHBOARD_SERVER   the command, split at white space (`path/to/conformance`)
//   INTEROP_ARGS         arguments of this run of the matrix (`--workers 4`, `--mount axum`)
//   INTEROP_REFERENCE    1 if the command is reference.mjs

import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { after } from "node:test";
import { within } from "./deadline.mjs";

export const isReference = process.env.INTEROP_REFERENCE === "1";

/**
 * An option for a test that the reference implementation does not pass. It says what the reference does
 * instead.
 */
export const referenceDeviates = (what) => ({ skip: isReference ? `the reference ${what}` : false });

/** Heartbeats that never happen within a test: for all tests that are not about heartbeats. */
export const CALM = { "ping-interval": 25_000, "ping-timeout": 20_000 };

/**
 * Heartbeats as in the protocols' public suites: for tests in which a client that does not answer is closed.
 */
export const BRISK = { "ping-interval": 300, "ping-timeout": 200 };

/**
 * Quick heartbeats with a very long time-out: for tests in which a client that answers stays, even on a busy
 * machine.
 */
export const PATIENT = { "ping-interval": 300, "ping-timeout": 15_000 };

/** Quick enough to wait for a time-out, and slow enough to serve a client that comes back. */
export const STEADY = { "ping-interval": 500, "ping-timeout": 2_000 };

const LINGER = 1_000;
const STDERR_KEPT = 8_000;

const words = (text) => (text ?? "").split(/\s+/).filter(Boolean);
const running = new Map();

/** The server with these options (names of its flags without dashes). Started if it does not run yet. */
export function serverWith(options = CALM) {
  const key = JSON.stringify(options);
  if (!running.has(key)) running.set(key, start(options));
  return running.get(key);
}

/** A server of its own with these options, for a test that kills it. It is stopped after the test. */
export async function ownServer(t, options) {
  const server = await start(options);
  t.after(() => server.stop());
  return server;
}

async function start(options) {
  const flags = Object.entries(options).flatMap(([name, value]) =>
    value === true ? [`--${name}`] : [`--${name}`, String(value)],
  );
  const server = new Server(flags);
  await within(server.listening, `server with ${flags.join(" ")}`, 30_000);
  return server;
}

class Server {
  #stopped = false;
  #stderr = "";

  constructor(flags) {
    const [program, ...args] = words(process.env.SWITCHBOARD_SERVER);
    if (!program) throw new Error("SWITCHBOARD_SERVER names no command; start the suites by interop/run");
    this.host = "127.0.0.1";
    // The system chooses the port, and the server prints it. If the test looked for a free port first,
    // another process could take it.
    const own = ["--addr", `${this.host}:0`, ...words(process.env.INTEROP_ARGS), ...flags];
    this.process = spawn(program, [...args, ...own], { stdio: ["ignore", "pipe", "pipe"] });
    this.process.stderr.setEncoding("utf8").on("data", (text) => {
      this.#stderr = (this.#stderr + text).slice(-STDERR_KEPT);
    });
    this.listening = new Promise((resolve, reject) => {
      this.process.once("error", reject);
      this.process.once("exit", (code, signal) => {
        const words = `server exited (${signal ?? code}); its last words: ${this.#stderr || "none"}`;
        if (!this.#stopped) console.error(words);
        reject(new Error(words));
      });
      createInterface({ input: this.process.stdout }).on("line", (line) => {
        const port = line.match(/listening on .*:(\d+)/)?.[1];
        if (port === undefined) return;
        this.port = Number(port);
        this.http = `http://${this.host}:${port}`;
        this.ws = `ws://${this.host}:${port}`;
        resolve();
      });
    });
  }

  get alive() {
    return this.process.exitCode === null && this.process.signalCode === null;
  }

  /** Resident memory in bytes: the present value, or the peak. */
  memory(field = "VmRSS") {
    const status = readFileSync(`/proc/${this.process.pid}/status`, "utf8");
    return Number(status.match(new RegExp(`${field}:\\s+(\\d+)`))[1]) * 1024;
  }

  stop() {
    this.#stopped = true;
    this.process.kill("SIGKILL");
  }
}

async function stopAll() {
  for (const server of await Promise.allSettled(running.values())) server.value?.stop();
  // The stop does not wait for connections that a client still holds open (a forgotten request, a pool of
  // kept connections).
  setTimeout(() => process.exit(), LINGER).unref();
}

after(stopAll);
