// Measures what the pixel costs a page while it loads, beside its peers.
//
//     node benchmarks/pixel_load.mjs [LOADS]
//
// The same page is opened in fresh profiles without a tracker, with the pixel, with peers that capture by themselves
// what it captures, and with a script that does no more than any tracker must: look into the storage, write there, send
// one request. All take turns, at the processor's full speed and slowed down four times. Printed are medians of what each
// adds to the page without any: the main thread's processor time, its longest task, and the total blocking time (what
// tasks take over 50 ms, by the clock on the wall).
import http from "node:http";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { peers } from "./peers.mjs";

const puppeteer = createRequire(new URL("../pixel/package.json", import.meta.url))("puppeteer-core");
const LOADS = Number(process.argv[2] ?? 15);
const SETTLED_MS = 1500;
const LONG_MS = 50;
/** No more than names the tracker's own tasks: what is recorded costs time itself. */
const CATEGORIES = ["devtools.timeline"];

const LEAST = `localStorage.getItem("a"); localStorage.setItem("b", "1"); setTimeout(() => fetch("/beacon", { method: "POST", body: "x", keepalive: true }), 400)`;
const scripts = new Map([
  ["no tracker", ""],
  ["the least that a tracker does", LEAST],
  ["evothesis tracking.js", readFileSync(new URL("../pixel/dist/tracking.js", import.meta.url))],
]);
for (const { name, text, begin } of await peers(({ begin }) => begin)) scripts.set(name, `${text};${begin}`);

const text = "<p>Some text of a page that has a little to say.</p>".repeat(200);
let served = "";
const server = http.createServer(({ url }, response) => {
  const [type, body] = {
    "/page": ["text/html", `<!doctype html><html><head><title>A page</title>${served && '<script src="/js/tracking.js"></script>'}</head><body>${text}<form><input name="q"></form></body></html>`],
    "/js/tracking.js": ["text/javascript", served],
  }[url] ?? ["application/json", "{}"];
  response.writeHead(200, { "content-type": type });
  response.end(body);
});
await new Promise((ready) => server.listen(0, "localhost", ready));
const browser = await puppeteer.launch({
  executablePath: "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-sync"],
});
try {
  for (const slower of [1, 4]) await compare(slower);
} finally {
  await browser.close();
  server.close();
}

async function compare(slower) {
  const seen = new Map([...scripts.keys()].map((name) => [name, []]));
  for (let i = 0; i < LOADS; i++) for (const [name, script] of scripts) seen.get(name).push(await load(script, slower));
  const median = (name, what) => seen.get(name).map((one) => one[what]).sort((a, b) => a - b)[LOADS >> 1];
  console.log(`\nprocessor ${slower === 1 ? "at full speed" : `slowed down ${slower} times`}, medians of ${LOADS} loads, ms`);
  console.log("".padEnd(40), "main thread".padStart(12), "added".padStart(8), "longest task".padStart(14), "blocking added".padStart(16));
  for (const name of scripts.keys()) {
    const [own, bare] = [name, "no tracker"].map((one) => (what) => median(one, what));
    const [thread, blocking] = ["thread", "blocking"].map((what) => own(what) - bare(what));
    console.log(name.padEnd(40), own("thread").toFixed(1).padStart(12), thread.toFixed(1).padStart(8), own("longest").toFixed(1).padStart(14), blocking.toFixed(1).padStart(16));
  }
}

/** One load in a fresh profile: the ms that its tasks took of the main thread's processor, blocked it, and the longest run of the tracker. */
async function load(script, slower) {
  served = script;
  const context = await browser.createBrowserContext();
  try {
    const tab = await context.newPage();
    const devtools = await tab.createCDPSession();
    await devtools.send("Emulation.setCPUThrottlingRate", { rate: slower });
    await devtools.send("Performance.enable", { timeDomain: "threadTicks" });
    await tab.evaluateOnNewDocument(() => {
      globalThis.long = [];
      new PerformanceObserver((list) => globalThis.long.push(...list.getEntries().map(({ duration }) => duration))).observe({ entryTypes: ["longtask"] });
    });
    await tab.tracing.start({ categories: CATEGORIES });
    const before = await taskSeconds(devtools);
    // By name, as sites are: an address of numbers alone looks like a telephone number, and has the pixel mask it.
    await tab.goto(`http://localhost:${server.address().port}/page`);
    await new Promise((go) => setTimeout(go, SETTLED_MS));
    const thread = 1000 * ((await taskSeconds(devtools)) - before);
    const long = await tab.evaluate(() => globalThis.long);
    const { traceEvents } = JSON.parse(Buffer.from(await tab.tracing.stop()).toString());
    return { thread, blocking: long.reduce((sum, ms) => sum + ms - LONG_MS, 0), longest: longest(traceEvents) };
  } finally {
    await context.close();
  }
}

async function taskSeconds(devtools) {
  const { metrics } = await devtools.send("Performance.getMetrics");
  return metrics.find(({ name }) => name === "TaskDuration").value;
}

/** The ms of the longest run of the tracker's script. */
function longest(events) {
  const runs = events.filter(({ name, dur, args }) => dur && /^(EvaluateScript|FunctionCall)$/.test(name) && args.data?.url?.endsWith("/js/tracking.js"));
  return Math.max(0, ...runs.map(({ dur }) => dur)) / 1000;
}
