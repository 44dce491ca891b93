/* An optional file of its own: the Web Vitals of a page view, in one event when the page is hidden or left. */
import { type Metric, onCLS, onFCP, onINP, onLCP, onTTFB } from "web-vitals";
import { safely } from "./safely";

interface Page {
  evothesis?: (command: "track", name: string, data: Record<string, unknown>, idle: boolean) => void;
}

/** Gather what is measured, and tell it once. */
function measure(): void {
  // A page that nobody saw loads at no speed.
  if (document.visibilityState === "hidden") return;
  // What is measured is this document, whatever route its visitor leaves it from.
  const url = location.href;
  let vitals: Record<string, unknown> = {};
  const note = ({ name, value, rating }: Metric): void => {
    vitals[name.toLowerCase()] = Math.round(value * 1000) / 1000;
    vitals[`${name.toLowerCase()}_rating`] = rating;
  };
  for (const on of [onCLS, onFCP, onINP, onLCP, onTTFB]) on(note);
  // After the library, which reports its last on the same event, and before the pixel's own last request: a page that is
  // left is hidden after it has said so.
  addEventListener("visibilitychange", safely(() => {
    if (document.visibilityState !== "hidden" || !Object.keys(vitals).length) return;
    (window as unknown as Page).evothesis?.("track", "web_vitals", { url, ...vitals }, true);
    vitals = {};
  }), true);
}

safely(measure)();
