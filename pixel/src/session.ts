import { option } from "./options";
import { attempt } from "./safely";
import { load, save } from "./storage";
import { iso } from "./text";
import { identifier } from "./uuid";

/** A session ends after so long without an event, in any tab, and after a day in any case. */
export const SESSION_MS = 30 * 60 * 1000;
const LONGEST_SESSION_MS = 24 * 60 * 60 * 1000;

/** Where somebody came from: the site that led here, and what the address said of a campaign. */
export interface Touch {
  referrer: string;
  query: string;
}

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
  let id = load("visitor");
  if (!id || !isId(id)) save("visitor", (id = identifier()));
  return id;
}

/** Whether the visitor came from another of the client's domains, where more is known of how he came. */
export let handed = false;

/** Take over the ids that a page on another of the client's domains handed on at `made`, once. */
export function adopt(visitor: string, session: string, made: number): void {
  const before = kept();
  handed = true;
  // Whoever was here since comes back, or was given somebody else's address.
  if (before && (before.id === session || before.last > made)) return;
  save("visitor", visitor);
  keep({ id: session, start: made, last: made });
}

/** Whether a text is an id as the collector takes it. */
function isId(text: string): boolean {
  return /^[\w-]{8,64}$/.test(text);
}

/** The session as it is kept, however long ago it was seen. */
export function kept(): Session | undefined {
  const text = load("session");
  // To fail where there is none yet would take longer than all the rest.
  return (text && attempt(() => {
    const session = JSON.parse(decodeURIComponent(text)) as Session;
    return isId(session.id) && iso(session.start - session.last) && session;
  })) as Session | undefined;
}

/**
 * The session at `now`, which thereby goes on; what the visitor did not do (`idle`) lets no session go on or begin.
 *
 * Read, decided and written in one step, and never remembered: another tab may have begun a new session meanwhile.
 */
export function session(now: number, touch?: Touch, idle?: boolean): Session {
  let current = kept();
  if (current && idle) return current;
  if (
    !current ||
    // A clock that was set back makes these negative; the session goes on.
    now - current.start >= LONGEST_SESSION_MS ||
    now - current.last >= SESSION_MS ||
    (isNews(current, touch) && option("campaign-session") === "true")
  ) {
    current = { id: identifier(), start: now, last: now };
  }
  current.last = now;
  if (touch) current.first = current.first || touch;
  if (isNews(current, touch)) current.latest = touch as Touch;
  keep(current);
  visitorId();
  return current;
}

/** Whoever comes back from a payment provider or a search was not sent by it; a campaign says that it sends. */
function isNews({ latest }: Session, touch?: Touch): boolean | "" | undefined {
  return touch && touch.query && touch.query !== (latest && latest.query);
}

function keep(session: Session): void {
  save("session", encodeURIComponent(JSON.stringify(session)));
}
