// Prints what the pixel weighs beside its peers, all of them minified and compressed in the same way.
//
//     node benchmarks/pixel_size.mjs
//
// The peers come from npm into a temporary folder. What they publish minified is weighed as it is; a module is bundled
// first, as a site would. "Checks" is how many of 35 behaviours each was seen to have (page views, routes, clicks,
// forms, delivery at exit, privacy signals …) when all of them were tried in one browser.
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { weigh } from "../pixel/weigh.mjs";

const PIXEL = new URL("../pixel/", import.meta.url);
const { build } = createRequire(new URL("package.json", PIXEL))("esbuild");

/** Package, version, its file or null to bundle the module, and the checks of 35 that it passed. */
const PEERS = [
  ["@plausible-analytics/tracker", "0.4.6", null, 17],
  ["ahoy.js", "0.4.5", null, 13],
  ["@openpanel/web", "1.4.1", null, 9],
  ["@amplitude/analytics-browser", "2.48.1", "lib/scripts/amplitude-min.js", 19],
  ["mixpanel-browser", "2.83.0", "dist/mixpanel.min.js", 24],
  ["countly-sdk-web", "26.1.1", "lib/countly.min.js", 13],
  ["posthog-js", "1.449.2", "dist/array.no-external.js", 25],
];

const folder = mkdtempSync(join(tmpdir(), "peers-"));
try {
  writeFileSync(join(folder, "package.json"), "{}");
  const named = (peers) => peers.map(([name, version]) => `${name}@${version}`);
  const npm = (...words) => execFileSync("npm", [...words, "--loglevel=error"], { cwd: folder, stdio: ["ignore", "pipe", "inherit"], encoding: "utf8" });
  npm("install", "--no-audit", "--no-fund", "--ignore-scripts", ...named(PEERS.filter(([, , file]) => !file)));
  console.log("tracker".padEnd(42), "raw".padStart(8), "gzip".padStart(8), "brotli".padStart(8), "checks of 35".padStart(14), "of our weight".padStart(14));
  const own = weigh(readFileSync(new URL("dist/tracking.js", PIXEL)));
  show("evothesis tracking.js", own, "", own);
  const parts = ["errors", "vitals"].map((name) => weigh(readFileSync(new URL(`dist/${name}.js`, PIXEL))));
  const all = (size) => parts.reduce((sum, part) => sum + part[size], own[size]);
  show("evothesis with errors.js and vitals.js", { raw: all("raw"), gzip: all("gzip"), brotli: all("brotli") }, "", own);
  for (const peer of PEERS) {
    const [name, version, file, checks] = peer;
    show(`${name} ${version}`, weigh(file ? published(npm("pack", ...named([peer])).trim(), file) : await bundled(name)), checks, own);
  }
} finally {
  rmSync(folder, { recursive: true });
}

/** A file that a package brings ready; nothing that it depends on is needed. */
function published(archive, file) {
  return execFileSync("tar", ["-xzOf", archive, `package/${file}`], { cwd: folder, maxBuffer: 1e8 });
}

async function bundled(name) {
  const bundle = await build({
    stdin: { contents: `export * from ${JSON.stringify(name)}; import * as all from ${JSON.stringify(name)}; window.peer = all;`, resolveDir: folder },
    bundle: true, minify: true, format: "iife", target: "es2017", write: false, legalComments: "none", logLevel: "error",
    // A recorder of sessions, which is loaded when it is asked for.
    external: ["rrweb"],
  });
  return Buffer.from(bundle.outputFiles[0].contents);
}

function show(name, { raw, gzip, brotli }, checks, own) {
  console.log(name.padEnd(42), ...[raw, gzip, brotli].map((size) => String(size).padStart(8)), String(checks).padStart(14), `${(brotli / own.brotli).toFixed(2)} x`.padStart(14));
}
