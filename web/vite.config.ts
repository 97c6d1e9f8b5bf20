// Builds the pages into `dist/`, which the server binary embeds. Nothing is inlined, so that the pages run under
// `script-src 'self'; style-src 'self'`, and names under `assets/` carry a content hash, so that they may be cached for ever.
import { copyFile, mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { brotliCompress, gzip } from "node:zlib";
import { defineConfig, type Plugin } from "vite";

/** Lays two compressed forms beside a file, each as small as it gets. */
async function compress(path: string): Promise<void> {
  const content = await readFile(path);
  await writeFile(`${path}.br`, await promisify(brotliCompress)(content));
  await writeFile(`${path}.gz`, await promisify(gzip)(content, { level: 9 }));
}

/**
 * Lays socket.io-client's own browser bundles beside the pages, compressed too; the server answers `/socket.io/*.js` with
 * them.
 */
function socketIoBundles(): Plugin {
  let target = "";
  return {
    name: "socket.io-bundles",
    apply: "build",
    configResolved(config) {
      target = join(config.root, config.build.outDir, "socket.io");
    },
    async closeBundle() {
      const entry = createRequire(import.meta.url).resolve("socket.io-client/dist/socket.io.js");
      const source = dirname(entry);
      await mkdir(target, { recursive: true });
      const names = await readdir(source);
      await Promise.all(
        names.map(async (name) => {
          await copyFile(join(source, name), join(target, name));
          await compress(join(target, name));
        }),
      );
    },
  };
}

export default defineConfig({
  build: {
    target: "es2022",
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
  plugins: [socketIoBundles()],
  server: {
    proxy: { "/socket.io": { target: "http://127.0.0.1:3000", ws: true } },
  },
});
