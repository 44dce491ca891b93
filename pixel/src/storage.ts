import { option } from "./options";
import { attempt } from "./safely";

/* Storage that may be forbidden, blocked, full, or taken away: then memory serves for as long as the page lives. */

const PREFIX = "evothesis.";
/** With `data-cookie-domain` all sub-domains share what is not a page's own queue, as only cookies are shared. */
const domain = option("cookie-domain");
const KEYS = ["visitor", "session", "consent"];
const COOKIE_SECONDS = 34e6; // 13 months

const memory: Record<string, string> = {};
let allowed = false;

/** Say whether anything may be kept on the visitor's device. */
export function allow(may: boolean): void {
  const now = may && !allowed;
  allowed = may;
  // What was held back until now, a session that began before the consent for example, is kept from here on.
  if (now) {
    for (const key of Object.keys(memory)) {
      // Another tab may have been allowed to before this one.
      if (peek(key)) memory[key] = "";
      else save(key, memory[key] as string);
    }
  }
}

/** What is kept under a key. */
export function load(key: string): string | undefined {
  return memory[key] || (allowed ? peek(key) : undefined);
}

/** What is kept on the device under a key, whether it may be or not. */
export function peek(key: string): string | undefined {
  return (
    attempt(() =>
      isCookie(key)
        ? (new RegExp(`(?:^| )${PREFIX}${key}=([^;]*)`).exec(document.cookie) || [])[1]
        : localStorage.getItem(PREFIX + key),
    ) || undefined
  );
}

/** Keep a value for every page and tab of this site, or, where it may not be or there is no room, for this page. */
export function save(key: string, value: string): void {
  memory[key] = value;
  if (!allowed) return;
  attempt(() => {
    if (isCookie(key)) setCookie(key, value, COOKIE_SECONDS);
    else localStorage.setItem(PREFIX + key, value);
  });
  if (peek(key) === value) memory[key] = "";
}

/** Forget a key. */
export function remove(key: string): void {
  memory[key] = "";
  attempt(() => {
    localStorage.removeItem(PREFIX + key);
    if (isCookie(key)) setCookie(key, "", 0);
  });
}

/** The keys that are kept on the device. */
export function keys(): string[] {
  return attempt(() => Object.keys(localStorage).filter((key) => !key.indexOf(PREFIX)).map((key) => key.slice(PREFIX.length))) || [];
}

/**
 * Forget all that the pixel ever kept, but for the page's own queue in memory; or, where another tab or sub-domain was
 * told no, what is left on the device beside the word of that.
 */
export function forget(all: boolean): void {
  for (const key of [...keys(), ...KEYS]) if (all || (key !== "consent" && peek(key))) remove(key);
}

/**
 * An id of this tab, which a duplicate of it does not share: while the page lives the id is nowhere but here, so the
 * copy that a browser makes of a tab's storage has none.
 */
export function takeTab(): string | null | undefined {
  // Where nobody was before no page left one; a first look takes a browser longer than all that is done with it.
  return allowed && !peek("visitor") ? null : attempt(() => {
    const id = allowed ? sessionStorage.getItem(PREFIX) : null;
    sessionStorage.removeItem(PREFIX);
    return id;
  });
}

/** Leave the tab's id for the next page of the same tab. */
export function leaveTab(id: string): void {
  attempt(() => { if (allowed) sessionStorage.setItem(PREFIX, id); });
}

function isCookie(key: string): boolean {
  return !!domain && !/\./.test(key);
}

function setCookie(key: string, value: string, seconds: number): void {
  const secure = location.protocol === "https:" ? ";secure" : "";
  document.cookie = `${PREFIX}${key}=${value};domain=${domain};path=/;max-age=${seconds};samesite=lax${secure}`;
}
