// Prints what the pixel weighs beside its peers, all of them minified and compressed in the same way.
//
//     node benchmarks/pixel_size.mjs
//
// What peers publish minified is weighed as it is; a module is bundled first, as a site would. The pixel's own checks
// are pixel/test/browser/checks.test.ts.
import { readFileSync } from "node:fs";
import { weigh } from "../pixel/weigh.mjs";
import { peers } from "./peers.mjs";

const part = (name) => weigh(readFileSync(new URL(`../pixel/dist/${name}.js`, import.meta.url)));
const own = part("tracking");
const parts = [own, part("errors"), part("vitals")];
const whole = Object.fromEntries(Object.keys(own).map((size) => [size, parts.reduce((sum, one) => sum + one[size], 0)]));

console.log("tracker".padEnd(42), "raw".padStart(8), "gzip".padStart(8), "brotli".padStart(8), "checks of 35".padStart(14), "of our weight".padStart(14));
show("evothesis tracking.js", own, "33");
show("evothesis with errors.js and vitals.js", whole, "35");
for (const { name, text, checks } of await peers()) show(name, weigh(text), checks);

function show(name, { raw, gzip, brotli }, checks) {
  console.log(name.padEnd(42), ...[raw, gzip, brotli].map((size) => String(size).padStart(8)), String(checks).padStart(14), `${(brotli / own.brotli).toFixed(2)} x`.padStart(14));
}
