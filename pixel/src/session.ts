import { load, save } from "./storage";
import { identifier } from "./uuid";

/** A session ends after so long without an event, in any tab. */
export const SESSION_MS = 30 * 60 * 1000;

const VISITOR = "evothesis.visitor";
const SESSION = "evothesis.session";

/** The visitor's id, random, made on first sight. */
export function visitorId(): string {
  const known = load(VISITOR);
  if (known && /^[A-Za-z0-9_-]{8,64}$/.test(known)) return known;
  const made = identifier();
  save(VISITOR, made);
  return made;
}

/**
 * The session's id at `now`, which thereby goes on.
 *
 * Read, decided and written in one step, and never remembered: another tab may have begun a new session meanwhile.
 */
export function sessionId(now: number): string {
  const [id, last] = (load(SESSION) ?? "").split(".");
  const idle = now - Number(last);
  // A clock that was set back makes idle negative; the session goes on.
  const current = id && /^[a-f0-9]{32}$/.test(id) && idle < SESSION_MS ? id : identifier();
  save(SESSION, `${current}.${String(now)}`);
  return current;
}
