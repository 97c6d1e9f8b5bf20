// The command line the runner speaks to every server: `--addr HOST:PORT`, and what a workload adds.
export function argument(name) {
  const at = process.argv.indexOf(name);
  return at < 0 ? undefined : process.argv[at + 1];
}

export function flag(name) {
  return process.argv.includes(name);
}

export function address() {
  const [host, port] = (argument("--addr") ?? "127.0.0.1:0").split(":");
  return { host, port: Number(port) };
}
