import { arrival } from "./attribution";
import { consent } from "./consent";
import { beginEngagement, engaged, visible } from "./engagement";
import { option, words } from "./options";
import { add, comeBack, type Data, flushAtExit, page } from "./outbox";
import { hear, hearCalls, later } from "./safely";
import { beginScroll, deepest } from "./scroll";
import { handed, session } from "./session";
import { leaveTab, takeTab } from "./storage";
import { identifier, uuid } from "./uuid";

/** A page sets its title after it began, and a router after the address; what it redirects from by then was never seen. */
const TITLE_MS = 100;

let timer = 0;
/** Counts the page view that waits for its title. */
let emit: (() => void) | null = null;
let identity = "";
/** Whether the page came by a route, and not with its document, which a server sent and a campaign may have named. */
let routed = false;
let left = true;

/** Watch the pages that the visitor sees, from the one that is open. */
export function watchPageViews(): void {
  page.tab = takeTab() || identifier();
  enter(document.referrer);
  hearCalls(History.prototype, "pushState", route, true);
  hearCalls(History.prototype, "replaceState", route, true);
  hear("popstate hashchange", route);
  hear("currententrychange", route, (window as { navigation?: EventTarget }).navigation);
  hear("pagehide", () => {
    leave();
    flushAtExit();
    leaveTab(page.tab);
  });
  hear("pageshow", (event: PageTransitionEvent) => {
    if (!event.persisted) return;
    // Out of the back/forward cache: seen again, so a page view again.
    enter(page.referrer, "restored");
    takeTab();
    comeBack();
  });
  hear("visibilitychange", () => {
    if (emit) emit();
    tell(document.visibilityState, engaged());
    if (visible()) comeBack();
    else flushAtExit();
    // After whoever hears it on the window and has something to add.
  }, document);
  hear("focus blur", ({ target, type }: FocusEvent) => {
    if (target !== window) return;
    const ms = engaged();
    // With the window's visibility it is said already.
    later(() => { if (visible()) tell(type, ms); }, TITLE_MS);
  });
}

/** Count a page view now, whatever the address says. */
export function viewPage(data: Data): void {
  leave();
  enter(page.url, undefined, data);
}

function tell(state: string, engaged_ms: number): void {
  // After pagehide there is nothing more to say, only to send.
  if (!left) add("visibility", { state, engaged_ms }, true);
}

function enter(referrer: string, how?: string, data?: Data): void {
  // Whether anything may be kept of it.
  consent();
  const at = Date.now();
  const turn = page.seq++;
  left = false;
  identity = identityNow();
  routed = how === "route";
  page.id = uuid(at);
  page.referrer = referrer;
  page.url = location.href;
  beginEngagement();
  beginScroll();
  const { first, latest } = session(at, handed ? undefined : arrival(location.search, referrer));
  const view = Object.assign(
    {
      first_touch: first,
      last_touch: latest || first,
      how,
      channel: handed ? "internal" : undefined,
      screen: [screen.width, screen.height],
      language: navigator.language,
      framed: top !== self || undefined,
      webdriver: navigator.webdriver || undefined,
    },
    data,
  );
  emit = () => {
    emit = null;
    clearTimeout(timer);
    add("page_view", view, false, at, turn);
  };
  timer = later(emit, TITLE_MS);
}

/** The page that was open is left: what is known of it by now is all there will be. */
function leave(): void {
  if (left) return;
  if (emit) emit();
  left = true;
  add("page_leave", { engaged_ms: engaged(), scroll_percent: deepest() }, true);
}

function route(): void {
  const from = page.url;
  if (identityNow() === identity) page.url = location.href;
  else if (emit && routed) {
    // A redirect: nobody saw where it led from.
    clearTimeout(timer);
    enter(page.referrer, "route");
  } else {
    leave();
    enter(from, "route");
  }
}

/** What makes a page another one: its path, the route in its fragment, and the parameters of `data-query`. */
function identityNow(): string {
  const { pathname, hash, href } = location;
  const route = option("hash") === "true" || /^#!?\//.test(hash) ? hash : "";
  return [pathname, route, ...words("query").map((name) => new URL(href).searchParams.get(name))].join(" ");
}
