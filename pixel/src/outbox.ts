import { sessionId, visitorId } from "./session";
import { cut } from "./text";
import { uuid } from "./uuid";

/** What an event is about, in any shape that JSON takes. */
export type Data = Record<string, unknown>;

interface Event {
  event_id: string;
  event_type: string;
  timestamp: string;
  session_id: string;
  url: string;
  referrer: string;
  title: string;
  page_view_id: string;
  seq: number;
  data: Data;
}

/** Events of one moment travel together; the first is on its way within a second. */
const GATHER_MS = 400;
const MOST_EVENTS = 50;
/** All requests that outlive their page share 64 KiB in the browser; one of ours takes at most this much of it. */
const MOST_BYTES = 48_000;
/** The server keeps no more of them either. */
const URL_CHARACTERS = 4000;
const TITLE_CHARACTERS = 500;
/** What is not delivered is kept in memory, the oldest going first when it becomes too much. */
const MOST_WAITING = 500;
const FIRST_RETRY_MS = 1000;
const LONGEST_RETRY_MS = 60_000;

/** Gathers events and delivers them; an event leaves the outbox when the collector has it, and not before. */
export class Outbox {
  private waiting: Event[] = [];
  private timer = 0;
  private sending = false;
  private retryMs = 0;
  private seq = 0;
  /** Events that the browser took at an exit; whether they arrived, nobody says. */
  private readonly beaconed = new Set<string>();
  private pageViewId = "";
  private readonly visitorId = visitorId();

  constructor(private readonly endpoint: string) {}

  /** Begin a page view: the events that follow belong to it. */
  beginPageView(): void {
    this.pageViewId = uuid(Date.now());
  }

  /** Take an event of the page as it is now. */
  add(type: string, data: Data): void {
    const now = Date.now();
    this.waiting.push({
      event_id: uuid(now),
      event_type: type,
      timestamp: new Date(now).toISOString(),
      session_id: sessionId(now),
      url: cut(location.href, URL_CHARACTERS),
      referrer: cut(document.referrer, URL_CHARACTERS),
      title: cut(document.title, TITLE_CHARACTERS),
      page_view_id: this.pageViewId,
      seq: this.seq++,
      data,
    });
    if (this.waiting.length > MOST_WAITING) this.waiting.shift();
    if (!this.retryMs) this.schedule(this.waiting.length >= MOST_EVENTS ? 0 : GATHER_MS);
  }

  /** Send what is waiting, in a way that the browser finishes when the page is gone. */
  flushAtExit(): void {
    let rest = this.waiting.filter((event) => !this.beaconed.has(event.event_id));
    while (rest.length) {
      const batch = take(rest);
      // False: the browser's budget is used up; the rest stays for a return.
      if (!navigator.sendBeacon(this.endpoint, this.body(batch))) return;
      for (const event of batch) this.beaconed.add(event.event_id);
      rest = rest.slice(batch.length);
    }
  }

  /** The page is back: send once more what an exit sent, for a beacon has no answer. What arrived counts once. */
  comeBack(): void {
    this.beaconed.clear();
    if (this.waiting.length) this.schedule(GATHER_MS);
  }

  private schedule(ms: number): void {
    if (this.timer) return;
    this.timer = window.setTimeout(() => {
      this.timer = 0;
      void this.send();
    }, ms);
  }

  private async send(): Promise<void> {
    if (this.sending || !this.waiting.length) return;
    const batch = take(this.waiting);
    this.sending = true;
    this.retryMs = await this.post(batch);
    this.sending = false;
    if (!this.retryMs) {
      // By id, for an exit may have emptied the outbox meanwhile.
      const done = new Set(batch.map((event) => event.event_id));
      this.waiting = this.waiting.filter((event) => !done.has(event.event_id));
    }
    if (this.waiting.length) this.schedule(this.retryMs || GATHER_MS);
  }

  /** How long to wait before the same events are sent again; 0 when they are not to be. */
  private async post(batch: Event[]): Promise<number> {
    const next = Math.min(LONGEST_RETRY_MS, this.retryMs * 2 || FIRST_RETRY_MS) * (0.5 + Math.random() / 2);
    try {
      // A string is sent as text/plain, which no browser asks permission for first.
      const body = this.body(batch);
      const answer = await fetch(this.endpoint, {
        method: "POST",
        body,
        // Beyond the budget the browser would refuse it, now and for ever.
        keepalive: bytes(body) <= MOST_BYTES,
        credentials: "omit",
      });
      const later = answer.status === 429 || answer.status >= 500;
      return later ? Number(answer.headers.get("Retry-After")) * 1000 || next : 0;
    } catch {
      return next;
    }
  }

  private body(events: Event[]): string {
    return JSON.stringify({
      visitor_id: this.visitorId,
      site_id: null,
      sent_at: new Date().toISOString(),
      events,
    });
  }
}

/** The first of the events, as many as travel together; at least one. */
function take(events: Event[]): Event[] {
  let size = 500; // the envelope
  const batch: Event[] = [];
  for (const event of events.slice(0, MOST_EVENTS)) {
    size += bytes(JSON.stringify(event)) + 1;
    if (batch.length && size > MOST_BYTES) break;
    batch.push(event);
  }
  return batch;
}

function bytes(text: string): number {
  return new TextEncoder().encode(text).length;
}
