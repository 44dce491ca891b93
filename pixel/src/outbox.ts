import { sessionId, visitorId } from "./session";
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
      url: location.href,
      referrer: document.referrer,
      title: document.title,
      page_view_id: this.pageViewId,
      seq: this.seq++,
      data,
    });
    if (this.waiting.length > MOST_WAITING) this.waiting.shift();
    if (!this.retryMs) this.schedule(this.waiting.length >= MOST_EVENTS ? 0 : GATHER_MS);
  }

  /** Send what is waiting, in a way that the browser finishes when the page is gone. */
  flushAtExit(): void {
    while (this.waiting.length) {
      const batch = this.take();
      // False: the browser's budget is used up. What was sent before is safe; the rest stays for a return.
      if (!navigator.sendBeacon(this.endpoint, this.body(batch))) return;
      this.waiting = this.waiting.slice(batch.length);
    }
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
    const batch = this.take();
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
      const answer = await fetch(this.endpoint, {
        method: "POST",
        body: this.body(batch),
        keepalive: true,
        credentials: "omit",
      });
      const later = answer.status === 429 || answer.status >= 500;
      return later ? Number(answer.headers.get("Retry-After")) * 1000 || next : 0;
    } catch {
      return next;
    }
  }

  private take(): Event[] {
    let bytes = 0;
    const batch: Event[] = [];
    for (const event of this.waiting.slice(0, MOST_EVENTS)) {
      // Three bytes is the most that a UTF-16 unit becomes; most take one.
      bytes += JSON.stringify(event).length * 1.2 + 2;
      if (batch.length && bytes > MOST_BYTES) break;
      batch.push(event);
    }
    return batch;
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
