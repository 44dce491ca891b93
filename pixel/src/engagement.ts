import { hear } from "./safely";

/** Who did nothing for so long is not there. */
const ATTENTION_MS = 60_000;

let total = 0;
/** When the present stretch of attention began and was last confirmed, by a clock that nobody can set; 0 for none. */
let since = 0;
let active = 0;

/** Watch whether somebody is there. */
export function watchEngagement(): void {
  hear("pointermove pointerdown keydown focus scroll", () => {
    const now = performance.now();
    // After an absence the pause is cut off, and a new stretch begins.
    if (now - active > ATTENTION_MS) count(now);
    active = now;
    if (!since && visible()) since = now;
  });
}

/** Begin to count for a new page. */
export function beginEngagement(): void {
  total = 0;
  active = since = performance.now();
}

/** The ms that somebody was there: the page in sight and in focus, and touched within the last minute. */
export function engaged(): number {
  const now = performance.now();
  count(now);
  if (visible() && document.hasFocus()) since = now;
  return Math.round(total);
}

/** Whether the page is in sight. */
export function visible(): boolean {
  return !document.hidden;
}

function count(now: number): void {
  if (since) total += Math.max(0, Math.min(now, active + ATTENTION_MS) - since);
  since = 0;
}
