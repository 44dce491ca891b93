/* What every engine must do, in the one that is nearest to Safari here: WebKitGTK, each scenario in a fresh session. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { after, before, test } from "node:test";
import { Builder, By, Capabilities, type WebDriver } from "selenium-webdriver";
import { Place, RUN, until } from "../browser/sites";

const DRIVER_PORT = 4455;
/** The names that this engine finds on this machine; sites are told apart by their ids. */
const [HOST, COLLECTOR] = ["localhost", "127.0.0.1"];
let driver: ChildProcess | undefined;
let places = 0;

before(async () => {
  driver = spawn("WebKitWebDriver", [`--port=${String(DRIVER_PORT)}`], { stdio: "inherit" });
  await until(() => fetch(`http://127.0.0.1:${String(DRIVER_PORT)}/status`).then(({ ok }) => ok, () => false), "WebKitWebDriver");
});
after(() => { driver?.kill(); });

function scenario(name: string, work: (place: Place, page: WebDriver, script: (options?: string, name?: string) => string) => Promise<void>): void {
  void test(`webkit: ${name}`, { timeout: 60_000 }, async () => {
    const page = await new Builder()
      .usingServer(`http://127.0.0.1:${String(DRIVER_PORT)}`)
      .withCapabilities(new Capabilities({ browserName: "MiniBrowser" }))
      .build();
    const id = `webkit-${String(++places)}-${RUN}`;
    const place = new Place(HOST, id);
    try {
      await work(place, page, (options = "", name = "tracking") => place.script(`data-site="${id}" ${options}`, name, COLLECTOR));
    } finally {
      await page.quit();
    }
  });
}

scenario("a page with nothing but the script is one page view within a second", async (place, page, script) => {
  place.serve("/", script());
  await page.get(place.url());
  const loaded = Date.now();
  const [view] = await place.events(1);
  assert.ok((place.requests()[0]?.at ?? Infinity) - loaded < 1000);
  assert.deepEqual([view?.event_type, view?.url, view?.raw_event_data.title], ["page_view", place.url(), "/"]);
  assert.ok(view?.visitor_id && view.session_id && view.raw_event_data.page_view_id);
  assert.ok(place.requests().every(({ method }) => method === "POST"), "no preflight");
});

scenario("a route of an application is a page view that the page before led to", async (place, page, script) => {
  place.serve("/", script());
  await page.get(place.url());
  await place.events(1);
  await page.executeScript("history.pushState({}, '', '/route')");
  const [, route] = await place.events(2, "page_view");
  assert.deepEqual([route?.url, route?.raw_event_data.referrer], [place.url("/route"), place.url()]);
});

scenario("a reload and another page of the site are the same session of the same visitor", async (place, page, script) => {
  place.serve("/", `${script()}<a href="/next">next</a>`).serve("/next", script());
  await page.get(place.url());
  await place.events(1, "page_view");
  await page.navigate().refresh();
  await place.events(2, "page_view");
  await page.findElement(By.css("a")).click();
  const views = await place.events(3, "page_view");
  assert.equal(new Set(views.map(({ visitor_id, session_id }) => visitor_id + session_id)).size, 1);
});

scenario("a click that leads away is there after the next visit at the latest, once", async (place, page, script) => {
  place.serve("/", `${script()}<a href="/next">next</a>`).serve("/next", "next");
  await page.get(place.url());
  await place.events(1, "page_view");
  await page.findElement(By.css("a")).click();
  await until(async () => (await page.getCurrentUrl()).endsWith("/next"), "the next page");
  await page.get(place.url());
  await place.events(1, "click");
  await place.events(2, "page_view");
  assert.equal(await place.count("click"), 1);
});

scenario("two hundred events right before the page is left are there after the next visit, once each", async (place, page, script) => {
  place.serve("/", script()).serve("/next", "next");
  await page.get(place.url());
  await place.events(1, "page_view");
  await page.executeScript("for (let i = 0; i < 200; i++) evothesis('track', 'burst', { i }); location.href = '/next'");
  await until(async () => (await page.getCurrentUrl()).endsWith("/next"), "the next page");
  await page.get(place.url());
  const numbers = (await place.events(200, "burst")).map(({ raw_event_data }) => raw_event_data.data["i"] as number);
  assert.deepEqual(numbers.sort((a, b) => a - b), Array.from({ length: 200 }, (_, i) => i));
});

scenario("a form that is sent is known by its fields, and nothing of what is in them", async (place, page, script) => {
  place.serve("/", `${script()}<form action="/thanks"><input name="who"><input type="password" name="pw"><button>Send</button></form>`).serve("/thanks", script());
  await page.get(place.url());
  await page.findElement(By.css("input")).sendKeys("Jane Doe");
  await page.findElement(By.css("button")).click();
  const [submit] = await place.events(1, "form_submit");
  assert.deepEqual(submit?.raw_event_data.data["fields"], [{ field: "who", type: "text" }, { field: "pw", type: "password" }]);
  assert.ok(!JSON.stringify(place.requests()).includes("Jane Doe"));
});

scenario("before a yes nothing leaves the page and nothing is kept; with it comes what was held back", async (place, page, script) => {
  place.serve("/", `${script('data-consent="opt-in"')}<button>x</button>`);
  await page.get(place.url());
  await page.findElement(By.css("button")).click();
  await new Promise((go) => setTimeout(go, 1000));
  assert.deepEqual([place.requests().length, await page.executeScript("return localStorage.length + sessionStorage.length")], [0, 0]);
  await page.executeScript("evothesis.consent({ analytics: true })");
  await place.events(1, "consent");
  assert.equal(await place.count("page_view"), 1);
  assert.equal(await place.count("click"), 1);
});

scenario("a signal that asks not to be tracked is an answer", async (place, page, script) => {
  place.serve("/", `<script>Object.defineProperty(navigator, "globalPrivacyControl", { get: () => true })</script>${script()}<button>x</button>`);
  await page.get(place.url());
  await page.findElement(By.css("button")).click();
  await new Promise((go) => setTimeout(go, 1000));
  assert.deepEqual([place.requests().length, await page.executeScript("return localStorage.length + sessionStorage.length")], [0, 0]);
});

scenario("a page is scrolled, left after a time, and measured", async (place, page, script) => {
  place.serve("/", `<h1>big</h1>${script()}${script("", "vitals")}<div style="height:5000px">tall</div>`).serve("/next", "next");
  await page.get(place.url());
  await place.events(1, "page_view");
  await page.executeScript("scrollTo(0, document.documentElement.scrollHeight)");
  await place.events(4, "scroll_depth");
  await page.get(place.url("/next"));
  await page.get(place.url());
  const [leave] = await place.events(1, "page_leave");
  assert.equal(leave?.raw_event_data.data["scroll_percent"], 100);
  const [vitals] = await place.events(1, "web_vitals");
  assert.ok("fcp" in (vitals?.raw_event_data.data ?? {}));
});
