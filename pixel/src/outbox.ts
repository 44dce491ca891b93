import { consent, consentSource } from "./consent";
import { collector, ENDPOINT, option } from "./options";
import { redact, redactText } from "./redact";
import { kept, session, visitorId } from "./session";
import { keys, load, peek, remove, save } from "./storage";
import { cut } from "./text";
import { identifier, uuid } from "./uuid";

/** What an event is about, in any shape that JSON takes. */
export type Data = Record<string, unknown>;

interface Event {
  event_id: string;
  event_type: string;
  timestamp: string;
  session_id: string;
  visitor_id?: string;
  tab_id: string;
  url: string;
  referrer: string;
  title: string;
  page_view_id: string;
  seq: number;
  data: Data;
}

/** The page view that events belong to. */
export const page = { id: "", url: "", referrer: "", tab: "" };

/** Events of one moment travel together; the first is on its way within a second. */
const GATHER_MS = 400;
const MOST_EVENTS = 50;
/** All requests that outlive their page share 64 KiB in the browser; one of ours takes at most this much of it. */
const MOST_BYTES = 48_000;
const MOST_ALIVE = 16_000;
/** The server keeps no more of them either. */
const URL_CHARACTERS = 4000;
const TITLE_CHARACTERS = 500;
/** What is not delivered is kept, the oldest going first when it becomes too much or too old. */
const MOST_WAITING = 500;
const MOST_KEPT_CHARACTERS = 250_000;
const LONGEST_WAIT_MS = 7 * 24 * 60 * 60 * 1000;
const MOST_HELD = 100;
const FIRST_RETRY_MS = 1000;
const LONGEST_RETRY_MS = 60_000;
/** An address with one event in it. */
const MOST_ADDRESS = 3000;

/** Each page keeps what it has under a key of its own, so that no two tabs write over each other. */
const KEY = `queue.${identifier()}`;

let waiting: Event[] = [];
/** Events that the browser took at an exit; whether they arrived, nobody says. */
let beaconed: Event[] = [];
let timer = 0;
let sending = false;
let retryMs = 0;
let seq = 0;

/** Take an event of the page as it is now, or was at `at`. What the visitor did not do is `idle`. */
export function add(type: string, data: Data, at = Date.now(), idle?: boolean): void {
  const said = consent();
  if (said === false) return;
  waiting.push({
    event_id: uuid(at),
    event_type: type,
    timestamp: new Date(at).toISOString(),
    session_id: session(Date.now(), undefined, idle).id,
    tab_id: page.tab,
    url: redactText(cut(page.url, URL_CHARACTERS)),
    referrer: redactText(cut(page.referrer, URL_CHARACTERS)),
    title: redactText(cut(document.title, TITLE_CHARACTERS)),
    page_view_id: page.id,
    seq: seq++,
    data: redact(data) as Data,
  });
  if (waiting.length > (said ? MOST_WAITING : MOST_HELD)) waiting.shift();
  if (said && !retryMs) schedule(waiting.length >= MOST_EVENTS ? 0 : GATHER_MS);
}

/** Take over what earlier pages of this site could not deliver, and begin to deliver. */
export function resume(): void {
  for (const key of keys()) {
    if (key.slice(0, 6) !== "queue." || key === KEY) continue;
    // Should the page that it belongs to still live, both send it, and it counts once by its id.
    const left = read(key);
    waiting = left.concat(waiting);
    // The browser took most of them at the last exit; what is new has the next exit's budget to itself.
    beaconed = beaconed.concat(left);
    remove(key);
  }
  if (waiting.length) schedule(GATHER_MS);
}

/** Keep what is waiting and, once the page is hidden, send it in a way that the browser finishes when the page is gone. */
export function flushAtExit(): void {
  if (!consent()) return;
  keep();
  // In the same breath as a write to the storage Firefox loses it; in the next event, which follows at once, it does not.
  if (document.visibilityState === "visible") return;
  let rest = waiting.filter((event) => !beaconed.includes(event));
  let most = MOST_EVENTS;
  while (rest.length && most) {
    const batch = take(rest, most);
    if (beacon(body(batch))) {
      beaconed = beaconed.concat(batch);
      rest = rest.slice(batch.length);
    } else {
      // The browser's budget is used up for so much; half of it may fit, and what does not is kept.
      most = batch.length >> 1;
    }
  }
}

/** The page is back: send once more what an exit sent, for a beacon has no answer. What arrived counts once. */
export function comeBack(): void {
  beaconed = [];
  if (waiting.length) schedule(GATHER_MS);
}

/** Try now what was to be tried later: the network is back. */
export function retry(): void {
  clearTimeout(timer);
  timer = retryMs = 0;
  comeBack();
}

/** Drop what nobody may send any more. */
export function drop(): void {
  waiting = [];
  remove(KEY);
}

function schedule(ms: number): void {
  if (!timer) {
    timer = window.setTimeout(() => {
      timer = 0;
      send();
    }, ms);
  }
}

function send(): void {
  const said = consent();
  if (said === false) drop();
  if (!said || sending || !waiting.length) return;
  settle();
  keep();
  sending = true;
  const batch = take(waiting, MOST_EVENTS);
  post(batch, (after) => {
    sending = false;
    retryMs = after;
    if (!after) {
      // More may have come meanwhile.
      waiting = waiting.filter((event) => !batch.includes(event));
      keep();
    }
    if (waiting.length) schedule(retryMs || GATHER_MS);
  });
}

/** Two tabs that were opened at once have each begun a session; what is kept by now is the one that holds. */
function settle(): void {
  const holds = kept();
  const begun = holds ? new Date(holds.start - 5000).toISOString() : "";
  for (const event of waiting) {
    if (holds && event.session_id !== holds.id && event.timestamp >= begun && !event.visitor_id) event.session_id = holds.id;
  }
}

/** Hand a batch to the collector, and say after how many ms it has to be sent again; 0 when it has not. */
function post(batch: Event[], done: (retryMs: number) => void): void {
  const next = Math.min(LONGEST_RETRY_MS, retryMs * 2 || FIRST_RETRY_MS) * (0.5 + Math.random() / 2);
  const text = body(batch);
  try {
    // A string is sent as text/plain, which no browser asks permission for first.
    fetch(ENDPOINT, {
      method: "POST",
      body: text,
      // What outlives its page comes out of a budget that others need too; and what is much is kept anyway.
      keepalive: bytes(text) <= MOST_ALIVE && !retryMs,
      credentials: "omit",
    }).then(
      (answer) => {
        // An answer that nobody reads holds on to the budget.
        answer.text().catch(() => undefined);
        const later = answer.status === 429 || answer.status === 408 || answer.status >= 500;
        done(later ? +(answer.headers.get("Retry-After") || 0) * 1000 || next : 0);
      },
      () => { done(next); },
    );
  } catch {
    if (!beacon(text)) batch.forEach(image);
    done(0);
  }
}

/** Whether the browser took a beacon, which it sends when it pleases and tells nobody of. */
function beacon(text: string): boolean {
  try {
    return navigator.sendBeacon(ENDPOINT, text);
  } catch {
    return false;
  }
}

/** The oldest way: an image whose address says it, one event each; that it has gone is all that is known. */
function image(event: Event): void {
  const whole = body([event]);
  new Image().src = collector("/pixel.gif?d=") + encodeURIComponent(whole.length < MOST_ADDRESS ? whole : body([Object.assign(event, { referrer: "", data: {} })]));
}

function body(events: Event[]): string {
  const source = consentSource();
  const envelope: Data = {
    visitor_id: visitorId(),
    site_id: option("site") || null,
    sent_at: new Date().toISOString(),
  };
  if (source) envelope["consent"] = { analytics: true, source };
  envelope["events"] = events;
  return json(envelope);
}

/** JSON, though the page may have taught its arrays to write themselves otherwise. */
function json(value: unknown): string {
  const prototype = Array.prototype as { toJSON?: unknown };
  const taught = prototype.toJSON;
  delete prototype.toJSON;
  const text = JSON.stringify(value);
  if (taught) prototype.toJSON = taught;
  return text;
}

function keep(): void {
  let text = json(waiting);
  while (text.length > MOST_KEPT_CHARACTERS) {
    waiting.splice(0, (waiting.length >> 1) || 1);
    text = json(waiting);
  }
  if (waiting.length) save(KEY, text);
  else remove(KEY);
}

function read(key: string): Event[] {
  try {
    const oldest = new Date(Date.now() - LONGEST_WAIT_MS).toISOString();
    const visitor = visitorId();
    return (JSON.parse(peek(key) || load(key) || "[]") as Event[])
      .filter((event) => event.timestamp > oldest)
      .map((event) => Object.assign({ visitor_id: visitor }, event));
  } catch {
    return [];
  }
}

/** The first of the events, as many as travel together; at least one. */
function take(events: Event[], most: number): Event[] {
  let size = 500; // the envelope
  const batch: Event[] = [];
  for (const event of events.slice(0, most)) {
    size += bytes(json(event)) + 1;
    if (batch.length && size > MOST_BYTES) break;
    batch.push(event);
  }
  return batch;
}

function bytes(text: string): number {
  return new Blob([text]).size;
}
