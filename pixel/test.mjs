// Bundles the tests, with the module that is made of the server's table, and runs those that need no browser.
import { spawnSync } from "node:child_process";
import { readdirSync, rmSync } from "node:fs";
import { build } from "esbuild";
import { rules } from "./rules.mjs";

rmSync("build/test", { recursive: true, force: true });
await build({
  entryPoints: readdirSync("test").filter((name) => name.endsWith(".test.ts")).map((name) => `test/${name}`),
  bundle: true,
  platform: "node",
  format: "esm",
  outdir: "build/test",
  outExtension: { ".js": ".mjs" },
  plugins: [rules],
  logLevel: "warning",
});
process.exit(spawnSync("node", ["--test", "build/test/"], { stdio: "inherit" }).status ?? 1);
