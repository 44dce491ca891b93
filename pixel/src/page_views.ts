import { arrival } from "./attribution";
import { beginEngagement, engaged, hasFocus, leaveEngagement } from "./engagement";
import { option, words } from "./options";
import { add, comeBack, type Data, flushAtExit, page } from "./outbox";
import { hear, safely } from "./safely";
import { beginScroll, deepest } from "./scroll";
import { session } from "./session";
import { leaveTab, takeTab } from "./storage";
import { cut } from "./text";
import { identifier, uuid } from "./uuid";

/** A router sets the title after the address; and what it redirects from within this time was never seen. */
const TITLE_MS = 100;

let timer = 0;
let emit: (() => void) | null = null;
let identity = "";
let left = true;

/** Watch the pages that the visitor sees, from the one that is open. */
export function watchPageViews(): void {
  page.tab = takeTab() || identifier();
  enter(document.referrer, "");
  for (const name of ["pushState", "replaceState"] as const) wrap(name);
  hear(window, "popstate hashchange", () => { route(); });
  hear(window, "pagehide", () => {
    leave();
    flushAtExit();
    leaveTab(page.tab);
  });
  hear(window, "pageshow", (event: PageTransitionEvent) => {
    if (!event.persisted) return;
    // Out of the back/forward cache: seen again, so a page view again.
    takeTab();
    enter(page.referrer, "restored");
    comeBack();
  });
  hear(document, "visibilitychange", () => {
    const state = document.visibilityState;
    // After pagehide there is nothing more to say, only to send.
    if (!left) add("visibility", { state, engaged_ms: engaged() }, Date.now(), true);
    if (state === "hidden") flushAtExit();
    else comeBack();
  });
  hear(window, "focus blur", (event: FocusEvent) => {
    if (event.target !== window || left) return;
    const engaged_ms = engaged();
    hasFocus(event.type === "focus");
    // With the window's visibility it is said already.
    setTimeout(safely(() => {
      if (document.visibilityState === "visible" && !left) {
        add("visibility", { state: event.type, engaged_ms }, Date.now(), true);
      }
    }), TITLE_MS);
  });
}

/** Count a page view now, whatever the address says. */
export function viewPage(data: Data): void {
  leave();
  enter(page.url, "", data);
}

function enter(referrer: string, how: string, data: Data = {}): void {
  left = false;
  identity = identityOf(location);
  page.id = uuid(Date.now());
  page.referrer = referrer;
  page.url = location.href;
  beginEngagement();
  beginScroll();
  const { utm, clickIds, touch } = arrival(page.url, referrer);
  const current = session(Date.now(), touch);
  const view = Object.assign({ channel: touch["channel"] }, data) as Data;
  if (touch["source"]) view["source"] = touch["source"];
  if (Object.keys(utm).length) view["utm"] = utm;
  if (Object.keys(clickIds).length) view["click_ids"] = clickIds;
  if (how) view["how"] = how;
  view["first_touch"] = current.first;
  view["last_touch"] = current.latest;
  view["language"] = navigator.language;
  view["screen"] = [screen.width, screen.height];
  if (navigator.webdriver) view["webdriver"] = true;
  if (top !== self) view["framed"] = true;
  const at = Date.now();
  emit = () => {
    emit = null;
    add("page_view", view, at);
  };
  if (how === "route") timer = window.setTimeout(() => emit?.(), TITLE_MS);
  else emit();
}

/** The page that was open is left: what is known of it by now is all there will be. */
function leave(): void {
  if (left) return;
  clearTimeout(timer);
  emit?.();
  left = true;
  add("page_leave", { engaged_ms: leaveEngagement(), scroll_percent: deepest() }, Date.now(), true);
}

function route(): void {
  const next = identityOf(location);
  const from = page.url;
  if (next === identity) {
    page.url = location.href;
    return;
  }
  if (emit) {
    // A redirect: nobody saw where it led from.
    clearTimeout(timer);
    enter(page.referrer, "route");
    return;
  }
  leave();
  enter(cut(from, 4000), "route");
}

/** What makes a page another one: its path, the route in its fragment, and the parameters of `data-query`. */
function identityOf(place: Location): string {
  const hash = option("hash") === "true" || /^#!?\//.test(place.hash) ? place.hash : "";
  const query = new URLSearchParams(place.search);
  return [place.pathname, hash, ...words("query").map((name) => query.get(name))].join(" ");
}

function wrap(name: "pushState" | "replaceState"): void {
  // eslint-disable-next-line @typescript-eslint/unbound-method -- it is called with the page's own `this`
  const original = history[name];
  const look = safely(route);
  try {
    history[name] = function (...args) {
      original.apply(this, args);
      look();
    };
  } catch {
    // A page that froze its history tells by popstate alone.
  }
}
