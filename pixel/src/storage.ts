import { option } from "./options";

/* Storage that may be forbidden, blocked, full, or taken away: then memory serves for as long as the page lives. */

const PREFIX = "evothesis.";
/** With `data-cookie-domain` the ids are shared by all sub-domains, which only cookies are. */
const domain = option("cookie-domain");
const SHARED = ["visitor", "session"];
const COOKIE_SECONDS = 34e6; // 13 months

const memory = new Map<string, string>();
let allowed = false;

/** Say whether anything may be kept on the visitor's device. */
export function allow(may: boolean): void {
  if (may && !allowed) {
    allowed = true;
    // What was held back until now, a session that began before the consent for example, is kept from here on.
    Array.from(memory).forEach(([key, value]) => {
      // Another tab may have been allowed to before this one.
      if (peek(key)) memory.delete(key);
      else save(key, value);
    });
  }
  allowed = may;
}

/** What is kept under a key, or null. */
export function load(key: string): string | null {
  return memory.get(key) || (allowed ? peek(key) : null);
}

/** What is kept on the device under a key, whether it may be or not. */
export function peek(key: string): string | null {
  try {
    if (isCookie(key)) return new RegExp(`(?:^|; )${name(key)}=([^;]*)`).exec(document.cookie)?.[1] || null;
    return window.localStorage.getItem(PREFIX + key);
  } catch {
    return null;
  }
}

/** Keep a value for every page and tab of this site, or at least for this page. */
export function save(key: string, value: string): void {
  try {
    if (allowed) {
      if (isCookie(key)) setCookie(key, value, COOKIE_SECONDS);
      else window.localStorage.setItem(PREFIX + key, value);
      if (peek(key) === value) {
        memory.delete(key);
        return;
      }
    }
  } catch {
    // Blocked or full.
  }
  memory.set(key, value);
}

/** Forget a key. */
export function remove(key: string): void {
  memory.delete(key);
  try {
    if (isCookie(key)) setCookie(key, "", 0);
    window.localStorage.removeItem(PREFIX + key);
  } catch {
    // Blocked: nothing was kept.
  }
}

/** The keys that are kept on the device. */
export function keys(): string[] {
  try {
    return Object.keys(window.localStorage)
      .filter((key) => key.startsWith(PREFIX))
      .map((key) => key.slice(PREFIX.length));
  } catch {
    return [];
  }
}

/** Forget the ids that another tab kept in the moment in which it was told not to. */
export function forgetIds(): void {
  for (const key of SHARED) if (peek(key)) remove(key);
}

/** Forget everything that the pixel ever kept. */
export function forget(): void {
  for (const key of [...keys(), ...SHARED, ...Array.from(memory.keys())]) remove(key);
}

/**
 * An id of this tab, which a duplicate of it does not share: while the page lives the id is nowhere but here, so the
 * copy that a browser makes of a tab's storage has none.
 */
export function takeTab(): string | null {
  try {
    const id = allowed ? window.sessionStorage.getItem(PREFIX + "tab") : null;
    window.sessionStorage.removeItem(PREFIX + "tab");
    return id;
  } catch {
    return null;
  }
}

/** Leave the tab's id for the next page of the same tab. */
export function leaveTab(id: string): void {
  try {
    if (allowed) window.sessionStorage.setItem(PREFIX + "tab", id);
  } catch {
    // Then the next page is a new tab.
  }
}

function isCookie(key: string): boolean {
  return !!domain && SHARED.includes(key);
}

function name(key: string): string {
  return PREFIX.replace(".", "_") + key;
}

function setCookie(key: string, value: string, seconds: number): void {
  const secure = location.protocol === "https:" ? ";secure" : "";
  document.cookie = `${name(key)}=${value};domain=${domain};path=/;max-age=${String(seconds)};samesite=lax${secure}`;
}
