// The command line the runner speaks to every server: `--addr HOST:PORT`.
export function address() {
  const at = process.argv.indexOf("--addr");
  const [host, port] = (at < 0 ? "127.0.0.1:0" : process.argv[at + 1]).split(":");
  return { host, port: Number(port) };
}
