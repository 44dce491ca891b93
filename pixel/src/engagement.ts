import { hear } from "./safely";

/** Who did nothing for so long is not there. */
const ATTENTION_MS = 60_000;

let total = 0;
/** When the present stretch of attention began and was last confirmed, by a clock that nobody can set; 0 for none. */
let since = 0;
let active = 0;
let focused = true;

/** Watch whether somebody is there. */
export function watchEngagement(): void {
  focused = document.hasFocus();
  hear(window, "pointerdown pointermove keydown wheel scroll touchstart", () => {
    const now = performance.now();
    // After an absence the pause is cut off, and a new stretch begins.
    if (since && now - active > ATTENTION_MS) count(now);
    active = now;
    if (!since && document.visibilityState === "visible") since = now;
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
  if (since) count(now);
  if (document.visibilityState === "visible" && focused) since = now;
  return Math.round(total);
}

/** Take note of the window's focus. */
export function hasFocus(focus: boolean): void {
  focused = focus;
  since = focus ? performance.now() : 0;
  if (focus) active = since;
}

/** Stop counting, and say what was counted. */
export function leaveEngagement(): number {
  const ms = engaged();
  since = 0;
  return ms;
}

function count(now: number): void {
  total += Math.max(0, Math.min(now, active + ATTENTION_MS) - since);
  since = 0;
}
