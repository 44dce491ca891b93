import assert from "node:assert/strict";
import type { Page } from "puppeteer-core";
import { scenario, Site, type Stored, until } from "./harness";

/** A clock that a scenario can set forward: `skip(ms)`. */
const CLOCK = `(() => { const real = Date.now; let ahead = 0; Date.now = () => real() + ahead; window.skip = (ms) => { ahead += ms } })()`;
const MINUTE = 60_000;

const withClock = (page: Page): Promise<unknown> => page.evaluateOnNewDocument(CLOCK);
const track = (page: Page, name: string): Promise<unknown> => page.evaluate(`evothesis("track", "${name}")`);

scenario("a reload and another page of the site are the same session of the same visitor", async (site) => {
  site.serve("/", site.script()).serve("/next", site.script());
  const page = await site.open();
  await page.reload();
  await page.goto(site.url("/next"));
  const views = await site.events(3, "page_view");
  assert.equal(new Set(views.map(({ visitor_id, session_id, raw_event_data }) => visitor_id + session_id + raw_event_data.tab_id)).size, 1);
});

scenario("windows that are opened at once are one session of one visitor", async (site) => {
  site.serve("/", site.script()).serve("/opener", `<button onclick="for (let i = 0; i < 3; i++) open('/', '', 'popup,width=300,height=300')">open</button>`);
  const opener = await site.open("/opener");
  await opener.click("button");
  const views = await site.events(3, "page_view");
  assert.equal(new Set(views.map(({ visitor_id }) => visitor_id)).size, 1);
  assert.equal(new Set(views.map(({ session_id }) => session_id)).size, 1);
  assert.equal(new Set(views.map(({ raw_event_data }) => raw_event_data.tab_id)).size, 3);
});

scenario("a page in a tab behind is counted when the tab is looked at", async (site) => {
  site.serve("/", site.script());
  const [first, second] = await Promise.all([site.open(), site.open()]);
  await site.events(1, "page_view");
  for (const page of [first, second]) await page.bringToFront();
  const views = await site.events(2, "page_view");
  assert.equal(new Set(views.map(({ session_id }) => session_id)).size, 1);
});

scenario("a tab that another one opens is a tab of its own in the same session", async (site) => {
  site.serve("/", `${site.script()}<a id="a" href="/" target="_blank" rel="opener">open</a>`);
  const page = await site.open();
  await site.events(1, "page_view");
  await page.click("#a");
  const views = await site.events(2, "page_view");
  assert.equal(new Set(views.map(({ session_id }) => session_id)).size, 1);
  assert.equal(new Set(views.map(({ raw_event_data }) => raw_event_data.tab_id)).size, 2);
});

scenario("after half an hour without an event a session is another one, in all tabs the same", async (site) => {
  site.serve("/", site.script());
  const first = await site.open("/", withClock);
  const second = await site.open("/", withClock);
  await site.events(2, "page_view");
  await first.evaluate(`skip(${String(29 * MINUTE)})`);
  await track(first, "soon");
  await site.events(1, "soon");
  for (const page of [first, second]) await page.evaluate(`skip(${String(31 * MINUTE)})`);
  await first.evaluate(`skip(${String(29 * MINUTE)})`);
  await second.evaluate(`skip(${String(58 * MINUTE)})`);
  await track(second, "late");
  await site.events(1, "late");
  await track(first, "later");
  await site.events(1, "later");
  const session = Object.fromEntries((await site.stored()).map(({ event_type, session_id }) => [event_type, session_id]));
  assert.equal(session["soon"], session["page_view"]);
  assert.notEqual(session["late"], session["soon"]);
  assert.equal(session["later"], session["late"]);
});

scenario("a session ends after a day, however busy it was", async (site) => {
  site.serve("/", site.script());
  const page = await site.open("/", withClock);
  await site.events(1, "page_view");
  await page.evaluate(`for (let i = 0; i < 50; i++) { skip(${String(29 * MINUTE)}); evothesis("track", "busy") }`);
  const sessions = (await site.events(50, "busy")).map(({ session_id }) => session_id);
  // 24 hours are 49 times 29 minutes and something.
  assert.deepEqual(sessions.map((id) => id === sessions[0]), Array.from({ length: 50 }, (_, i) => i < 49));
});

scenario("what the visitor did not do lets no session go on", async (site) => {
  site.serve("/", site.script());
  const page = await site.open("/", withClock);
  await site.events(1, "page_view");
  for (let i = 0; i < 2; i++) {
    await page.evaluate(`skip(${String(20 * MINUTE)}); evothesis("track", "web_vitals", {}, true)`);
    await site.events(i + 1, "web_vitals");
  }
  await track(page, "act");
  await site.events(1, "act");
  const [view, one, two, act] = (await site.stored()).map(({ session_id }) => session_id);
  assert.deepEqual([one, two], [view, view]);
  assert.notEqual(act, view);
});

scenario("a session knows what led to it first and last, and a way over a payment provider changes neither", async (site) => {
  site.serve("/", site.script());
  const page = await site.open("/?utm_source=news&utm_medium=email&utm_campaign=autumn");
  await site.events(1, "page_view");
  await page.goto(site.url("/"), { referer: "https://pay.example/" });
  await site.events(2, "page_view");
  await page.goto(site.url("/?gclid=abc"), { referer: "https://www.google.com/" });
  const touches = (await site.events(3, "page_view")).map(({ raw_event_data }) => raw_event_data.data as Record<string, Record<string, string>>);
  assert.deepEqual(touches.map(({ first_touch }) => first_touch?.["campaign"]), ["autumn", "autumn", "autumn"]);
  assert.deepEqual(touches.map(({ last_touch }) => last_touch?.["channel"]), ["email", "email", "paid"]);
  assert.deepEqual(touches[2]?.["click_ids"], { gclid: "abc" });
});

scenario("sub-domains that share a cookie share the visitor and the session", async (site) => {
  const names = ["a", "b", "c"].map((name) => `${name}.${site.host}`);
  const subs = names.map((name) => new Site(site.context, name));
  for (const sub of subs) sub.serve("/", sub.script(`data-cookie-domain="${site.host}"`));
  const found = [];
  for (const sub of subs) {
    await sub.open();
    found.push(...(await sub.events(1, "page_view")));
  }
  assert.equal(new Set(found.map(({ visitor_id, session_id }) => visitor_id + session_id)).size, 1);
});

scenario("a yes that is taken back on one sub-domain is taken back on all that share a cookie", async (site) => {
  const [a, b] = ["a", "b"].map((name) => new Site(site.context, `${name}.${site.host}`)) as [Site, Site];
  for (const sub of [a, b]) sub.serve("/", sub.script(`data-consent="opt-in" data-cookie-domain="${site.host}"`));
  const first = await a.open();
  await first.evaluate("evothesis.consent({ analytics: true })");
  await a.events(1, "page_view");
  const second = await b.open();
  await b.events(1, "page_view");
  await second.evaluate("evothesis.consent({ analytics: false })");
  assert.deepEqual(await second.evaluate("[document.cookie, localStorage.length]"), ["", 0]);
  const requests = a.requests().length;
  await first.reload();
  await first.evaluate("evothesis('track', 'after')");
  assert.deepEqual(await first.evaluate("[document.cookie, localStorage.length]"), ["", 0]);
  // What it might still say, it would say when it is left.
  await first.goto(a.url("/none"));
  assert.equal(a.requests().length, requests);
});

scenario("sub-domains that do not, and another site, are strangers", async (site) => {
  const subs = ["a", "b"].map((name) => new Site(site.context, `${name}.${site.host}`));
  const found = [];
  for (const each of [...subs, new Site(site.context)]) {
    each.serve("/", each.script());
    await each.open();
    found.push(...(await each.events(1, "page_view")));
  }
  assert.equal(new Set(found.map(({ visitor_id }) => visitor_id)).size, 3);
});

/** Two sites of one client that name one another, and a stranger. */
function family(site: Site): Site {
  const other = new Site(site.context);
  const domains = `data-domains="${site.host} ${other.host}"`;
  site.serve("/", `${site.script(domains, "domains")}${site.script()}<a id="a" href="${other.url("/?x=1#part")}">other</a><a id="s" href="http://stranger.localhost/">stranger</a><script>document.querySelector("#s").addEventListener("click", (event) => { window.href1 = event.currentTarget.getAttribute("href"); event.preventDefault() })</script>`);
  other.serve("/", `${other.script(domains, "domains")}${other.script()}<a href="${site.url("/back")}">back</a>`);
  site.serve("/back", `${site.script(domains, "domains")}${site.script()}`);
  return other;
}

scenario("a link between two of the client's sites carries the visitor over, once, and leaves no trace", async (site) => {
  const other = family(site);
  const page = await site.open();
  const [here] = await site.events(1, "page_view");
  await page.click("#s");
  assert.equal(await page.evaluate("href1"), "http://stranger.localhost/");
  await Promise.all([page.waitForNavigation(), page.click("#a")]);
  const [there] = await other.events(1, "page_view");
  assert.deepEqual([there?.visitor_id, there?.session_id], [here?.visitor_id, here?.session_id]);
  assert.equal(page.url(), other.url("/?x=1#part"));
  assert.equal(there?.url, other.url("/?x=1#part"));
});

scenario("whoever goes from one of the client's domains to the next and back was led there by nobody", async (site) => {
  const other = family(site);
  const page = await site.open("/?utm_source=news&utm_medium=email");
  await site.events(1, "page_view");
  await Promise.all([page.waitForNavigation(), page.click("#a")]);
  const [there] = await other.events(1, "page_view");
  await Promise.all([page.waitForNavigation(), page.click("a")]);
  const [first, back] = await site.events(2, "page_view");
  const told = ({ raw_event_data: { data } }: Stored): unknown[] => [data["channel"], (data["last_touch"] as { source?: string } | undefined)?.source];
  assert.deepEqual([first, there, back].map((view) => view && told(view)), [["email", "news"], ["internal", undefined], ["internal", "news"]]);
  assert.equal(new Set([first, there, back].map((view) => view?.session_id)).size, 1);
});

scenario("an address that somebody passed on carries nobody over, nor one that is old", async (site) => {
  const other = family(site);
  const now = Date.now();
  const ids = `${"v".repeat(32)}.${"s".repeat(32)}`;
  const handed = (at: number): string => `/?_evo=${ids}.${at.toString(36)}`;
  // From no page at all, as out of a mail; from ours, but too late; from ours in time, and once more.
  const page = await other.open(handed(now));
  await other.events(1, "page_view");
  await page.goto(other.url(handed(now - 10 * MINUTE)), { referer: site.url() });
  await other.events(2, "page_view");
  assert.ok((await other.stored()).every(({ visitor_id }) => visitor_id !== "v".repeat(32)));
  assert.ok(!page.url().includes("_evo"));
});

scenario("nobody who has not agreed is carried over", async (site) => {
  const other = family(site);
  site.serve("/", site.script(`data-domains="${site.host} ${other.host}"`, "domains") + site.script('data-consent="opt-in"') + `<a id="a" href="${other.url("/")}">other</a>`);
  const page = await site.open();
  await page.evaluate(`addEventListener("click", (event) => { window.href1 = event.target.getAttribute("href"); event.preventDefault() })`);
  await page.click("#a");
  assert.equal(await until(() => page.evaluate("window.href1"), "the click"), other.url("/"));
});
