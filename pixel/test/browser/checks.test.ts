/* The 35 checks that the pixel and its peers are compared by (benchmarks/pixel_size.mjs), one after another. What each
   of them asks in passing the other scenarios ask in full. */
import assert from "node:assert/strict";
import type { Page } from "puppeteer-core";
import { scenario, Site, type Stored, until } from "./harness";

let checks = 0;

function check(name: string, work: (site: Site) => Promise<void>): void {
  scenario(`check ${String(++checks)} of 35: ${name}`, work);
}

async function opened(site: Site, body = "", path = "/", prepare?: (page: Page) => Promise<unknown>): Promise<Page> {
  site.serve("/", site.script() + body);
  const page = await site.open(path, prepare);
  await site.events(1, "page_view");
  return page;
}

/** What is done right before a tab is closed, of which one time in three will do: of how many a busy engine still sends
    it, the scenario of a hundred clicks tells. */
async function closed(site: Site, type: string, act: (site: Site) => Promise<Page>): Promise<void> {
  const sites = [site, new Site(site.context), new Site(site.context)];
  for (const one of sites) {
    const page = await act(one);
    await page.close();
  }
  await until(async () => (await Promise.all(sites.map((one) => one.count(type)))).some(Boolean), `a ${type}`);
}

const said = (event: Stored | undefined): string => JSON.stringify(event?.raw_event_data.data ?? {});
const views = async (site: Site, page: Page): Promise<number> =>
  (await site.settled(page)).filter(({ event_type }) => event_type === "page_view").length;
const pause = (ms: number): Promise<void> => new Promise((go) => setTimeout(go, ms));

check("a page view on load", async (site) => {
  await opened(site);
});

check("campaign, click id and referrer in what is sent", async (site) => {
  site.serve("/", site.script());
  const other = new Site(site.context);
  other.serve("/", `<a href="${site.url("/?utm_source=letter&utm_medium=email&gclid=abc")}">there</a>`);
  const page = await other.open();
  await page.click("a");
  const [view] = await site.events(1, "page_view");
  const { utm, click_ids } = view?.raw_event_data.data ?? {};
  assert.deepEqual([utm, click_ids, view?.raw_event_data.referrer], [{ source: "letter", medium: "email" }, { gclid: "abc" }, other.url()]);
});

check("the first event within a second", async (site) => {
  site.serve("/", site.script());
  const page = await site.open();
  const loaded = Date.now();
  await until(() => site.requests()[0], "a request");
  assert.ok((site.requests()[0]?.at ?? 0) - loaded < 1000, page.url());
});

check("no permission asked of the collector first", async (site) => {
  await opened(site);
  assert.deepEqual(site.requests().map(({ method }) => method), ["POST"]);
});

check("no settings fetched before", async (site) => {
  await opened(site);
  assert.match(site.requests()[0]?.body ?? "", /page_view/);
});

check("a route of an application", async (site) => {
  const page = await opened(site);
  await page.evaluate("history.pushState({}, '', '/route')");
  const [, route] = await site.events(2, "page_view");
  assert.equal(route?.url, site.url("/route"));
});

check("none for a parameter that is replaced", async (site) => {
  const page = await opened(site);
  await page.evaluate("for (let i = 0; i < 5; i++) history.replaceState({}, '', '/?filter=' + i)");
  assert.equal(await views(site, page), 1);
});

check("a page out of the back/forward cache", async (site) => {
  const page = await opened(site);
  await page.goto(site.url("/none"));
  await page.evaluate("history.back()").catch(() => undefined);
  await site.events(2, "page_view");
});

check("a click on any element", async (site) => {
  const page = await opened(site, "<button>Buy</button>");
  await page.click("button");
  const [click] = await site.events(1, "click");
  assert.match(said(click), /"text":"Buy"/);
});

for (const [kind, number] of [["a card number with spaces", "4111 1111 1111 1111"], ["a social security number", "078-05-1120"]] as const) {
  check(`${kind} in a text is kept back`, async (site) => {
    const page = await opened(site, `<button>Pay with ${number}</button>`);
    await page.click("button");
    const [click] = await site.events(1, "click");
    assert.match(said(click), /Pay with \[redacted:/);
    assert.ok(site.requests().every(({ body }) => !body.includes(number)));
  });
}

check("a click that leads to another site", async (site) => {
  const page = await opened(site, `<a href="http://other.localhost:1/">other</a>`);
  await page.click("a");
  await site.events(1, "outbound_click");
});

check("a middle click that leads to another site", async (site) => {
  const page = await opened(site, `<a href="http://other.localhost:1/">other</a>`);
  await page.click("a", { button: "middle" });
  await site.events(1, "outbound_click");
});

for (const [name, link] of [["by its ending", 'href="/file.pdf"'], ["by an ending in capitals before a query", 'href="/File.PDF?v=2#page"'], ["by its attribute", 'href="/plain" download']] as const) {
  check(`a download that is known ${name}`, async (site) => {
    site.serve("/file.pdf", "x").serve("/File.PDF", "x").serve("/plain", "x");
    const page = await opened(site, `<a ${link}>file</a>`);
    await page.click("a");
    await site.events(1, "file_download");
  });
}

const FORM = '<form action="/thanks"><input name="who" value="Jane Doe"><button>Send</button></form>';

check("a form that is sent", async (site) => {
  const page = await opened(site, FORM);
  await page.click("button");
  await site.events(1, "form_submit");
});

check("nothing of what is in a form", async (site) => {
  const page = await opened(site, FORM);
  await page.type("input", " and Jim");
  await page.click("button");
  await site.events(1, "form_submit");
  assert.ok(!/Jane|Jim/.test(JSON.stringify(site.requests().map(({ body }) => body))));
});

check("a form that a script sends", async (site) => {
  const page = await opened(site, FORM);
  await page.evaluate("document.forms[0].submit()");
  await site.events(1, "form_submit");
});

check("clicks in a rage", async (site) => {
  const page = await opened(site, `<div id="dead" style="width:100px;height:50px"></div>`);
  await page.click("#dead", { count: 5, delay: 20 });
  await site.events(1, "rage_click");
});

check("a text that is copied", async (site) => {
  const page = await opened(site, `<p>Some words</p>`);
  await page.evaluate("getSelection().selectAllChildren(document.querySelector('p')); document.execCommand('copy')");
  await site.events(1, "text_copy");
});

check("how far somebody scrolled, while reading", async (site) => {
  const page = await opened(site, `<div style="height:5000px">tall</div>`);
  await page.evaluate("scrollTo(0, 2600)");
  await site.events(2, "scroll_depth");
});

check("how far somebody scrolled, at the end", async (site) => {
  const page = await opened(site, `<div style="height:5000px">tall</div>`);
  await page.evaluate("scrollTo(0, 2600)");
  await site.events(2, "scroll_depth");
  await page.goto("about:blank");
  const [leave] = await site.events(1, "page_leave");
  assert.match(said(leave), /"scroll_percent":[5-7]\d/);
});

check("how long somebody was there, at the end", async (site) => {
  const page = await opened(site);
  await page.mouse.move(5, 5);
  await pause(700);
  await page.goto("about:blank");
  const [leave] = await site.events(1, "page_leave");
  assert.ok((leave?.raw_event_data.data["engaged_ms"] as number) >= 600, said(leave));
});

check("errors of the page's scripts", async (site) => {
  site.serve("/", site.script() + site.script("", "errors"));
  const page = await site.context.newPage();
  await page.goto(site.url());
  await page.evaluate("setTimeout(() => { throw new Error('broken') })");
  await site.events(1, "js_error");
});

check("the browser's own measurements", async (site) => {
  const page = await opened(site, `<h1>Big</h1>${site.script("", "vitals")}`);
  await page.goto("about:blank");
  await site.events(1, "web_vitals");
});

check("the last click before the tab is closed", async (site) => {
  await closed(site, "click", async (one) => {
    const page = await opened(one, "<button>x</button>");
    await page.click("button");
    return page;
  });
});

check("a page view of 150 ms", async (site) => {
  await closed(site, "page_view", async (one) => {
    one.serve("/", one.script());
    const page = await one.open();
    await pause(150);
    return page;
  });
});

check("what a collector refused for now, from the same page", async (site) => {
  site.failures = [503];
  await opened(site);
  assert.equal(site.requests().length, 2);
});

check("what was not delivered, with the next visit", async (site) => {
  site.down = 503;
  site.serve("/", site.script());
  const page = await site.open();
  await until(() => site.requests()[0], "an attempt");
  await page.close();
  site.down = null;
  await site.open();
  await site.events(2, "page_view");
});

check("what was made without a network", async (site) => {
  const page = await opened(site);
  await site.offline(page, true);
  await page.evaluate("evothesis('track', 'alone')");
  await pause(1000);
  assert.equal(await site.count("alone"), 0);
  await site.offline(page, false);
  await site.events(1, "alone");
});

check("one page view though the script is there twice", async (site) => {
  const page = await opened(site, site.script());
  assert.equal(await views(site, page), 1);
});

check("storage and cookies that throw", async (site) => {
  await opened(site, "", "/", (page) =>
    page.evaluateOnNewDocument(`for (const name of ["localStorage", "sessionStorage"]) Object.defineProperty(window, name, { get() { throw new DOMException("denied", "SecurityError") } });
      Object.defineProperty(document, "cookie", { get() { throw new DOMException("denied") }, set() { throw new DOMException("denied") } })`),
  );
});

for (const [name, signal] of [["Do Not Track", "doNotTrack: { get: () => '1' }"], ["Global Privacy Control", "globalPrivacyControl: { get: () => true }"]] as const) {
  check(`${name} is an answer`, async (site) => {
    site.serve("/", site.script());
    await site.open("/", (page) => page.evaluateOnNewDocument(`Object.defineProperties(navigator, { ${signal} })`));
    await pause(1500);
    assert.equal(site.requests().length, 0);
  });
}
