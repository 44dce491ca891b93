// Bundles the tests, with the module that is made of the server's table, and runs them: `node test.mjs [browser]`.
import { spawnSync } from "node:child_process";
import { readdirSync, rmSync } from "node:fs";
import { build } from "esbuild";
import { rules } from "./rules.mjs";

// Those in a browser want ENGINE, EVOTHESIS_URL and EVOTHESIS_ADMIN_TOKEN; tests/journey/test_pixel.py says them.
const [kind = "", only = ""] = process.argv.slice(2);
const outdir = kind ? `build/test-${kind}-${process.env.ENGINE ?? "chrome"}` : "build/test";
rmSync(outdir, { recursive: true, force: true });
await build({
  entryPoints: readdirSync(`test/${kind}`)
    .filter((name) => name.endsWith(".test.ts") && name.startsWith(only))
    .map((name) => `test/${kind}/${name}`),
  bundle: true,
  platform: "node",
  format: "esm",
  packages: "external",
  outdir,
  outExtension: { ".js": ".mjs" },
  plugins: [rules],
  logLevel: "warning",
});
const reporter = kind ? ["--test-reporter=spec", "--test-concurrency=1"] : [];
process.exit(spawnSync("node", ["--test", ...reporter, outdir], { stdio: "inherit" }).status ?? 1);
