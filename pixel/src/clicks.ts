import { decorate } from "./domains";
import { isIgnored, selectorOf, textOf } from "./elements";
import { add, type Data } from "./outbox";
import { hear, safely } from "./safely";

/** What promises to do something when it is clicked. */
const PROMISES = "a,button,summary,[role=button],[role=link],[role=tab],[role=menuitem],[onclick]";
/** What can be meant by a click; inside it a click means the same. */
const TARGETS = `${PROMISES},area,input,select,textarea,label,[data-track]`;
const DOWNLOADS =
  /\.(pdf|xlsx?|docx?|pptx?|od[tspg]|txt|rtf|csv|zip|rar|7z|t?gz|tar|dmg|pkg|exe|msi|apk|deb|rpm|iso|mp[34]|m4[av]|wav|avi|mov|mkv|webm|epub|ics|jsonl?|parquet|xml)$/i;

const RAGE_CLICKS = 4;
const RAGE_MS = 1000;
const RAGE_PIXELS = 30;
/** A page that did not move for so long after a click does not answer it. */
const ANSWER_MS = 800;

/** Watch what is clicked. */
export function watchClicks(): void {
  let labelled: unknown;
  watcher = new MutationObserver(move);
  hear(window, "scroll visibilitychange pagehide play change input", move);
  hear(window, "click auxclick", (event: MouseEvent) => {
    // What the page itself puts in a shadow is its business; the first element of the path is what was clicked.
    const clicked = ((event as { composedPath?: () => EventTarget[] }).composedPath?.()[0] || event.target) as Element;
    // A right click opens a menu; the middle button opens a link.
    if (!(clicked instanceof Element) || (event.button !== 0 && event.button !== 1) || isIgnored(clicked)) return;
    // A label passes its click on to what it labels.
    if (labelled === clicked) {
      labelled = null;
      return;
    }
    const element = clicked.closest(TARGETS) || clicked;
    labelled = element instanceof HTMLLabelElement && element.control !== clicked ? element.control : null;
    const [type, data] = describe(element);
    decorate(element.closest("a"));
    add(type, data);
    const tracked = clicked.closest("[data-track]");
    if (tracked) add(nameOf(tracked.getAttribute("data-track") || ""), properties(tracked));
    if (event.button === 0) expectAnswer(element, clicked, event);
  });
}

/** The name of an event as the collector takes it. */
export function nameOf(name: string): string {
  return name.trim().replace(/([a-z])([A-Z])/g, "$1_$2").toLowerCase().replace(/[^a-z0-9]+/g, "_").replace(/^[^a-z]+|_$/g, "").slice(0, 50) || "custom";
}

/** What was clicked: the kind of event, the element that was meant, and where it leads. */
function describe(element: Element): [string, Data] {
  const data: Data = { tag: element.tagName.toLowerCase(), selector: selectorOf(element) };
  const id = element.getAttribute("id");
  if (id) data["id"] = id;
  const text = textOf(element);
  if (text) data["text"] = text;
  const link = element.closest("a,area");
  // In an SVG it is under another name.
  const href = link?.getAttribute("href") || link?.getAttribute("xlink:href");
  if (!link || !href) return ["click", data];
  const url = new URL(href, document.baseURI);
  if (!/^https?:$/.test(url.protocol)) {
    // Of mailto: and tel: only that it is one.
    data["href"] = url.protocol;
    return ["click", data];
  }
  data["href"] = url.href;
  const extension = DOWNLOADS.exec(url.pathname)?.[1];
  if (extension || link.hasAttribute("download")) {
    data["extension"] = (extension || /\.(\w{1,8})$/.exec(url.pathname)?.[1] || "").toLowerCase();
    return ["file_download", data];
  }
  return [url.host === location.host ? "click" : "outbound_click", data];
}

/** The further attributes `data-track-<name>` of an element. */
function properties(element: Element): Data {
  const data: Data = {};
  for (const { name, value } of Array.from(element.attributes)) {
    if (name.slice(0, 11) === "data-track-") data[name.slice(11).replace(/-/g, "_")] = value;
  }
  return data;
}

let clicks: { at: number; x: number; y: number }[] = [];
let expecting = false;
let moved = false;
let watcher: MutationObserver;

function move(): void {
  moved = true;
}

/** Look whether the page does anything after a click: where it does not, the click was dead, and many of them are rage. */
function expectAnswer(element: Element, clicked: Element, { clientX: x, clientY: y }: MouseEvent): void {
  const at = performance.now();
  clicks = clicks.filter((click) => at - click.at < RAGE_MS && Math.abs(click.x - x) + Math.abs(click.y - y) < RAGE_PIXELS);
  clicks.push({ at, x, y });
  if (expecting) return;
  expecting = true;
  moved = false;
  watcher.observe(document, { attributes: true, childList: true, characterData: true, subtree: true });
  const url = location.href;
  const focused = document.activeElement;
  setTimeout(safely(() => {
    expecting = false;
    watcher.disconnect();
    if (moved || url !== location.href || focused !== document.activeElement || isSelected(clicked)) return;
    const data = describe(element)[1];
    if (clicks.length >= RAGE_CLICKS) add("rage_click", Object.assign(data, { count: clicks.length }));
    else if (element.matches(PROMISES) && !leadsAway(element, clicked)) add("dead_click", data);
  }), ANSWER_MS);
}

/** Whether a click selected text in what was clicked; many clicks on nothing may select what comes next. */
function isSelected(clicked: Element): boolean {
  const selection = getSelection();
  return !!selection && !selection.isCollapsed && clicked.contains(selection.anchorNode) && !!clicked.textContent.trim();
}

/** A link that a browser follows elsewhere, into another window or to a program, answers where nobody here sees it. */
function leadsAway(element: Element, clicked: Element): boolean {
  return !!element.closest("a[href]") || !!clicked.closest("form");
}
