// Builds the pixel and its optional parts, each one file that every page can load, and prints what they weigh.
import { readFileSync, writeFileSync } from "node:fs";
import { build } from "esbuild";
import { minify } from "terser";
import { rules } from "./rules.mjs";
import { weigh } from "./weigh.mjs";

const MOST_BROTLI = 7000;
const MOST_GZIP = 7800;
const FILES = { tracking: "tracking", consent: "consent_platforms", errors: "errors", vitals: "vitals" };

for (const [name, source] of Object.entries(FILES)) {
  const file = `dist/${name}.js`;
  await build({
    entryPoints: [`src/${source}.ts`],
    bundle: true,
    minify: true,
    format: "iife",
    target: "es2015",
    legalComments: "none",
    charset: "utf8",
    // A module is strict by itself, and says so in no bundle.
    tsconfigRaw: {},
    plugins: [rules],
    outfile: file,
    logLevel: "warning",
  });
  // What esbuild leaves on the table: a fortieth. `sequences` saves characters, but none once they are compressed.
  const { code } = await minify(readFileSync(file, "utf8"), {
    ecma: 2015,
    toplevel: true,
    compress: {
      passes: 5,
      keep_fargs: false,
      pure_getters: true,
      sequences: false,
      unsafe: true,
      unsafe_arrows: true,
      unsafe_methods: true,
    },
    format: { comments: false },
  });
  writeFileSync(file, code ?? "");
  const { raw, gzip, brotli } = weigh(readFileSync(file));
  console.log(`${file}: ${raw} B, gzip ${gzip} B, brotli ${brotli} B`);
  if (name === "tracking" && (brotli > MOST_BROTLI || gzip > MOST_GZIP)) {
    console.error(`${file} may weigh ${MOST_BROTLI} B brotli and ${MOST_GZIP} B gzip; every page of every site loads it`);
    process.exitCode = 1;
  }
}
