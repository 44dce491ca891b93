/* One visitor on several of the client's domains: a link between them carries the ids over, once and not for long. */
import { consent } from "./consent";
import { words } from "./options";
import { attempt, later } from "./safely";
import { adopt, kept, visitorId } from "./session";
import { load, save } from "./storage";

/** The visitor, the session, and the moment of the click, in the address of the page that it opens. */
const HANDED = /([?&])_evo=([^.&#]*)\.?([^.&#]*)\.?([^&#]*)(&?)/;
const LONGEST_MS = 60_000;

/** Take the ids from this page's address, if another of the domains has just sent them, and remove them from it. */
export function arrive(): void {
  const [handed, before = "", visitor = "", session = "", made = "", after = ""] = HANDED.exec(location.href) || [];
  if (!handed) return;
  // Cut out of the text, so that nothing else in the address is written anew.
  history.replaceState(history.state, "", location.href.replace(handed, after && before));
  const at = parseInt(made, 36);
  // Who was given the address by somebody else comes from no page of ours, or too late, or a second time.
  if (
    isOurs(attempt(() => new URL(document.referrer).hostname)) &&
    Math.abs(Date.now() - at) < LONGEST_MS &&
    at > +(load("arrived") || 0) &&
    consent()
  ) {
    save("arrived", `${at}`);
    adopt(visitor, session, Date.now());
  }
}

/** Let a link that leads to another of the domains carry the ids, for the moment in which it is followed. */
export function decorate(link: Element, href: string): void {
  const session = kept();
  const before = link.getAttribute("href");
  const url = new URL(href);
  if (!before || HANDED.test(href) || url.host === location.host || !isOurs(url.hostname) || !session || !consent()) return;
  url.search += `${url.search ? "&" : "?"}_evo=${visitorId()}.${session.id}.${Date.now().toString(36)}`;
  link.setAttribute("href", url.href);
  // Unless the page has another one by then.
  later(() => { if (link.getAttribute("href") === url.href) link.setAttribute("href", before); }, 0);
}

function isOurs(host?: string): boolean {
  return words("domains").some((domain) => `.${host || ""}`.endsWith(`.${domain}`));
}
