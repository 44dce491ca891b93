import { option } from "./options";
import { load, save } from "./storage";
import { identifier } from "./uuid";

/** A session ends after so long without an event, in any tab, and after a day in any case. */
export const SESSION_MS = 30 * 60 * 1000;
const LONGEST_SESSION_MS = 24 * 60 * 60 * 1000;

/** Where somebody came from: the channel, and what is known of the source and the campaign. */
export type Touch = Record<string, string>;

/** A visit: what it is known by, when it began and last saw an event, what led to it first and last. */
export interface Session {
  id: string;
  start: number;
  last: number;
  first?: Touch;
  latest?: Touch;
}

/** The visitor's id, random, made on first sight. */
export function visitorId(): string {
  const known = load("visitor");
  if (known && isId(known)) return known;
  const made = identifier();
  save("visitor", made);
  return made;
}

/** Take over the ids that a page on another of the client's domains handed on. */
export function adopt(visitor: string, session: string, now: number): void {
  save("visitor", visitor);
  keep({ id: session, start: now, last: now });
}

/** Whether a text is an id as the collector takes it. */
export function isId(text: string): boolean {
  return /^[A-Za-z0-9_-]{8,64}$/.test(text);
}

/** The session as it is kept, however long ago it was seen. */
export function kept(): Session | null {
  try {
    const session = JSON.parse(decodeURIComponent(load("session") || "")) as Session;
    return isId(session.id) ? session : null;
  } catch {
    return null;
  }
}

/**
 * The session at `now`, which thereby goes on; what the visitor did not do (`idle`) lets no session go on or begin.
 *
 * Read, decided and written in one step, and never remembered: another tab may have begun a new session meanwhile.
 */
export function session(now: number, touch?: Touch, idle?: boolean): Session {
  let current = kept();
  if (current && idle) return current;
  const campaign = touch?.["campaign"] || touch?.["click_id"];
  const changed =
    option("campaign-session") === "true" && campaign && current?.latest && JSON.stringify(touch) !== JSON.stringify(current.latest);
  // A clock that was set back makes these negative; the session goes on.
  if (!current || changed || now - current.last >= SESSION_MS || now - current.start >= LONGEST_SESSION_MS) {
    current = { id: identifier(), start: now, last: now };
  }
  current.last = now;
  if (touch) {
    current.first = current.first || touch;
    // Whoever comes back from a payment provider was not sent by it.
    if (!current.latest || !/^(direct|internal|referral)$/.test(touch["channel"] || "")) current.latest = touch;
  }
  keep(current);
  visitorId();
  return current;
}

function keep(session: Session): void {
  save("session", encodeURIComponent(JSON.stringify(session)));
}
