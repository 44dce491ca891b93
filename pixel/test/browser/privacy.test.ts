import assert from "node:assert/strict";
import type { Page } from "puppeteer-core";
import { scenario, type Site } from "./harness";

const kept = (page: Page): Promise<unknown> => page.evaluate("[...Object.keys(localStorage), ...Object.keys(sessionStorage), document.cookie].filter(Boolean)");
const act = async (page: Page): Promise<void> => {
  await page.evaluate("document.querySelector('button')?.click(); scrollTo(0, 500); window.evothesis('track', 'x')");
  // As long as a first page view may take, and a half.
  await new Promise((go) => setTimeout(go, 1500));
};

async function opened(site: Site, options = "", more = "", prepare?: (page: Page) => Promise<unknown>): Promise<Page> {
  site.serve("/", `${more}${site.script(options)}<button>x</button><div style="height:3000px"></div>`);
  return site.open("/", prepare);
}

for (const [name, code] of Object.entries({
  "Do Not Track": "Object.defineProperty(navigator, 'doNotTrack', { get: () => '1' })",
  "Global Privacy Control": "Object.defineProperty(navigator, 'globalPrivacyControl', { get: () => true })",
})) {
  scenario(`with ${name} nothing is asked and nothing is kept`, async (site) => {
    const page = await opened(site, "", "", (page) => page.evaluateOnNewDocument(code));
    await act(page);
    await page.reload();
    await act(page);
    assert.deepEqual([site.requests().length, await kept(page)], [0, []]);
  });
}

scenario("a signal that says no such thing changes nothing", async (site) => {
  await opened(site, "", "", (page) => page.evaluateOnNewDocument("Object.defineProperty(navigator, 'doNotTrack', { get: () => '0' }); Object.defineProperty(navigator, 'globalPrivacyControl', { get: () => false })"));
  await site.events(1, "page_view");
});

scenario("before a yes nothing leaves the page, and a no leaves nothing behind", async (site) => {
  const page = await opened(site, 'data-consent="opt-in"');
  await act(page);
  assert.deepEqual([site.requests().length, await kept(page)], [0, []]);
  await page.evaluate("evothesis.consent({ analytics: false })");
  await act(page);
  await page.reload();
  await act(page);
  assert.deepEqual([site.requests().length, await kept(page)], [0, []]);
});

scenario("with a yes comes what was held back, with its own times and addresses; it holds on the next page", async (site) => {
  const page = await opened(site, 'data-consent="opt-in"');
  await page.evaluate("document.querySelector('button').click()");
  await new Promise((go) => setTimeout(go, 600));
  await page.evaluate("evothesis('consent', { analytics: true })");
  const events = await site.events(3);
  assert.deepEqual(events.slice(0, 3).map(({ event_type }) => event_type), ["page_view", "click", "consent"]);
  assert.ok(Date.parse(events[2]?.raw_event_data.timestamp ?? "") - Date.parse(events[0]?.raw_event_data.timestamp ?? "") >= 500);
  await page.reload();
  const views = await site.events(2, "page_view");
  assert.equal(new Set(views.map(({ visitor_id }) => visitor_id)).size, 1);
});

scenario("a yes that is taken back in one tab stops all of them at once", async (site) => {
  const first = await opened(site, 'data-consent="opt-in"');
  await first.evaluate("evothesis.consent({ analytics: true })");
  await site.events(1, "page_view");
  const second = await site.open();
  await site.events(2, "page_view");
  await first.evaluate("evothesis.consent({ analytics: false })");
  const before = site.requests().length;
  await act(second);
  await act(first);
  assert.deepEqual([site.requests().length - before, await kept(first)], [0, []]);
});

scenario("an objection is remembered by its word alone where silence means yes", async (site) => {
  const page = await opened(site);
  await site.events(1, "page_view");
  await page.evaluate("evothesis.consent({ analytics: false })");
  const before = site.requests().length;
  await page.reload();
  await act(page);
  assert.deepEqual([site.requests().length - before, await page.evaluate("JSON.stringify(localStorage)")], [0, '{"evothesis.consent":"denied"}']);
});

scenario("without cookies a page is counted, and nothing is kept", async (site) => {
  const page = await opened(site, 'data-consent="cookieless"');
  await site.events(1, "page_view");
  await page.reload();
  const views = await site.events(2, "page_view");
  assert.equal(new Set(views.map(({ visitor_id }) => visitor_id)).size, 2);
  assert.deepEqual(await kept(page), []);
});

const CONSENT_MODE = {
  pending: `window.dataLayer = []; function gtag() { dataLayer.push(arguments) } gtag("consent", "default", { analytics_storage: "denied" })`,
  say: (yes: boolean) => `gtag("consent", "update", { analytics_storage: "${yes ? "granted" : "denied"}" })`,
};

const PLATFORMS: Record<string, { pending: string; say: (yes: boolean) => string; source?: string }> = {
  tcf: {
    source: "tcf 10.5",
    pending: `window.__tcfapi = (command, version, listener) => { window.tell = listener; listener({ eventStatus: "cmpuishown", purpose: { consents: {} } }, true) }`,
    say: (yes: boolean) => `tell({ eventStatus: "useractioncomplete", cmpId: 10, cmpVersion: 5, purpose: { consents: { 1: ${String(yes)}, 8: ${String(yes)} } } }, true)`,
  },
  onetrust: {
    pending: `window.OnetrustActiveGroups = ",C0001,"; window.OneTrust = { IsAlertBoxClosed: () => window.closed1 }`,
    say: (yes: boolean) => `closed1 = true; OnetrustActiveGroups = ",C0001,${yes ? "C0002," : ""}"; dispatchEvent(new CustomEvent("OneTrustGroupsUpdated"))`,
  },
  cookiebot: {
    pending: `window.Cookiebot = { hasResponse: false, consent: {} }`,
    say: (yes: boolean) => `Cookiebot.hasResponse = true; Cookiebot.consent.statistics = ${String(yes)}; dispatchEvent(new Event("${yes ? "CookiebotOnAccept" : "CookiebotOnDecline"}"))`,
  },
  usercentrics: {
    pending: `window.UC_UI = { isInitialized: () => window.ready1, getServicesBaseInfo: () => [{ name: "Evothesis", consent: { status: window.yes1 } }] }`,
    say: (yes: boolean) => `ready1 = true; yes1 = ${String(yes)}; dispatchEvent(new Event("UC_UI_INITIALIZED"))`,
  },
  klaro: {
    pending: `window.manager1 = { confirmed: false, consents: {}, watch(watcher) { window.watcher1 = watcher } }; window.klaro = { getManager: () => manager1 }`,
    say: (yes: boolean) => `manager1.confirmed = true; manager1.consents.evothesis = ${String(yes)}; watcher1.update()`,
  },
  "consent-mode": CONSENT_MODE,
};

for (const [name, { pending, say, source = name }] of Object.entries(PLATFORMS)) {
  scenario(
    `${name} is waited for, heard when it says yes, and heard when it says no`,
    async (site) => {
      const page = await opened(site, 'data-consent="opt-in"', `<script>${pending}</script>${site.script("", "consent")}`);
      await act(page);
      assert.deepEqual([site.requests().length, await kept(page)], [0, []]);
      await page.evaluate(say(true));
      const [consent] = await site.events(1, "consent");
      assert.deepEqual(consent?.raw_event_data.data, { analytics: true, source });
      await site.events(1, "page_view");
      await page.evaluate(say(false));
      const before = site.requests().length;
      await act(page);
      assert.deepEqual([site.requests().length - before, await kept(page)], [0, []]);
    },
    "chrome",
  );
}

scenario(
  "a no in Google's layer is heard, whatever a tag manager does to the layer",
  async (site) => {
    const page = await opened(site, 'data-consent="opt-in"', `<script>${CONSENT_MODE.pending}; dataLayer.push(null, "text", ["consent"], { event: "x" })</script>${site.script("", "consent")}`);
    await page.evaluate(`${CONSENT_MODE.say(true)}; dataLayer.push(["consent", "update"]); dataLayer.splice(0, 6)`);
    await site.events(1, "page_view");
    await page.evaluate(CONSENT_MODE.say(false));
    const before = site.requests().length;
    await act(page);
    assert.deepEqual([site.requests().length - before, await kept(page)], [0, []]);
  },
  "chrome",
);

scenario(
  "a platform that comes late is heard all the same, and one that says nobody need be asked",
  async (site) => {
    const page = await opened(site, 'data-consent="opt-in"', site.script("", "consent"));
    await new Promise((go) => setTimeout(go, 1200));
    await page.evaluate(`window.__tcfapi = (command, version, listener) => { listener({ eventStatus: "tcloaded", gdprApplies: false }, true) }`);
    await site.events(1, "page_view");
  },
  "chrome",
);

scenario("two profiles are two visitors, and a storage that was emptied is nobody", async (site) => {
  const page = await opened(site);
  await site.events(1, "page_view");
  await page.reload();
  await site.events(2, "page_view");
  await page.evaluate("localStorage.clear()");
  await page.reload();
  const visitors = (await site.events(3, "page_view")).map(({ visitor_id }) => visitor_id);
  assert.equal(visitors[0], visitors[1]);
  assert.notEqual(visitors[1], visitors[2]);
});

scenario("what a page shows of a person is masked before it leaves", async (site) => {
  site.serve("/u", `<title>Jane jane@mail.example</title>${site.script()}<button>Card 4111 1111 1111 1111, SSN 219-09-9999</button><button id="ok" data-track="order" data-track-api-key="plain1">Order 3f1c0e5a-9b7d-42c6-8e0a-1b2c3d4e5f60 1234567890123456 v123-45-67890</button>`);
  const page = await site.open("/u?email=jane%40mail.example&token=swordfish&q=1#access_token=xyzzy");
  await page.click("button");
  await page.click("#ok");
  await page.evaluate("evothesis('track', 'x', { password: 'hunter2', note: 'call +49 30 901820' })");
  await page.evaluate("evothesis('page', { iban: 'plain2' })");
  await site.events(6);
  // No random id can happen to hold any of these.
  const sent = site.requests().map(({ body }) => body).join();
  for (const secret of ["jane", "4111 1111", "219-09", "hunter2", "plain1", "plain2", "901820", "swordfish", "xyzzy"]) assert.ok(!sent.includes(secret), secret);
  for (const harmless of ["3f1c0e5a-9b7d-42c6-8e0a-1b2c3d4e5f60", "1234567890123456", "v123-45-67890", "q=1"]) assert.ok(sent.includes(harmless), harmless);
});

scenario("whatever the collector sets is not sent back", async (site) => {
  const page = await opened(site);
  await site.events(1, "page_view");
  await page.evaluate("evothesis('track', 'again')");
  await site.events(1, "again");
  assert.ok(site.requests().every(({ headers }) => headers.cookie === undefined && headers["if-none-match"] === undefined));
});

scenario("a policy for contents, trusted types and a frozen history are no trouble", async (site) => {
  site.serve("/csp", `${site.script()}<button>x</button>`);
  const page = await site.open("/csp");
  await page.evaluate("document.querySelector('button').click()");
  await site.events(2);
  site.serve("/odd", `<script>Array.prototype.toJSON = function () { return "broken" }; Object.prototype.extra = 1; Object.freeze(history)</script>${site.script()}`);
  await site.open("/odd");
  const [, view] = await site.events(2, "page_view");
  assert.ok(Array.isArray(view?.raw_event_data.data["screen"]));
});

scenario("what was done right before another tab was told no is kept nowhere", async (site) => {
  const page = await opened(site);
  await site.events(1, "page_view");
  // As the other tab does it, before this one comes to write; it is looked at after that, and before it would be sent.
  const meanwhile = await page.evaluate("evothesis('track', 'secret'); localStorage.clear(); localStorage.setItem('evothesis.consent', 'denied'); new Promise((go) => setTimeout(() => go(Object.keys(localStorage)), 50))");
  assert.deepEqual(meanwhile, ["evothesis.consent"]);
  await new Promise((go) => setTimeout(go, 1000));
  assert.deepEqual(await kept(page), ["evothesis.consent"]);
  assert.equal(await site.count("secret"), 0);
});
