import { attribute, isIgnored, isTyping, leadsTo, selectorOf, textOf } from "./elements";
import { add, type Data } from "./outbox";
import { redactText } from "./redact";
import { hear, later } from "./safely";
import { snake } from "./text";

/** What promises to do something when it is clicked. */
const PROMISES = "a,button,[onclick],[role=button],[role=link],[role=menuitem],[role=tab],summary";
/** What can be meant by a click; inside it a click means the same. */
const TARGETS = `${PROMISES},input,select,textarea,area,label,[data-track]`;

const RAGE_CLICKS = 4;
const RAGE_MS = 1000;
const RAGE_PIXELS = 30;
/** A page that did not move for so long after a click does not answer it. */
const ANSWER_MS = 800;

/** Watch what is clicked. */
export function watchClicks(): void {
  let labelled: unknown;
  watcher = new MutationObserver(move);
  hear("pagehide visibilitychange focusin input change play scroll", move);
  hear("click auxclick", (event: MouseEvent) => {
    // What the page itself puts in a shadow is its business; the first element of the path is what was clicked.
    const clicked = event.composedPath()[0];
    // A right click opens a menu; the middle button opens a link.
    if (!(clicked instanceof Element) || event.button > 1 || isIgnored(clicked)) return;
    // A label passes its click on to what it labels.
    if (labelled === clicked) {
      labelled = 0;
      return;
    }
    const element = clicked.closest(TARGETS) || clicked;
    labelled = element instanceof HTMLLabelElement && element.control !== clicked && element.control;
    const data: Data = {
      tag: element.localName,
      selector: selectorOf(element),
      id: attribute(element, "id"),
      text: isTyping() && !element.matches(PROMISES) ? undefined : textOf(element),
    };
    add(follow(element, data), data);
    const tracked = clicked.closest("[data-track]");
    if (tracked) add(nameOf(tracked.getAttribute("data-track") as string), properties(tracked));
    if (!event.button) expectAnswer(element, clicked, event, data);
  });
}

/** The name of an event as the collector takes it. */
export function nameOf(name: string): string {
  return snake(redactText(name)).replace(/^[^a-z]+|_$|[ñç]/g, "").slice(0, 50) || "custom";
}

/** Where a click leads, into its data, and whether it leads anywhere: what kind of link it is, the collector says. */
function follow(element: Element, data: Data): string {
  const link = element.closest("a,area");
  // In an SVG it is under another name.
  const address = link && (attribute(link, "href") || attribute(link, "xlink:href"));
  const href = address && leadsTo(address);
  if (!href) return "click";
  data["href"] = href;
  data["download"] = link.hasAttribute("download") || undefined;
  return "link_click";
}

/** The further attributes `data-track-<name>` of an element. */
function properties(element: Element): Data {
  const data: Data = {};
  const { dataset } = element as HTMLElement;
  for (const name of Object.keys(dataset)) if (/^track./.test(name)) data[snake(name.slice(5))] = dataset[name];
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
function expectAnswer(element: Element, clicked: Element, { clientX: x, clientY: y, timeStamp: at }: MouseEvent, data: Data): void {
  clicks = clicks.filter((click) => at - click.at < RAGE_MS && Math.abs(click.x - x) + Math.abs(click.y - y) < RAGE_PIXELS);
  clicks.push({ at, x, y });
  if (expecting) return;
  expecting = true;
  moved = false;
  watcher.observe(document, { attributes: true, childList: true, characterData: true, subtree: true });
  const url = location.href;
  later(() => {
    expecting = false;
    watcher.disconnect();
    if (moved || url !== location.href || isSelected(clicked)) return;
    const count = clicks.length;
    if (count >= RAGE_CLICKS) add("rage_click", Object.assign({ count }, data));
    // A link that a browser follows into another window or to a program answers where nobody here sees it.
    else if (element.matches(PROMISES) && !element.closest("a[href]") && !clicked.closest("form")) add("dead_click", data);
  }, ANSWER_MS);
}

/** Whether a click selected text in what was clicked; many clicks on nothing may select what comes next. */
function isSelected(clicked: Element): boolean {
  const selection = getSelection();
  return !!selection && !selection.isCollapsed && clicked.contains(selection.anchorNode) && !!clicked.textContent.trim();
}
