import { consent, consentSource } from "./consent";
import { ENDPOINT, option } from "./options";
import { redact } from "./redact";
import { kept, session, visitorId } from "./session";
import { attempt, hear, later } from "./safely";
import { keys, load, remove, save } from "./storage";
import { iso } from "./text";
import { identifier, uuid } from "./uuid";

/** What an event is about, in any shape that JSON takes. */
export type Data = Record<string, unknown>;

/** What an event says in the page's or the visitor's words, which may tell too much. */
interface Told {
  url: string;
  referrer: string;
  title: string;
  data: Data;
}

interface Event extends Told {
  event_id: string;
  event_type: string;
  timestamp: string;
  session_id: string;
  visitor_id?: string;
  tab_id: string;
  page_view_id: string;
  seq: number;
}

/** The page view that events belong to, and how many events there were before the next. */
export const page = { url: "", referrer: "", id: "", tab: "", seq: 0 };

/** Events of one moment travel together; the first is on its way within a second. */
const GATHER_MS = 400;
const MOST_EVENTS = 50;
/** All requests that outlive their page share 64 KiB in the browser; one of ours takes at most this much of it, even
    where each character is three bytes. */
const MOST_CHARACTERS = 20_000;
/** What is not delivered is kept, the oldest going first when it becomes too much or too old. */
const MOST_WAITING = 500;
const MOST_KEPT_CHARACTERS = 250_000;
const LONGEST_WAIT_MS = 7 * 24 * 60 * 60 * 1000;
const FIRST_RETRY_MS = 1000;
const LONGEST_RETRY_MS = 60_000;
/** A collector that asks for more is not right in its mind. */
const LONGEST_PAUSE_MS = 60 * 60 * 1000;

/** Each page keeps what it has under a key of its own, so that no two tabs write over each other. */
const QUEUE = "queue.";
const KEY = QUEUE + identifier();

let waiting: Event[] = [];
/** Events that the browser took at an exit; whether they arrived, nobody says. */
let beaconed: Event[] = [];
let timer = 0;
let sending = false;
let retryMs = 0;
let keeping = 0;

/** Take an event of the page as it is now, or was at `at` in its turn. What the visitor did not do is `idle`. */
export function add(type: string, data: Data, idle?: boolean, at = Date.now(), seq = page.seq++): void {
  const said = consent();
  if (said === false) return;
  const event = Object.assign(
    {
      event_id: uuid(at),
      event_type: type,
      timestamp: iso(at),
      session_id: session(Date.now(), undefined, idle).id,
      tab_id: page.tab,
      page_view_id: page.id,
      seq,
    },
    redact({ url: page.url, referrer: page.referrer, title: document.title, data }) as Told,
  );
  if (waiting.push(event) > MOST_WAITING) waiting.shift();
  if (said && !retryMs) {
    // A page whose process dies never comes to an exit. The more there is to write, the less often.
    keeping ||= later(keep, waiting.length);
    if (waiting.length < MOST_EVENTS) schedule();
    else send();
  }
}

/** Take over what earlier pages of this site could not deliver, and begin to deliver. */
export function resume(): void {
  for (const key of keys()) {
    if (key === KEY || key.indexOf(QUEUE)) continue;
    // Should the page that it belongs to still live, both send it, and it counts once by its id.
    const left = read(key);
    waiting = left.concat(waiting);
    // The browser took most of them at the last exit; what is new has the next exit's budget to itself.
    beaconed = beaconed.concat(left);
    remove(key);
  }
  keep();
  schedule();
}

/** Send what is waiting in a way that the browser finishes when the page is gone, and keep it in case that it does not. */
export function flushAtExit(): void {
  if (!consent()) return;
  let rest = waiting.filter((event) => !beaconed.includes(event));
  for (let most = MOST_EVENTS; rest[0] && most; ) {
    const batch = take(rest, most);
    if (beacon(body(batch))) {
      beaconed = beaconed.concat(batch);
      rest = rest.slice(batch.length);
      // The browser's budget is used up for so much; half of it may fit, and what does not is kept.
    } else most = batch.length >> 1;
  }
  // Only then: what follows a write to the storage Firefox loses when the tab is closed.
  keep();
}

/** The page is back: send once more what an exit sent, for a beacon has no answer. What arrived counts once. */
export function comeBack(): void {
  beaconed = [];
  schedule();
}

/** Try now what was to be tried later, as soon as the network is back. */
export function watchNetwork(): void {
  hear("online", () => {
    clearTimeout(timer);
    timer = retryMs = 0;
    comeBack();
  });
}

/** Drop what nobody may send any more. */
export function drop(): void {
  waiting = [];
  keep();
}

function schedule(ms = GATHER_MS): void {
  if (waiting[0] && !timer) {
    timer = later(() => {
      timer = 0;
      send();
    }, ms);
  }
}

/** Hand a batch to the collector; where that fails, and another time may not, send it again later. */
function send(): void {
  const said = consent();
  if (said === false) drop();
  if (!said || sending || !waiting.length) return;
  settle();
  keep();
  sending = true;
  const batch = take(waiting, MOST_EVENTS);
  const text = body(batch);
  const wait = Math.min(LONGEST_RETRY_MS, retryMs * 2 || FIRST_RETRY_MS) * (0.5 + Math.random() / 2);
  const done = (after?: number): void => {
    sending = false;
    retryMs = after || 0;
    if (!after) {
      // More may have come meanwhile.
      waiting = waiting.filter((event) => !batch.includes(event));
      keep();
    }
    schedule(after);
  };
  try {
    // A string is sent as text/plain, which no browser asks permission for first.
    fetch(ENDPOINT, {
      method: "POST",
      body: text,
      // A single event that is more would be refused; it is kept anyway.
      keepalive: text.length <= MOST_CHARACTERS,
      credentials: "omit",
    })
      .then((answer) => {
        const asked = (answer.headers.get("Retry-After") as unknown as number) * 1000;
        const again = /^(5|4(08|29))/.test(answer.status as unknown as string);
        done(again ? Math.min(LONGEST_PAUSE_MS, asked > wait ? asked : wait) : 0);
        // An answer that nobody reads holds on to the budget.
        return answer.text();
      })
      .catch(() => { if (sending) done(wait); });
  } catch {
    if (!beacon(text)) batch.forEach(image);
    done();
  }
}

/** Two tabs that were opened at once have each begun a session; what is kept by now is the one that holds. */
function settle(): void {
  const holds = kept();
  if (!holds) return;
  for (const event of waiting) if (!event.visitor_id && event.timestamp >= iso(holds.start - 5000)) event.session_id = holds.id;
}

/** Whether the browser took a beacon, which it sends when it pleases and tells nobody of. */
function beacon(text: string): boolean | undefined {
  return attempt(() => navigator.sendBeacon(ENDPOINT, text));
}

/** The oldest way: an image whose address says it, one event each; that it has gone is all that is known. */
function image(event: Event): void {
  new Image().src = `${ENDPOINT}?d=${encodeURIComponent(body([event]))}`;
}

function body(events: Event[]): string {
  const source = consentSource();
  return json({
    visitor_id: visitorId(),
    site_id: option("site") || undefined,
    sent_at: iso(Date.now()),
    consent: source ? { analytics: true, source } : undefined,
    events,
  });
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
  keeping = 0;
  // What has no room there is still on its way.
  let kept = waiting;
  let text = json(kept);
  while (text.length > MOST_KEPT_CHARACTERS) {
    kept = kept.slice((kept.length >> 3) || 1);
    text = json(kept);
  }
  // Another tab may have been told no meanwhile.
  if (waiting.length && consent()) save(KEY, text);
  else remove(KEY);
}

function read(key: string): Event[] {
  const oldest = iso(Date.now() - LONGEST_WAIT_MS);
  const visitor_id = visitorId();
  return (
    attempt(() =>
      (JSON.parse(load(key) as string) as Event[])
        .filter((event) => event.timestamp > oldest)
        .map((event) => Object.assign({ visitor_id }, event)),
    ) || []
  );
}

/** The first of the events, as many as travel together; at least one. */
function take(events: Event[], most: number): Event[] {
  let size = 500; // the envelope
  const batch: Event[] = [];
  for (const event of events.slice(0, most)) {
    size += json(event).length + 1;
    if (batch[0] && size > MOST_CHARACTERS) break;
    batch.push(event);
  }
  return batch;
}
