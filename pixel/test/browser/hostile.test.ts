/* Pages that are broken, odd or hostile: nothing private is told, nothing is lost, and nothing shows. */
import assert from "node:assert/strict";
import type { Page } from "puppeteer-core";
import { scenario, type Site, type Stored, until } from "./harness";

const of = (events: Stored[], type: string): Stored[] => events.filter(({ event_type }) => event_type === type);
const data = (event: Stored | undefined): Record<string, unknown> => event?.raw_event_data.data ?? {};
const pause = (ms: number): Promise<void> => new Promise((go) => setTimeout(go, ms));

async function opened(site: Site, body: string, options = "", before = ""): Promise<Page> {
  site.serve("/", before + site.script(options) + body);
  const page = await site.open();
  await site.events(1, "page_view");
  return page;
}

for (const [name, hidden] of Object.entries({
  "what somebody types": `<div contenteditable>swordfish</div>`,
  "what is masked": `<p data-evothesis-mask>swordfish</p>`,
  "what is ignored": `<p data-evothesis-ignore>swordfish</p>`,
})) {
  scenario(`a selection that goes over ${name} is told by its length alone`, async (site) => {
    const page = await opened(site, `<p id="from">before this</p>${hidden}<p id="to">after this</p>`);
    await page.evaluate(`getSelection().setBaseAndExtent(document.querySelector("#from").firstChild, 0, document.querySelector("#to").firstChild, 5)`);
    const [selected] = await site.events(1, "text_select");
    assert.deepEqual([data(selected)["text"], (data(selected)["length"] as number) > 20], [undefined, true]);
    assert.ok(site.requests().every(({ body }) => !body.includes("swordfish")));
  });
}

scenario("of a field in the shadow of a component nothing is told", async (site) => {
  const page = await opened(site, `<p id="p">three words here</p><x-field></x-field><script>customElements.define("x-field", class extends HTMLElement { connectedCallback() { this.attachShadow({ mode: "open" }).innerHTML = "<input value='swordfish in here'>" } })</script>`);
  await page.evaluate("const field = document.querySelector('x-field').shadowRoot.firstChild; field.focus(); field.select(); document.execCommand('copy')");
  await pause(1000);
  await page.evaluate("field.blur(); getSelection().selectAllChildren(document.querySelector('#p'))");
  await site.events(1, "text_select");
  assert.equal(of(await site.settled(page), "text_copy").length, 0);
  assert.ok(site.requests().every(({ body }) => !body.includes("swordfish")));
});

scenario("what a page keeps to itself it keeps in its components too, and field by field", async (site) => {
  const inside = (id: string, mark: string): string => `<div id="${id}" ${mark}></div><script>document.querySelector("#${id}").attachShadow({ mode: "open" }).innerHTML = "<button>swordfish</button>"</script>`;
  const page = await opened(site, `${inside("ignored", "data-evothesis-ignore")}${inside("masked", "data-evothesis-mask")}<button id="outer">Pay <b data-evothesis-ignore>swordfish</b></button><button id="drawn" aria-label="Search"><style>.swordfish {}</style></button><form><input name="open"><div data-evothesis-ignore><input name="swordfish"></div><button id="send">Send</button></form><script>document.querySelector("form").addEventListener("submit", (event) => { event.preventDefault() })</script>`);
  for (const id of ["ignored", "masked"]) await page.evaluate(`document.querySelector("#${id}").shadowRoot.firstChild.click()`);
  await page.evaluate("document.querySelector('#outer').click()");
  for (const id of ["drawn", "send"]) await page.click(`#${id}`);
  const [form] = await site.events(1, "form_submit");
  const clicks = of(await site.settled(page), "click");
  assert.deepEqual(clicks.map((click) => data(click)["text"]), [undefined, undefined, "Search", "Send"]);
  assert.deepEqual(data(form)["fields"], [{ field: "open", type: "text" }]);
  assert.ok(site.requests().every(({ body }) => !body.includes("swordfish")));
});

scenario("whatever a page hands over, what comes after it arrives, and the page goes on", async (site) => {
  const page = await opened(site, `<div id="x">x</div>`);
  await page.evaluate(`
    const loop = {}; loop.self = loop;
    let wide = "leaf"; for (let level = 0; level < 30; level++) wide = [wide, wide, wide];
    const odd = { get broken() { throw new Error("broken") } };
    const began = performance.now();
    for (const data of [{ big: 7n }, { loop }, { window }, { element: document.body }, { wide }, { long: "x ".repeat(5e6) }, odd, 7, "text", null, [1], { symbol: Symbol("x") }, { when: new Date(NaN) }]) evothesis("track", "odd", data);
    evothesis("track", "odd", { list: Array(1e5).fill(1) }); evothesis("track", "odd", { numbers: new Float32Array(2e5) }); evothesis("track", "odd", { texts: Array(1000).fill("4 ".repeat(4000)) });
    window.took = performance.now() - began;
    evothesis(); evothesis(null); evothesis("track"); evothesis("track", { name: 1 }); evothesis("consent"); evothesis.consent(); evothesis("nonsense", 1)`);
  const events = await site.settled(page);
  assert.equal(data(of(events, "odd")[0])["big"], "7");
  assert.ok(of(events, "odd").length >= 9, String(of(events, "odd").length));
  assert.ok((await page.evaluate("took")) as number < 2000);
});

for (const asked of ["-1", "0.001", "Infinity", "nonsense", "99999999999"]) {
  scenario(`a collector that says "Retry-After: ${asked}" is asked again after a while`, async (site) => {
    site.failures = Array(30).fill({ status: 503, headers: { "retry-after": asked } }) as Site["failures"];
    site.serve("/", site.script());
    const page = await site.open();
    await until(() => site.requests().length >= 1, "the first request");
    await pause(3000);
    const count = site.requests().length;
    assert.ok(count <= 4 && count >= (/Inf|999/.test(asked) ? 1 : 2), String(count));
    site.failures = [];
    await page.evaluate("dispatchEvent(new Event('online'))");
    await site.events(1, "page_view");
  });
}

scenario("a link that no browser can follow is clicked all the same, and a form that leads nowhere is sent", async (site) => {
  const page = await opened(site, `<a href="http://[broken">x</a><form action="http://[broken"><button>Send</button></form><form action="javascript:pay('swordfish')" id="script"><button>Pay</button></form><script>for (const kind of ["click", "submit"]) addEventListener(kind, (event) => { if (kind === "submit" || event.target.localName === "a") event.preventDefault() })</script>`);
  await page.evaluate("document.querySelector('a').click()");
  for (const button of ["form button", "#script button"]) await page.click(button);
  const forms = await site.events(2, "form_submit");
  assert.deepEqual(forms.map((form) => data(form)["action"]), [undefined, "javascript:"]);
  assert.equal(of(await site.settled(page), "click").length, 3);
});

scenario("a bad call that waits for the script keeps none of the others from being heard", async (site) => {
  await opened(site, "", 'data-consent="opt-in"', `<script>window.evothesis = { q: [[], ["track"], ["track", "early"], ["consent"], ["consent", { analytics: true, source: "mine" }], ["page"]] }</script>`);
  const events = await site.events(4);
  const [consent] = of(events, "consent");
  assert.deepEqual(data(consent), { analytics: true, source: "mine" });
  assert.deepEqual([consent?.url, consent?.raw_event_data.page_view_id.length], [site.url("/"), 36]);
  assert.equal(of(events, "early").length, 1);
});

scenario("who objects while the page is open is heard at once, and nothing more is kept", async (site) => {
  const page = await opened(site, "<button>x</button>");
  await page.evaluate("localStorage.clear(); sessionStorage.clear()");
  await page.evaluate("Object.defineProperty(navigator, 'globalPrivacyControl', { get: () => true })");
  const before = site.requests().length;
  await page.click("button");
  await page.evaluate("history.pushState({}, '', '/next')");
  await pause(1500);
  assert.equal(await page.evaluate("localStorage.length + sessionStorage.length"), 0);
  await page.goto("about:blank");
  assert.equal(site.requests().length, before);
});

scenario("an element that is named like the script is not taken for it", async (site) => {
  await opened(site, "", "", `<img name="currentScript" data-endpoint="http://elsewhere.localhost/" data-consent="opt-in">`);
});

scenario("where a page answers for the network in its own way, events go on being sent", async (site) => {
  site.serve("/", `<script>const real = fetch; window.answers = 0; window.fetch = (...call) => real(...call).then(({ status }) => { answers++; return { status, headers: new Headers() } })</script>${site.script()}`);
  const page = await site.open();
  await site.events(1, "page_view");
  for (const name of ["one", "two"]) {
    await page.evaluate(`evothesis("track", "${name}")`);
    await site.events(1, name);
  }
});

scenario(
  "a router that knows only the browser's newest way is counted",
  async (site) => {
    const page = await opened(site, `<script>navigation.addEventListener("navigate", (event) => { if (event.canIntercept) event.intercept({ handler() {} }) })</script>`);
    await page.evaluate("navigation.navigate('/second')");
    const views = await site.events(2, "page_view");
    assert.deepEqual(views.map(({ url }) => url), [site.url("/"), site.url("/second")]);
    assert.equal(of(await site.settled(page), "page_view").length, 2);
  },
  "chrome",
);

scenario("ids that another domain handed on leave the rest of the address as it was", async (site) => {
  for (const [path, left] of [["/?_evo=a.b.c&x=1#h", "/?x=1#h"], ["/?x=1&_evo=a.b.c&y=%20", "/?x=1&y=%20"], ["/?x=1&_evo=a.b.c", "/?x=1"], ["/?_evo=", "/"]] as const) {
    site.serve("/", site.script("", "domains") + site.script());
    const page = await site.open(path);
    await until(() => page.evaluate("!location.href.includes('_evo')"), "the address");
    assert.equal(page.url(), site.url(left));
  }
});

scenario("a page that reads or rewrites a link while it is followed finds it as it wrote it", async (site) => {
  const page = await opened(site, `<a href="http://other.localhost/">x</a><script>const link = document.querySelector("a"); link.addEventListener("click", () => { window.read = link.href }); addEventListener("click", (event) => { window.decorated = link.href; link.href = "http://third.localhost/"; event.preventDefault() })</script>`, "", site.script('data-domains="localhost"', "domains"));
  await page.click("a");
  await pause(100);
  assert.deepEqual(await page.evaluate("[read, decorated.includes('_evo='), link.href]"), ["http://other.localhost/", true, "http://third.localhost/"]);
});

scenario("what stands in boxes of their own is masked as if it stood alone, and so is what is parted by nothing", async (site) => {
  const boxes = ["<span>Visa</span><span>4111 1111 1111 1111</span><span>12/27</span>", "<div>jane@mail.example</div><div>2 unread</div>", "<i>Jane</i><b>+49 30 901820</b>", "<i>IBAN</i><b>DE89 3704 0044 0532 0130 00</b>", "jane@<wbr>mail<wbr>.example", "41<b>11 1111 1111</b> 1111"];
  const page = await opened(site, boxes.map((box, i) => `<button id="b${String(i)}">${box}</button>`).join(""));
  for (let i = 0; i < boxes.length; i++) await page.evaluate(`document.querySelector("#b${String(i)}").click()`);
  await site.events(boxes.length, "click");
  const sent = site.requests().map(({ body }) => body).join();
  for (const secret of ["4111 1111", "1111 1111", "jane@", "mail.example", "30 901820", "0532 0130"]) assert.ok(!sent.includes(secret), secret);
});

scenario("what is slotted into a component that keeps itself to itself is not read", async (site) => {
  const page = await opened(site, `<x-box><button>swordfish</button></x-box><script>customElements.define("x-box", class extends HTMLElement { connectedCallback() { this.attachShadow({ mode: "open" }).innerHTML = "<div data-evothesis-mask><slot></slot></div>" } })</script>`);
  await page.click("button");
  const [click] = await site.events(1, "click");
  assert.equal(data(click)["text"], undefined);
});

scenario("beside a field in which somebody types no text is read but of buttons", async (site) => {
  const page = await opened(site, `<textarea id="t"></textarea><pre id="p">swordfish</pre><button id="b">Send</button>`);
  await page.focus("#t");
  await page.evaluate("document.querySelector('#p').click(); document.querySelector('#b').click()");
  const clicks = await site.events(2, "click");
  assert.deepEqual(clicks.map((click) => data(click)["text"]), [undefined, "Send"]);
});

scenario("a page's own history keeps what it gives, and whoever wraps it later is asked", async (site) => {
  const page = await opened(site, "", "", `<script>const own = History.prototype.pushState; History.prototype.pushState = function (...call) { own.apply(this, call); return "mine" }</script>`);
  assert.equal(await page.evaluate("const before = History.prototype.pushState; let asked = 0; History.prototype.pushState = function (...call) { asked++; return before.apply(this, call) }; history.pushState({}, '', '/second') + asked"), "mine1");
  const views = await site.events(2, "page_view");
  assert.equal(views[1]?.url, site.url("/second"));
});

scenario("many events of one moment all arrive, however long they are", async (site) => {
  const page = await opened(site, "");
  await page.evaluate(`for (let i = 0; i < 40; i++) evothesis("track", "long", { i, text: ["x".repeat(7000), "y".repeat(7000), "z".repeat(7000)] })`);
  await site.events(40, "long");
});

scenario("a form is seen as it is before a page's own way to send it touches it", async (site) => {
  const page = await opened(site, `<form id="f" name="salary" action="/x"><input name="amount"></form><div data-evothesis-ignore><form id="i" name="secret"></form></div>`, "", `<script>HTMLFormElement.prototype.submit = function () { history.pushState({}, "", "/thanks"); this.remove() }</script>`);
  await page.evaluate("document.forms.f.submit(); document.forms.i.submit()");
  const [submit] = await site.events(1, "form_submit");
  assert.deepEqual([submit?.url, data(submit)["name"]], [site.url("/"), "salary"]);
});

scenario("a frame that is named like the script is none", async (site) => {
  await opened(site, "", "", `<iframe name="currentScript" sandbox srcdoc="x"></iframe>`);
  await site.events(1, "page_view");
});
