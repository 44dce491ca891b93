/* An optional file of its own, before the pixel: one visitor on several of the client's domains. A link between them
   carries the ids over, once and not for long. */
import { say } from "./queue";
import { attempt, later, safely } from "./safely";
import { objects } from "./signals";

/** The visitor, the session, and the moment of the click, in the address of the page that it opens. */
const HANDED = /([?&])_evo=([^.&#]*)\.?([^.&#]*)\.?([^&#]*)(&?)/;
const LONGEST_MS = 60_000;

function watchDomains(): void {
  const domains = (document.currentScript?.getAttribute("data-domains") ?? "").match(/[^\s,]+/g) ?? [];
  const isOurs = (host = ""): boolean => domains.some((domain) => `.${host}`.endsWith(`.${domain}`));
  arrive(isOurs);
  // Last of all, so that whoever else hears the click sees the link as it is.
  for (const kind of ["click", "auxclick"]) {
    addEventListener(kind, safely((event) => {
      const [clicked] = event.composedPath();
      const link = clicked instanceof Element && clicked.closest("a[href],area[href]");
      if (link && !event.defaultPrevented) decorate(link, isOurs);
    }));
  }
}

/** Take the ids from this page's address, if another of the domains has just sent them, and remove them from it. */
function arrive(isOurs: (host?: string) => boolean): void {
  const [handed, before = "", visitor = "", session = "", made = "", after = ""] = HANDED.exec(location.href) ?? [];
  if (!handed) return;
  // Cut out of the text, so that nothing else in the address is written anew.
  history.replaceState(history.state, "", location.href.replace(handed, after && before));
  const at = parseInt(made, 36);
  // Who was given the address by somebody else comes from no page of ours, or too late.
  if (isOurs(attempt(() => new URL(document.referrer).hostname)) && Math.abs(Date.now() - at) < LONGEST_MS) {
    say("adopt", visitor, session, at);
  }
}

/** Let a link that leads to another of the domains carry the ids, for the moment in which it is followed. */
function decorate(link: Element, isOurs: (host?: string) => boolean): void {
  const before = link.getAttribute("href") ?? "";
  const url = new URL(before, document.baseURI);
  if (!/^http/.test(url.protocol) || url.host === location.host || !isOurs(url.hostname) || HANDED.test(url.href)) return;
  // Where the visitor did not agree none are kept.
  const visitor = kept("visitor");
  const { id } = JSON.parse(decodeURIComponent(kept("session") ?? "{}")) as { id?: string };
  if (!visitor || !id || objects()) return;
  url.search += `${url.search ? "&" : "?"}_evo=${visitor}.${id}.${Date.now().toString(36)}`;
  link.setAttribute("href", url.href);
  // Unless the page has another one by then.
  later(() => { if (link.getAttribute("href") === url.href) link.setAttribute("href", before); }, 0);
}

/** What the pixel keeps on the device, whichever way it was told to. */
function kept(key: string): string | undefined {
  const name = `evothesis.${key}`;
  // eslint-disable-next-line no-restricted-globals -- in here it may be blocked
  return attempt(() => localStorage.getItem(name)) ?? new RegExp(`(?:^| )${name}=([^;]*)`).exec(document.cookie)?.[1];
}

safely(watchDomains)();
