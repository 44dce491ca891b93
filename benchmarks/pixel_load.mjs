// Measures what the pixel costs a page while it loads, on a processor slowed down four times.
//
//     node benchmarks/pixel_load.mjs [LOADS]
//
// The same page is opened with the pixel and without it, in turns; medians of the main thread's time and of the scripts'
// time, their difference, and the total blocking time (what tasks take over 50 ms). "Evaluation" is the script alone.
import http from "node:http";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const PIXEL = new URL("../pixel/", import.meta.url);
const puppeteer = createRequire(new URL("package.json", PIXEL))("puppeteer-core");
const LOADS = Number(process.argv[2] ?? 20);
const SLOWER = 4;
const SETTLED_MS = 1500;

const text = "<p>Some text of a page that has a little to say.</p>".repeat(200);
const page = (script) => `<!doctype html><html><head><title>A page</title>${script}</head><body>${text}<form><input name="q"></form></body></html>`;
const FILES = {
  "/without": ["text/html", page("")],
  "/with": ["text/html", page('<script src="/js/tracking.js"></script>')],
  "/js/tracking.js": ["text/javascript", readFileSync(new URL("dist/tracking.js", PIXEL))],
};
const server = http.createServer((request, response) => {
  const [type, body] = FILES[request.url] ?? ["application/json", "{}"];
  response.writeHead(FILES[request.url] ? 200 : 202, { "content-type": type });
  response.end(body);
});
await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
const browser = await puppeteer.launch({
  executablePath: "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-sync"],
});
try {
  const seen = { "/without": [], "/with": [] };
  for (let i = 0; i < LOADS; i++) for (const path of Object.keys(seen)) seen[path].push(await load(path));
  const median = (path, name) => seen[path].map((one) => one[name]).sort((a, b) => a - b)[LOADS >> 1];
  for (const name of ["main thread", "scripts", "evaluation", "blocking"]) {
    const [without, withIt] = [median("/without", name), median("/with", name)];
    console.log(`${name.padEnd(12)} without ${without.toFixed(2)} ms, with ${withIt.toFixed(2)} ms, added ${(withIt - without).toFixed(2)} ms`);
  }
  const tasks = seen["/with"].map((one) => one.longest);
  console.log(`longest task of a load with it: ${Math.max(...tasks).toFixed(1)} ms at worst (0: none over 50 ms)`);
} finally {
  await browser.close();
  server.close();
}

/** One load in a fresh profile: the ms that it took of the main thread. */
async function load(path) {
  const context = await browser.createBrowserContext();
  const tab = await context.newPage();
  const devtools = await tab.createCDPSession();
  await devtools.send("Emulation.setCPUThrottlingRate", { rate: SLOWER });
  await devtools.send("Performance.enable", { timeDomain: "threadTicks" });
  await devtools.send("Profiler.enable");
  await devtools.send("Profiler.setSamplingInterval", { interval: 100 });
  await tab.evaluateOnNewDocument(() => {
    globalThis.tasks = [];
    new PerformanceObserver((list) => globalThis.tasks.push(...list.getEntries().map((entry) => entry.duration))).observe({ entryTypes: ["longtask"] });
  });
  const before = await metrics(devtools);
  await devtools.send("Profiler.start");
  await tab.goto(`http://127.0.0.1:${server.address().port}${path}`);
  await new Promise((go) => setTimeout(go, SETTLED_MS));
  const { profile } = await devtools.send("Profiler.stop");
  const after = await metrics(devtools);
  const tasks = await tab.evaluate(() => globalThis.tasks);
  await context.close();
  return {
    "main thread": 1000 * (after.TaskDuration - before.TaskDuration),
    scripts: 1000 * (after.ScriptDuration - before.ScriptDuration),
    evaluation: spent(profile),
    blocking: tasks.reduce((sum, ms) => sum + Math.max(0, ms - 50), 0),
    longest: Math.max(0, ...tasks),
  };
}

async function metrics(devtools) {
  const { metrics } = await devtools.send("Performance.getMetrics");
  return Object.fromEntries(metrics.map(({ name, value }) => [name, value]));
}

/** The ms in which a function of the pixel, or one that it called, was on top of the stack. */
function spent({ nodes, samples, timeDeltas }) {
  const ours = new Set();
  const mark = (node, inside) => {
    const here = inside || node.callFrame.url.endsWith("tracking.js");
    if (here) ours.add(node.id);
    for (const child of node.children ?? []) mark(nodes.find(({ id }) => id === child), here);
  };
  mark(nodes[0], false);
  return samples.reduce((sum, id, i) => sum + (ours.has(id) ? timeDeltas[i] : 0), 0) / 1000;
}
