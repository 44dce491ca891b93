// The peers' trackers as npm has them, for the benchmarks that put the pixel beside them.
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";

const { build } = createRequire(new URL("../pixel/package.json", import.meta.url))("esbuild");

/**
 * Each with the file that it publishes ready, or null to bundle the module as a site would; how many of 35 behaviours it
 * was seen to have (page views, routes, clicks, forms, delivery at exit, privacy signals …) when all of them were tried
 * in one browser; and, where its load is timed, the call that begins with all that it captures by itself.
 */
const PEERS = [
  {
    name: "@plausible-analytics/tracker", version: "0.4.6", file: null, checks: 17,
    begin: 'peer.init({ domain: "a.example", endpoint: "/beacon", captureOnLocalhost: true, outboundLinks: true, fileDownloads: true, formSubmissions: true })',
  },
  { name: "ahoy.js", version: "0.4.5", file: null, checks: 13 },
  { name: "@openpanel/web", version: "1.4.1", file: null, checks: 9 },
  {
    name: "@amplitude/analytics-browser", version: "2.48.1", file: "lib/scripts/amplitude-min.js", checks: 19,
    begin: 'amplitude.init("key", { serverUrl: location.origin + "/beacon", autocapture: true, fetchRemoteConfig: false })',
  },
  { name: "mixpanel-browser", version: "2.83.0", file: "dist/mixpanel.min.js", checks: 24 },
  { name: "countly-sdk-web", version: "26.1.1", file: "lib/countly.min.js", checks: 13 },
  {
    name: "posthog-js", version: "1.449.2", file: "dist/array.no-external.js", checks: 25,
    begin: 'posthog.init("key", { api_host: location.origin, defaults: "2026-05-30" })',
  },
];

/** Fetch the peers that `wanted` chooses and hand them over, `{ name, text, checks, begin }` each. */
export async function peers(wanted = () => true) {
  const folder = mkdtempSync(join(tmpdir(), "peers-"));
  try {
    const npm = (...words) => execFileSync("npm", [...words, "--loglevel=error"], { cwd: folder, stdio: ["ignore", "pipe", "inherit"], encoding: "utf8" });
    const chosen = PEERS.filter(wanted);
    writeFileSync(join(folder, "package.json"), "{}");
    npm("install", "--no-audit", "--no-fund", "--ignore-scripts", ...chosen.filter(({ file }) => !file).map(({ name, version }) => `${name}@${version}`));
    const found = [];
    for (const { name, version, file, ...rest } of chosen) {
      const text = file ? published(folder, npm("pack", `${name}@${version}`).trim(), file) : await bundled(folder, name);
      found.push({ name: `${name} ${version}`, text, ...rest });
    }
    return found;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** A file that a package brings ready; nothing that it depends on is needed. */
function published(folder, archive, file) {
  return execFileSync("tar", ["-xzOf", archive, `package/${file}`], { cwd: folder, maxBuffer: 1e8 });
}

async function bundled(folder, name) {
  const bundle = await build({
    stdin: { contents: `import * as all from ${JSON.stringify(name)}; window.peer = all;`, resolveDir: folder },
    bundle: true, minify: true, format: "iife", target: "es2017", write: false, legalComments: "none", logLevel: "error",
    // A recorder of sessions, which is loaded when it is asked for.
    external: ["rrweb"],
  });
  return Buffer.from(bundle.outputFiles[0].contents);
}
