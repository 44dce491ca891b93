// Builds src/tracking.ts into one file that every page can load, and prints what it weighs.
import { readFileSync } from "node:fs";
import { brotliCompressSync, gzipSync } from "node:zlib";
import { build } from "esbuild";

const outfile = "dist/tracking.js";

await build({
  entryPoints: ["src/tracking.ts"],
  bundle: true,
  minify: true,
  format: "iife",
  target: "es2015",
  legalComments: "none",
  outfile,
  logLevel: "warning",
});

const file = readFileSync(outfile);
console.log(
  `${outfile}: ${file.length} B, gzip ${gzipSync(file, { level: 9 }).length} B, brotli ${brotliCompressSync(file).length} B`,
);
