import assert from "node:assert/strict";
import type { Stored } from "./harness";
import { scenario, until } from "./harness";
import { COLLECTOR } from "./sites";

const paths = (events: Stored[]): string[] =>
  events.filter((event) => event.event_type === "page_view").map(({ url }) => url.replace(/^https?:\/\/[^/]+/, ""));

scenario("a page with nothing but the script is one page view within a second", async (site) => {
  site.serve("/", site.script());
  const page = await site.open();
  const loaded = Date.now();
  const [view] = await site.events(1);
  assert.ok(view);
  const [request] = site.requests();
  assert.ok((request?.at ?? Infinity) - loaded < 1000);
  assert.equal(view.event_type, "page_view");
  assert.equal(view.url, site.url());
  assert.equal(view.raw_event_data.title, "/");
  assert.match(view.visitor_id, /^[0-9a-f]{32}$/);
  assert.match(view.session_id, /^[0-9a-f]{32}$/);
  assert.ok(view.raw_event_data.page_view_id && view.raw_event_data.tab_id);
  assert.equal((await site.settled(page)).length, 1);
  assert.ok(site.requests().every(({ method }) => method === "POST"), "no preflight");
});

for (const [name, place] of Object.entries({
  async: (tag: string) => tag.replace("<script", "<script async"),
  defer: (tag: string) => tag.replace("<script", "<script defer"),
  "put in by another script": (tag: string) =>
    `<script>var s=document.createElement("script");s.src=${JSON.stringify(/src="([^"]+)"/.exec(tag)?.[1])};document.head.appendChild(s)</script>`,
  "put in twice": (tag: string) => tag + tag,
})) {
  scenario(`a script that is ${name} counts once`, async (site) => {
    site.serve("/", place(site.script()));
    const page = await site.open();
    await site.events(1, "page_view");
    assert.deepEqual(paths(await site.settled(page)), ["/"]);
  });
}

scenario("routes of an application are page views, each once, and each leads to the next", async (site) => {
  site.serve("/", site.script());
  const page = await site.open();
  const go = (work: string): Promise<unknown> => page.evaluate(work);
  await go("history.pushState({}, '', '/a')");
  await site.events(2, "page_view");
  await go("for (let i = 0; i < 20; i++) history.replaceState({}, '', '/a?filter=' + i)");
  await go("for (let i = 0; i < 3; i++) history.pushState({}, '', '/a?filter=19')");
  await go("history.replaceState({}, '', '/b')");
  await site.events(3, "page_view");
  await go("history.back()");
  await site.events(4, "page_view");
  await go("history.forward()");
  const views = (await site.events(5, "page_view")).map(({ url, raw_event_data }) => [url, raw_event_data.referrer]);
  const at = (path: string): string => site.url(path);
  assert.deepEqual(views.slice(0, 3), [[at("/"), ""], [at("/a"), at("/")], [at("/b"), at("/a?filter=19")]]);
  assert.deepEqual(paths(await site.settled(page)).length, 5);
});

scenario("a jump on the page is no page view, a route in the fragment is one", async (site) => {
  site.serve("/", `<h2 id="section">x</h2>${site.script()}`);
  const page = await site.open();
  await site.events(1);
  await page.evaluate("location.hash = 'section'");
  await page.evaluate("location.hash = '#/route'");
  await site.events(2, "page_view");
  assert.deepEqual(paths(await site.settled(page)), ["/", "/#/route"]);
});

scenario("a router that redirects, and a title that comes late, are one page view with the title", async (site) => {
  site.serve("/", site.script());
  const page = await site.open();
  await site.events(1);
  await page.evaluate(`history.pushState({}, '', '/old'); history.replaceState({}, '', '/new'); setTimeout(() => { document.title = 'New' }, 50)`);
  const views = await site.events(2, "page_view");
  assert.deepEqual(views.map(({ raw_event_data }) => raw_event_data.title), ["/", "New"]);
  assert.deepEqual(paths(await site.settled(page)), ["/", "/new"]);
});

scenario("a script and an endpoint under other names are the same", async (site) => {
  site.serve("/", site.scriptAt("/assets/a.js", 'data-endpoint="/in"'));
  const page = await site.open();
  await site.events(1, "page_view");
  assert.deepEqual(site.requests().filter(({ method }) => method === "POST").map(({ url }) => url), ["/in"]);
  assert.equal((await site.settled(page)).length, 1);
});

scenario("a script that is the very file that the page names is one, under a name that never changes", async (site) => {
  const manifest = (await (await fetch(`${COLLECTOR}/js/manifest.json`)).json()) as Record<string, { versioned: string; integrity: string }>;
  const { versioned = "", integrity = "" } = manifest["tracking.js"] ?? {};
  site.serve("/", site.scriptAt(`/js/${versioned}`, `integrity="${integrity}" crossorigin="anonymous"`));
  await site.open();
  await site.events(1, "page_view");
  const answer = await fetch(`${COLLECTOR}/js/${versioned}`);
  assert.match(answer.headers.get("cache-control") ?? "", /immutable/);
});

scenario("a route in the first moment is another page view, for what came with the document was asked for", async (site) => {
  site.serve("/", `${site.script()}<script>setTimeout(() => history.pushState({}, "", "/home"), 20)</script>`);
  const page = await site.open("/?utm_source=letter");
  const views = await site.events(2, "page_view");
  assert.deepEqual(paths(await site.settled(page)), ["/?utm_source=letter", "/home"]);
  assert.deepEqual(views[0]?.raw_event_data.data["utm"], { source: "letter" });
});

scenario("a page that sends its visitor on at once is a page view", async (site) => {
  site.serve("/", `${site.script()}<script>location.href = "/next"</script>`).serve("/next", site.script());
  const page = await site.context.newPage();
  await page.goto(site.url()).catch(() => undefined);
  await site.events(2, "page_view");
  assert.deepEqual(paths(await site.stored()), ["/", "/next"]);
});

scenario("a title that stands below the script is the page view's", async (site) => {
  site.serve("/", `<html><head>${site.script()}<title>Below</title></head><body>x</body></html>`);
  await site.open();
  const [view] = await site.events(1, "page_view");
  assert.equal(view?.raw_event_data.title, "Below");
});

scenario("other libraries that wrap the history get what they expect", async (site) => {
  site.serve(
    "/",
    `<script>history.pushState = new Proxy(history.pushState, { apply(f, self, args) { window.self1 = self === history; return Reflect.apply(f, self, args) } })</script>
     ${site.script()}
     <script>var inner = history.pushState; history.pushState = function () { window.returned = inner.apply(this, arguments); return window.returned }</script>`,
  );
  const page = await site.open();
  await site.events(1);
  await page.evaluate("history.pushState({ kept: 1 }, '', '/a')");
  await site.events(2, "page_view");
  assert.deepEqual(await page.evaluate("[window.self1, window.returned === undefined, history.state.kept]"), [true, true, 1]);
});

scenario("a page out of the back/forward cache is seen again", async (site) => {
  site.serve("/", `${site.script()}<a href="/b">b</a>`).serve("/b", site.script());
  const page = await site.open();
  await site.events(1);
  await page.goto(site.url("/b"));
  await site.events(2, "page_view");
  // Whoever comes out of the cache does not load, so nothing tells a driver that it has.
  await page.evaluate("history.back()").catch(() => undefined);
  const views = await site.events(3, "page_view");
  assert.equal(new Set(views.map(({ raw_event_data }) => raw_event_data.page_view_id)).size, 3);
  assert.equal(views[2]?.raw_event_data.data["how"], "restored");
});

scenario(
  "a page that is drawn ahead is counted when it is seen, once",
  async (site) => {
    site.serve("/", `${site.script()}<script type="speculationrules">{"prerender":[{"source":"list","urls":["/next"],"eagerness":"immediate"}]}</script><a id="next" href="/next">next</a>`);
    site.serve("/next", site.script());
    const page = await site.open();
    await site.events(1);
    await new Promise((go) => setTimeout(go, 1500));
    assert.deepEqual(paths(await site.stored()), ["/"]);
    // The page that takes over is another one to the driver, which loses this one at any moment from here on: nothing waits for it.
    await page.evaluate("void setTimeout(() => document.querySelector('#next').click())");
    await site.events(2, "page_view");
    assert.deepEqual(paths(await site.stored()), ["/", "/next"]);
  },
  "chrome",
);

scenario("calls from before the script come after the page view, in order", async (site) => {
  site.serve(
    "/",
    `<script>window.evothesis = window.evothesis || function () { (evothesis.q = evothesis.q || []).push(arguments) }; evothesis("track", "First", { n: 1 }); evothesis("track", "second")</script>${site.script()}`,
  );
  await site.open();
  const events = await site.events(3);
  assert.deepEqual(events.map(({ event_type }) => event_type), ["page_view", "first", "second"]);
  assert.deepEqual(events[1]?.raw_event_data.data, { n: 1 });
});

scenario("no listener keeps a page out of the cache, and one name is all that the page gains", async (site) => {
  site.serve(
    "/",
    `<script>window.before = Object.keys(window); window.heard = []; const add = EventTarget.prototype.addEventListener; EventTarget.prototype.addEventListener = function (name) { heard.push(name); return add.apply(this, arguments) }</script>${site.script()}<p>text</p>`,
  );
  const page = await site.open();
  await site.events(1);
  assert.equal(await page.evaluate("heard.filter((name) => /unload/.test(name)).length"), 0);
  assert.deepEqual(await page.evaluate("Object.keys(window).filter((name) => !before.includes(name) && !['before', 'heard'].includes(name))"), ["evothesis"]);
  assert.equal(await page.evaluate("document.body.innerHTML.includes('evothesis')"), false);
});

scenario("a page that a program opens, or another page frames, says so", async (site) => {
  site.serve("/", "<iframe src='/framed'></iframe>").serve("/framed", site.script()).serve("/alone", site.script());
  await site.open();
  const page = await site.open("/alone");
  await page.bringToFront();
  const marks = Object.fromEntries((await site.events(2, "page_view")).map(({ url, raw_event_data }) => [new URL(url).pathname, raw_event_data.data]));
  assert.equal(marks["/framed"]?.["framed"], true);
  assert.equal(marks["/alone"]?.["framed"], undefined);
  assert.equal(marks["/alone"]?.["webdriver"], true);
});

scenario("a page at rest has no timer, makes no request, and looks as it would without the pixel", async (site) => {
  // What runs is counted from the outside.
  const counted = `(() => {
    const set = window.setTimeout, clear = window.clearTimeout, pending = window.pending = new Set();
    window.setTimeout = (work, ms, ...rest) => { const id = set(() => { pending.delete(id); work() }, ms, ...rest); pending.add(id); return id };
    window.clearTimeout = (id) => { pending.delete(id); clear(id) };
    window.setInterval = () => { throw new Error("an interval") };
  })()`;
  site.serve("/", `<button id="b">b</button><p>Some text to select.</p><form><input name="q"></form><div style="height:3000px"></div>${site.script()}`);
  const page = await site.open("/", (tab) => tab.evaluateOnNewDocument(counted));
  const before = await page.content();
  await page.click("#b");
  await page.evaluate("scrollTo(0, 1000); getSelection().selectAllChildren(document.querySelector('p'))");
  await site.events(1, "text_select");
  await page.focus("input");
  await page.keyboard.type("x");
  await until(() => page.evaluate("pending.size === 0"), "rest");
  const requests = site.requests().length;
  assert.equal(await page.content(), before);
  await page.evaluate("document.title");
  assert.equal(site.requests().length, requests);
  assert.equal(await page.evaluate("pending.size"), 0);
});
