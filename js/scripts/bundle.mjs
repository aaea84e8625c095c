// Makes the one file that a page loads, with its source map, and prints its sizes.
import { build } from "esbuild";
import { brotliCompressSync, gzipSync } from "node:zlib";
import { readFileSync } from "node:fs";
import { createHash } from "node:crypto";

/** The bundle is at most this large with brotli. */
const MOST = 60 * 1024;

const outfile = "dist/poclog-verify.min.js";
await build({
  entryPoints: ["dist/index.js"],
  outfile,
  bundle: true,
  minify: true,
  format: "esm",
  platform: "browser",
  target: "es2022",
  sourcemap: true,
  logLevel: "warning",
});

// What the pages of a log and of a monitor load, which is in the repository: npm run page puts it there.
for (const name of ["page", "find"]) {
  await build({ entryPoints: [`dist/${name}.js`], outfile: `dist/${name}.min.js`, bundle: true, minify: true, format: "esm", platform: "browser", target: "es2022", logLevel: "warning" });
}

const file = readFileSync(outfile);
const brotli = brotliCompressSync(file).length;
const digest = createHash("sha256").update(file).digest("hex");
console.log(`${outfile}: ${file.length} bytes, ${gzipSync(file).length} with gzip, ${brotli} with brotli, sha256 ${digest}`);
if (brotli > MOST) {
  console.error(`over ${MOST} bytes with brotli`);
  process.exit(1);
}
