import assert from "node:assert/strict";
import type { Page } from "puppeteer-core";
import { scenario, type Site, until } from "./harness";

/** Let the page make events, all in one task. */
function burst(page: Page, count: number, size = 20): Promise<unknown> {
  return page.evaluate(`for (let i = 0; i < ${String(count)}; i++) evothesis("track", "burst", { i, text: "x".repeat(${String(size)}) })`);
}

async function numbers(site: Site, count: number): Promise<number[]> {
  return (await site.events(count, "burst")).map(({ raw_event_data }) => raw_event_data.data["i"] as number);
}

const upTo = (count: number): number[] => Array.from({ length: count }, (_, index) => index);

async function opened(site: Site, body = "", options = ""): Promise<Page> {
  site.serve("/", site.script(options) + body);
  const page = await site.open();
  await site.events(1, "page_view");
  return page;
}

for (const [name, count, size] of [["small", 200, 20], ["large", 30, 3000]] as const) {
  for (const exit of ["close", "leave"] as const) {
    scenario(`${String(count)} ${name} events right before the page is ${exit === "close" ? "closed" : "left"} are all there after the next visit`, async (site) => {
      const page = await opened(site);
      await burst(page, count, size);
      if (exit === "close") await page.close();
      else await page.goto("about:blank");
      await site.open();
      assert.deepEqual((await numbers(site, count)).sort((a, b) => a - b), upTo(count));
    });
  }
}

scenario("what was done right before the page's process died arrives with the next visit", async (site) => {
  const page = await opened(site);
  // However long it takes until it dies, nothing leaves.
  site.down = "reset";
  await burst(page, 3);
  await page.evaluate("new Promise((go) => setTimeout(go, 50))");
  const gone = new Promise((go) => page.once("error", go));
  void page.goto("chrome://crash").catch(() => undefined);
  await gone;
  assert.equal((await site.stored()).length, 1);
  site.down = null;
  await site.open();
  assert.deepEqual((await numbers(site, 3)).sort((a, b) => a - b), upTo(3));
}, "chrome");

scenario("a refusal for now is answered by trying again, when the collector says", async (site) => {
  site.failures = [{ status: 429, headers: { "retry-after": "2" } }];
  const page = await opened(site);
  const [first, second] = site.requests();
  assert.ok((second?.at ?? 0) - (first?.at ?? 0) >= 2000);
  assert.equal((await site.settled(page)).length, 1);
});

for (const failure of [503, "reset"] as const) {
  scenario(`after ${String(failure)} the same events come again, once each`, async (site) => {
    site.failures = [failure, failure];
    await opened(site);
    const page = await site.open("/");
    await burst(page, 3);
    assert.deepEqual(await numbers(site, 3), upTo(3));
    assert.equal((await site.settled(page)).filter(({ event_type }) => event_type === "page_view").length, 2);
  });
}

for (const status of [400, 404, 413]) {
  scenario(`what is refused with ${String(status)} holds nothing up`, async (site) => {
    const page = await opened(site);
    site.failures = [status];
    await burst(page, 1);
    await until(() => site.failures.length === 0, "the refusal");
    await page.evaluate("evothesis('track', 'later')");
    await site.events(1, "later");
    assert.equal((await site.stored()).filter(({ event_type }) => event_type === "burst").length, 0);
  });
}

scenario("clicks in quick succession share a request", async (site) => {
  const page = await opened(site, "<button>x</button>");
  const before = site.requests().length;
  await page.evaluate("for (let i = 0; i < 10; i++) document.querySelector('button').click()");
  await site.events(10, "click");
  assert.ok(site.requests().length - before <= 2);
});

scenario("what is made offline arrives when the network is back", async (site) => {
  const page = await opened(site);
  site.down = "reset";
  await burst(page, 5);
  await until(() => site.requests().length >= 3, "some attempts");
  site.down = null;
  await page.evaluate("dispatchEvent(new Event('online'))");
  assert.deepEqual(await numbers(site, 5), upTo(5));
  assert.equal((await site.settled(page)).length, 6);
});

scenario("a collector that is long away costs the page little of its storage", async (site) => {
  const page = await opened(site);
  site.down = 503;
  await burst(page, 3000, 300);
  await until(() => page.evaluate("Object.keys(localStorage).some((key) => /queue/.test(key))"), "the queue");
  const kept = (await page.evaluate("Object.keys(localStorage).reduce((sum, key) => sum + key.length + localStorage[key].length, 0)")) as number;
  assert.ok(kept < 262_144, String(kept));
  assert.equal(await page.evaluate("localStorage.setItem('mine', 'x'.repeat(1e6)), localStorage.mine.length"), 1e6);
});

scenario("a storage that is full keeps no event from arriving", async (site) => {
  site.serve("/", `<script>try { for (let i = 0; ; i++) localStorage.setItem("fill" + i, "x".repeat(100000)) } catch {} try { for (let i = 0; ; i++) localStorage.setItem("f" + i, "x") } catch {}</script>${site.script()}`);
  const page = await site.open();
  await site.events(1, "page_view");
  await burst(page, 2);
  assert.deepEqual(await numbers(site, 2), upTo(2));
  const stored = await site.stored();
  assert.equal(new Set(stored.map(({ visitor_id, session_id }) => visitor_id + session_id)).size, 1);
});

for (const [name, stub] of Object.entries({
  "refuses": "navigator.sendBeacon = () => false",
  "throws": "navigator.sendBeacon = () => { throw new Error('no') }",
  "is not there": "delete Navigator.prototype.sendBeacon",
})) {
  scenario(`where sendBeacon ${name} the last event arrives with the next visit`, async (site) => {
    const page = await opened(site);
    await page.evaluate(stub);
    await burst(page, 1);
    await page.goto(site.url("/none"));
    await page.goto(site.url());
    assert.deepEqual(await numbers(site, 1), [0]);
  });
}

for (const [name, stub] of Object.entries({
  "is not there": "delete window.fetch",
  "throws": "window.fetch = () => { throw new TypeError('no') }",
  "is not there, nor sendBeacon": "delete window.fetch; delete Navigator.prototype.sendBeacon",
})) {
  scenario(`where fetch ${name} a page view is counted all the same`, async (site) => {
    site.serve("/", `<script>${stub}</script>${site.script()}`);
    const page = await site.open();
    await site.events(1, "page_view");
    assert.equal((await site.settled(page)).length, 1);
  });
}

scenario("a script's own clock that is set back makes no time negative", async (site) => {
  site.serve("/", `<script>const real = Date.now; let back = 0; Date.now = () => real() - back; window.setBack = (ms) => { back = ms }</script>${site.script()}`);
  const page = await site.open();
  await site.events(1);
  await page.evaluate("setBack(3600000); evothesis('track', 'after')");
  const [view, after] = (await site.events(2)).sort((a, b) => a.raw_event_data.seq - b.raw_event_data.seq);
  assert.equal(view?.session_id, after?.session_id);
  await page.goto("about:blank");
  const [leave] = await site.events(1, "page_leave");
  assert.ok((leave?.raw_event_data.data["engaged_ms"] as number) >= 0);
});
