/* One visitor on several of the client's domains: a link between them carries the ids over, once and not for long. */
import { consent } from "./consent";
import { words } from "./options";
import { adopt, isId, kept, visitorId } from "./session";
import { load, save } from "./storage";

const PARAMETER = "_evo";
/** From a click to the page that it opens. */
const LONGEST_MS = 60_000;

/** Take the ids from this page's address, if another of the domains has just sent them, and remove them from it. */
export function arrive(): void {
  const url = new URL(location.href);
  const handed = url.searchParams.get(PARAMETER);
  if (!handed) return;
  // Cut out of the text, at whose end it was put, so that nothing else in the address is written anew.
  history.replaceState(history.state, "", location.href.replace(new RegExp(`[?&]${PARAMETER}=[^&#]*`), ""));
  const [visitor = "", session = "", made = ""] = handed.split(".");
  const at = parseInt(made, 36);
  const age = Date.now() - at;
  // Who was given the address by somebody else comes from no page of ours, or too late, or a second time.
  if (!isOurs(document.referrer) || !isId(visitor) || !isId(session) || !(Math.abs(age) < LONGEST_MS)) return;
  if (at <= +(load("arrived") || 0) || !consent()) return;
  save("arrived", String(at));
  adopt(visitor, session, Date.now());
}

/** Let a link that leads to another of the domains carry the ids, for the moment in which it is followed. */
export function decorate(link: HTMLAnchorElement | null): void {
  const href = link?.getAttribute("href");
  const session = kept();
  if (!link || !href || !session || !consent()) return;
  const url = new URL(href, document.baseURI);
  if (url.host === location.host || !isOurs(url.href)) return;
  const handed = `${PARAMETER}=${visitorId()}.${session.id}.${Date.now().toString(36)}`;
  url.search += (url.search ? "&" : "?") + handed;
  link.setAttribute("href", url.href);
  setTimeout(() => { link.setAttribute("href", href); }, 0);
}

function isOurs(address: string): boolean {
  try {
    const { hostname } = new URL(address);
    return words("domains").some((domain) => hostname === domain || hostname.slice(-domain.length - 1) === `.${domain}`);
  } catch {
    return false;
  }
}
