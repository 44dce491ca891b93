// Measures what the pixel costs a page in use: a thousand clicks and two thousand scrolls.
//
//     node benchmarks/pixel_handlers.mjs
//
// The same page is used with the pixel and without it, each click and each scroll in a task of its own. Printed is how
// long an event takes until all that listen have heard it, with what is done in the same task, and how many tasks were
// over 50 ms. What a page itself does there is in both columns; the difference is the pixel's.
import http from "node:http";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const PIXEL = new URL("../pixel/", import.meta.url);
const puppeteer = createRequire(new URL("package.json", PIXEL))("puppeteer-core");
const CLICKS = 1000;
const SCROLLS = 2000;

const rows = Array.from({ length: 300 }, (_, i) => `<li><a href="#r${i}"><b>Row ${i}</b> with some words and a price of ${i}.99</a> <button>Add to basket</button></li>`).join("");
const page = (script) => `<!doctype html><title>Shop</title>${script}<main><ul>${rows}</ul></main>`;
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
  const results = {};
  for (const path of ["/without", "/with"]) {
    const tab = await browser.newPage();
    await tab.goto(`http://127.0.0.1:${server.address().port}${path}`);
    results[path] = await tab.evaluate(use, CLICKS, SCROLLS);
    await tab.close();
  }
  console.log("ms".padEnd(12), "median".padStart(18), "p95".padStart(18), "worst".padStart(18));
  for (const kind of ["click", "scroll"]) {
    const at = (path, part) => results[path][kind].sort((a, b) => a - b)[Math.ceil(results[path][kind].length * part) - 1].toFixed(2);
    console.log(kind.padEnd(12), ...[0.5, 0.95, 1].map((part) => `${at("/without", part)} -> ${at("/with", part)}`.padStart(18)));
  }
  console.log(`tasks over 50 ms: ${results["/without"].long} -> ${results["/with"].long}`);
} finally {
  await browser.close();
  server.close();
}

/** In the page: do all that, and say how long each took. */
async function use(clicks, scrolls) {
  let long = 0;
  new PerformanceObserver((list) => { long += list.getEntries().length; }).observe({ entryTypes: ["longtask"] });
  const turn = () => new Promise((go) => { const { port1, port2 } = new MessageChannel(); port1.onmessage = go; port2.postMessage(0); });
  const timed = async (count, act) => {
    const took = [];
    for (let i = 0; i < count; i++) {
      const from = performance.now();
      act(i);
      took.push(performance.now() - from);
      await turn();
    }
    return took;
  };
  // Links that lead to somewhere on the page would be measured by the browser's own work.
  document.addEventListener("click", (event) => event.preventDefault());
  const targets = document.querySelectorAll("b, button");
  const click = await timed(clicks, (i) => targets[i % targets.length].dispatchEvent(new MouseEvent("click", { bubbles: true, composed: true, cancelable: true })));
  const scroll = await timed(scrolls, (i) => { window.dispatchEvent(new Event("scroll")); if (i % 10 === 0) scrollTo(0, i * 5); });
  return { click, scroll, long };
}
