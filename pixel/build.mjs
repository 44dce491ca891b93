// Builds the pixel and its optional parts, each one file that every page can load, and prints what they weigh.
import { createHash } from "node:crypto";
import { mkdirSync, writeFileSync } from "node:fs";
import { build } from "esbuild";
import { minify } from "terser";
import { rules } from "./rules.mjs";
import { brotli, gzip, weigh } from "./weigh.mjs";

const MOST_BROTLI = 7000;
const MOST_GZIP = 7800;
/** Compiled as a whole, beside the page's thread where it can be, it takes a quarter less of it: v8.dev/blog/explicit-compile-hints. */
const EAGER = "//# allFunctionsCalledOnLoad";
const FILES = { tracking: "tracking", consent: "consent_platforms", domains: "domains", errors: "errors", vitals: "vitals" };

/** Ways to say the same, of which now one and now another compresses best: by a hundredth, which is a feature's worth. */
const WAYS = [{}, { hoist_funs: true }, { conditionals: false }, { booleans: false }, { inline: 1 }, { hoist_funs: true, inline: 1 }, { hoist_funs: true, conditionals: false }];

/** What a page needs that wants this very file and no other: its name with the version, and its hash (W3C SRI). */
const manifest = {};

mkdirSync("dist", { recursive: true });
for (const [name, source] of Object.entries(FILES)) {
  const ways = [];
  for (const minifyIdentifiers of [true, false]) {
    const bundled = await bundle(source, minifyIdentifiers);
    for (const way of WAYS) {
      const text = await shorten(bundled, way, name === "tracking" ? EAGER : "");
      ways.push({ text, size: weigh(text) });
    }
  }
  const [{ text, size }] = ways.sort((one, other) => one.size.brotli - other.size.brotli);
  publish(`${name}.js`, text);
  console.log(`dist/${name}.js: ${size.raw} B, gzip ${size.gzip} B, brotli ${size.brotli} B`);
  if (name === "tracking" && (size.brotli > MOST_BROTLI || size.gzip > MOST_GZIP)) {
    console.error(`it may weigh ${MOST_BROTLI} B brotli and ${MOST_GZIP} B gzip; every page of every site loads it`);
    process.exitCode = 1;
  }
}

writeFileSync("dist/manifest.json", `${JSON.stringify(manifest, null, 2)}\n`);

/** Write a file, and beside it what servers send to those who take it compressed. */
function publish(name, text) {
  writeFileSync(`dist/${name}`, text);
  writeFileSync(`dist/${name}.br`, brotli(text));
  writeFileSync(`dist/${name}.gz`, gzip(text));
  const version = createHash("sha256").update(text).digest("hex").slice(0, 8);
  manifest[name] = {
    versioned: name.replace(".js", `.${version}.js`),
    integrity: `sha384-${createHash("sha384").update(text).digest("base64")}`,
  };
}

/** A part and all that it imports, in one file. */
async function bundle(source, minifyIdentifiers) {
  const { outputFiles } = await build({
    entryPoints: [`src/${source}.ts`],
    bundle: true,
    minifySyntax: true,
    minifyWhitespace: true,
    minifyIdentifiers,
    format: "iife",
    target: "es2015",
    legalComments: "none",
    charset: "utf8",
    // A module is strict by itself, and says so in no bundle.
    tsconfigRaw: {},
    plugins: [rules],
    write: false,
    logLevel: "warning",
  });
  return outputFiles[0].text;
}

/** What esbuild leaves on the table: a fortieth. `sequences` saves characters, but none once they are compressed. */
async function shorten(text, way, preamble) {
  const { code } = await minify(text, {
    ecma: 2015,
    toplevel: true,
    compress: {
      passes: 2,
      keep_fargs: false,
      pure_getters: true,
      sequences: false,
      unsafe: true,
      unsafe_arrows: true,
      unsafe_methods: true,
      ...way,
    },
    format: { comments: false, preamble },
  });
  return code ?? "";
}
