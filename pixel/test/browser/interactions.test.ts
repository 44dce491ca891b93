import assert from "node:assert/strict";
import type { Page } from "puppeteer-core";
import { scenario, type Site, type Stored, until } from "./harness";

const of = (events: Stored[], type: string): Stored[] => events.filter(({ event_type }) => event_type === type);
const data = (event: Stored | undefined): Record<string, unknown> => event?.raw_event_data.data ?? {};

async function opened(site: Site, body: string, options = ""): Promise<Page> {
  site.serve("/", site.script(options) + body);
  const page = await site.open();
  await site.events(1, "page_view");
  return page;
}

scenario("a click on something inside a button or a link is a click on that", async (site) => {
  const page = await opened(site, `<button id="buy"><span>Buy now</span></button><a href="#x"><h1>Title</h1></a><svg width="50" height="50"><a href="#svg"><rect id="rect" width="50" height="50"/></a></svg>`);
  for (const target of ["span", "h1", "#rect"]) await page.click(target);
  const clicks = await site.events(3, "click");
  assert.deepEqual(clicks.map((click) => data(click)["tag"]), ["button", "a", "a"]);
  assert.deepEqual([data(clicks[0])["text"], data(clicks[0])["selector"]], ["Buy now", "#buy"]);
  assert.deepEqual(clicks.slice(1).map((click) => data(click)["href"]), [site.url("/#x"), site.url("/#svg")]);
});

scenario("by keyboard, by label or by mouse, each is one click", async (site) => {
  const page = await opened(site, `<a id="a" href="#x">link</a><button id="b">button</button><label id="l">Agree <input type="checkbox"></label>`);
  await page.focus("#a");
  await page.keyboard.press("Enter");
  await page.focus("#b");
  await page.keyboard.press(" ");
  await page.click("#l", { offset: { x: 3, y: 3 } });
  await site.events(3, "click");
  assert.equal(of(await site.settled(page), "click").length, 3);
});

scenario("a right click is none, and what the page keeps to itself is neither seen nor read", async (site) => {
  const page = await opened(site, `<button id="r">r</button><div data-evothesis-ignore><button id="i">secret</button></div><div data-evothesis-mask><button id="m">private</button></div><div id="e" contenteditable>typed</div>`);
  await page.click("#r", { button: "right" });
  await page.click("#i");
  await page.click("#m");
  await page.click("#e");
  await site.events(2, "click");
  const clicks = of(await site.settled(page), "click");
  assert.deepEqual(clicks.map((click) => [data(click)["id"], data(click)["text"]]), [["m", undefined], ["e", undefined]]);
});

scenario("a link that leads away, to a file or to a person is known for what it is", async (site) => {
  site.serve("/file.pdf", "x").serve("/Report.PDF", "x");
  const links = { out: "http://elsewhere.example/p?q=1", file: "/file.pdf", upper: "/Report.PDF?v=2#page", named: "/plain", mail: "mailto:jane@mail.example", phone: "tel:+4930901820", own: "#own" };
  const page = await opened(site, Object.entries(links).map(([id, href]) => `<a id="${id}" href="${href}" ${id === "named" ? "download" : ""}>${id}</a> `).join("") + `<script>document.addEventListener("click", (event) => event.preventDefault())</script>`);
  for (const id of Object.keys(links)) await page.click(`#${id}`);
  await until(async () => (await site.stored()).length > 7, "all clicks");
  const events = (await site.settled(page)).filter((event) => data(event)["id"]);
  assert.deepEqual(events.map((event) => [data(event)["id"], event.event_type, data(event)["href"] ?? null]), [
    ["out", "outbound_click", links.out],
    ["file", "file_download", site.url("/file.pdf")],
    ["upper", "file_download", site.url("/Report.PDF?v=2#page")],
    ["named", "file_download", site.url("/plain")],
    ["mail", "click", "mailto:"],
    ["phone", "click", "tel:"],
    ["own", "click", site.url("/#own")],
  ]);
  assert.equal(page.url(), site.url());
  assert.ok(!JSON.stringify(events).includes("jane"));
});

scenario("a middle click counts once, and leaves the page where it is", async (site) => {
  site.serve("/next", "next");
  const page = await opened(site, `<a id="a" href="/next">next</a>`);
  await page.click("#a", { button: "middle" });
  await site.events(1, "click");
  assert.equal(of(await site.settled(page), "click").length, 1);
  assert.equal(page.url(), site.url());
});

scenario("a link that opens in another tab or window is one event, and the page stays", async (site) => {
  const page = await opened(site, ["plain", "blank"].map((id) => `<a id="${id}" href="http://other.localhost:1/${id}" ${id === "blank" ? 'target="_blank"' : ""}>${id}</a> `).join(""));
  for (const key of ["Control", "Shift"] as const) {
    await page.keyboard.down(key);
    await page.click("#plain");
    await page.keyboard.up(key);
    await page.bringToFront();
  }
  await page.click("#blank");
  await site.events(3, "outbound_click");
  await page.bringToFront();
  assert.equal(of(await site.settled(page), "outbound_click").length, 3);
  assert.equal(page.url(), site.url());
});

scenario("a form is known by its fields, and nothing of what is in them", async (site) => {
  const page = await opened(
    site,
    `<form id="f" action="/thanks?token=abc"><input name="name" value="Jane"><input name="action" value="x"><input type="password" name="pw"><select name="s"><option>1</select><textarea name="t">text</textarea><input type="hidden" name="h" value="y"><button id="go">Go</button></form>
     <script>document.querySelector("#f").addEventListener("submit", (event) => event.preventDefault())</script>`,
  );
  await page.type("[name=name]", " Doe");
  await page.click("#go");
  const [submit] = await site.events(1, "form_submit");
  assert.deepEqual(data(submit)["fields"], [
    { field: "name", type: "text" }, { field: "action", type: "text" }, { field: "pw", type: "password" },
    { field: "s", type: "select-one" }, { field: "t", type: "textarea" },
  ]);
  assert.equal(data(submit)["action"], site.url("/thanks?token=[redacted:field]"));
  assert.ok((data(submit)["time_ms"] as number) > 0);
  assert.ok(!/Jane|Doe|text"|"y"/.test(JSON.stringify(data(submit)).replace(/"type":"[^"]*"/g, "")));
});

scenario("a form that a script sends is seen, and one that is not valid too", async (site) => {
  const page = await opened(site, `<iframe name="x"></iframe><form id="f" target="x"><input name="email" type="email" required><input name="n" required><button id="go">Go</button></form>`);
  await page.click("#go");
  const [invalid] = await site.events(1, "form_invalid");
  assert.deepEqual(data(invalid)["invalid"], ["email", "n"]);
  await page.evaluate("document.querySelector('#f').submit()");
  await site.events(1, "form_submit");
});

scenario("a selection is told once, when it is done, and a copy when it is made", async (site) => {
  const page = await opened(site, `<p id="p">Some words to select, with 4111 1111 1111 1111 in them</p><textarea id="t">typed secret</textarea>`);
  await page.evaluate(`const range = document.createRange(); range.selectNodeContents(document.querySelector("#p")); for (let i = 0; i < 5; i++) { getSelection().removeAllRanges(); getSelection().addRange(range) }`);
  const [select] = await site.events(1, "text_select");
  assert.deepEqual(data(select), { length: 54, text: "Some words to select, with [redacted:card] in them" });
  await page.evaluate("document.execCommand('copy'); document.querySelector('#p').dispatchEvent(new ClipboardEvent('copy', { bubbles: true }))");
  await site.events(1, "text_copy");
  await page.focus("#t");
  await page.evaluate("document.querySelector('#t').select()");
  const events = await site.settled(page);
  assert.equal(of(events, "text_select").length, 1);
  assert.ok(!JSON.stringify(events).includes("typed secret"));
});

scenario("a page is scrolled by quarters, each once, and as far as it goes", async (site) => {
  const page = await opened(site, `<div style="height: 5000px">tall</div>`);
  for (const part of [0.3, 0.6, 0.2, 1]) {
    await page.evaluate(`scrollTo(0, document.documentElement.scrollHeight * ${String(part)})`);
    await page.evaluate("new Promise((go) => requestAnimationFrame(() => requestAnimationFrame(go)))");
  }
  const events = await site.events(4, "scroll_depth");
  assert.deepEqual(events.map((event) => data(event)["percent"]), [25, 50, 75, 100]);
  await page.goto("about:blank");
  const [leave] = await site.events(1, "page_leave");
  assert.equal(data(leave)["scroll_percent"], 100);
});

scenario("a page that fits its window was never scrolled", async (site) => {
  const page = await opened(site, `<div style="height: 100px; overflow: auto"><div style="height: 1000px">inner</div></div>`);
  await page.evaluate("document.querySelector('div').scrollTop = 900");
  assert.equal(of(await site.settled(page), "scroll_depth").length, 0);
});

scenario("clicks that nothing answers are rage, and nothing else is", async (site) => {
  const page = await opened(site, `<div id="dead" style="width:100px;height:50px"></div><p id="p">Three words here</p><button id="plus">+</button><output id="n">0</output><button id="idle">idle</button><script>document.querySelector("#plus").addEventListener("click", () => { document.querySelector("#n").textContent++ })</script>`);
  await page.click("#dead", { count: 5, delay: 10 });
  const [rage] = await site.events(1, "rage_click");
  assert.equal(data(rage)["selector"], "#dead");
  await page.click("#p", { count: 3 });
  await until(() => page.evaluate("String(getSelection()).length"), "the selection");
  await new Promise((go) => setTimeout(go, 1000));
  await page.click("#plus", { count: 6 });
  await new Promise((go) => setTimeout(go, 1000));
  await page.evaluate("getSelection().removeAllRanges()");
  await page.click("#idle");
  await site.events(1, "dead_click");
  const events = await site.settled(page);
  assert.deepEqual([of(events, "rage_click").length, of(events, "dead_click").map((event) => data(event)["id"])], [1, ["idle"]]);
});

scenario("a pager that is clicked through, and a word that is clicked twice, are no rage", async (site) => {
  const page = await opened(site, `<button id="next">Next</button><p id="p">Word</p><ul id="list"></ul><script>let at = 0; document.querySelector("#next").addEventListener("click", () => { setTimeout(() => { document.querySelector("#list").innerHTML = "<li>" + ++at + "</li>" }, 50) })</script>`);
  await page.click("#next", { count: 5, delay: 30 });
  await until(() => page.evaluate("document.querySelector('li')?.textContent === '5'"), "the fifth page");
  await new Promise((go) => setTimeout(go, 1000));
  await page.click("#p", { count: 2 });
  await new Promise((go) => setTimeout(go, 1000));
  const events = await site.settled(page);
  assert.deepEqual([of(events, "rage_click").length, of(events, "dead_click").length], [0, 0]);
});

scenario("an element says itself what it means", async (site) => {
  const page = await opened(site, `<button data-track="Signup Start" data-track-plan="pro">x</button>`);
  await page.click("button");
  const [event] = await site.events(1, "signup_start");
  assert.deepEqual(data(event), { plan: "pro" });
});

scenario("two routes are each left after their own time", async (site) => {
  const page = await opened(site, "");
  await page.mouse.move(10, 10);
  await new Promise((go) => setTimeout(go, 1000));
  await page.evaluate("history.pushState({}, '', '/second')");
  await page.mouse.move(20, 20);
  await new Promise((go) => setTimeout(go, 500));
  await page.goto("about:blank");
  const [first, second] = (await site.events(2, "page_leave")).map((event) => data(event)["engaged_ms"] as number);
  assert.ok((first ?? 0) >= 900 && (first ?? 0) < 3000, String(first));
  assert.ok((second ?? 0) >= 400 && (second ?? 0) < (first ?? 0) + 1000, String(second));
});

scenario("hours in which the machine slept are a minute at most", async (site) => {
  site.serve("/", site.script());
  const page = await site.open("/", (tab) => tab.evaluateOnNewDocument("const real = performance.now.bind(performance); let slept = 0; performance.now = () => real() + slept; window.sleep1 = (ms) => { slept += ms }"));
  await site.events(1, "page_view");
  await page.mouse.move(10, 10);
  await page.evaluate("sleep1(8 * 3600 * 1000)");
  await page.mouse.move(20, 20);
  await page.goto("about:blank");
  const [leave] = await site.events(1, "page_leave");
  assert.ok((data(leave)["engaged_ms"] as number) <= 65_000, JSON.stringify(data(leave)));
});

scenario("errors are told, each once, where the page asks for it", async (site) => {
  site.serve("/", `${site.script()}${site.script("", "errors")}`);
  const page = await site.context.newPage();
  await page.goto(site.url());
  await site.events(1, "page_view");
  await page.evaluate(`for (let i = 0; i < 100; i++) setTimeout(() => { throw new Error("jane@mail.example broke it") }); Promise.reject(new TypeError("late")); Promise.reject("text"); dispatchEvent(new ErrorEvent("error", { message: "Script error." })); dispatchEvent(new ErrorEvent("error", { message: "ResizeObserver loop limit exceeded" }))`);
  await site.events(3, "js_error");
  const messages = of(await site.settled(page), "js_error").map((event) => String(data(event)["message"])).sort();
  assert.equal(messages.length, 3);
  assert.match(messages.join(), /TypeError: late/);
  assert.match(messages.join(), /\[redacted:email\] broke it/);
});

scenario("the browser's own measurements come in one event", async (site) => {
  site.serve("/", `<h1>big</h1><button>x</button>${site.script()}${site.script("", "vitals")}`);
  const page = await site.open();
  await site.events(1, "page_view");
  await page.click("button");
  await page.goto("about:blank");
  const [vitals] = await site.events(1, "web_vitals");
  assert.ok("fcp" in data(vitals) && "ttfb" in data(vitals), JSON.stringify(data(vitals)));
});

scenario(
  "of a page that moves under the visitor's hand all five are measured; of one that nobody saw load, none",
  async (site) => {
    const body = `<h1>big</h1><button onclick="document.querySelector('#late').style.height = '300px'; for (const end = performance.now() + 40; performance.now() < end; );">x</button><div id="late"></div><p>moves</p>${site.script()}${site.script("", "vitals")}<script>setTimeout(() => { document.querySelector("h1").style.marginTop = "200px" }, 100)</script>`;
    site.serve("/", body).serve("/unseen", body);
    const page = await site.open();
    await site.events(1, "page_view");
    await page.click("button");
    await page.evaluate("new Promise((go) => requestAnimationFrame(() => setTimeout(go, 100)))");
    await page.goto("about:blank");
    const [vitals] = await site.events(1, "web_vitals");
    assert.deepEqual(Object.keys(data(vitals)).filter((name) => !name.endsWith("_rating")).sort(), ["cls", "fcp", "inp", "lcp", "ttfb", "url"]);
    await site.open("/unseen", (tab) => tab.evaluateOnNewDocument("const begins = performance.now(); for (const [name, unseen] of [['hidden', true], ['visibilityState', 'hidden']]) { const { get } = Object.getOwnPropertyDescriptor(Document.prototype, name); Object.defineProperty(document, name, { get: () => performance.now() - begins < 500 ? unseen : get.call(document) }); } setTimeout(() => document.dispatchEvent(new Event('visibilitychange')), 600)")).then((unseen) => site.events(2, "page_view").then(() => unseen.goto("about:blank")));
    await site.events(2, "page_leave");
    assert.equal(await site.count("web_vitals"), 1);
  },
  "chrome",
);
