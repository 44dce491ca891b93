import { add } from "./outbox";
import { hear, safely } from "./safely";

const MILESTONES = [25, 50, 75, 100];

let reached = 0;
let lowest = 0;

/** Watch how far the page is scrolled. */
export function watchScroll(): void {
  let pending = false;
  const look = safely(() => {
    pending = false;
    const root = document.documentElement;
    // A page that fits the window was never scrolled.
    if (root.scrollHeight <= innerHeight) return;
    for (const percent of pass(scrollY + innerHeight, root.scrollHeight)) add("scroll_depth", { percent });
  });
  hear(document, "scroll", () => {
    // Sizes are read in the frame that draws them anyway, so that reading them costs no layout.
    if (!pending) requestAnimationFrame(look);
    pending = true;
  });
}

/** Begin anew on a new page. */
export function beginScroll(): void {
  reached = lowest = 0;
}

/** How far the page was scrolled, in percent of its height at the time. */
export function deepest(): number {
  return lowest;
}

/** The milestones that are new when the lower edge of the window is `bottom` pixels down a page of `height`. */
export function pass(bottom: number, height: number): number[] {
  // A pixel is given away: zoomed pages end at a fraction of one.
  const percent = height > 0 ? Math.min(100, ((bottom + 1) / height) * 100) : 0;
  const passed = MILESTONES.filter((milestone) => milestone > reached && milestone <= percent);
  reached = Math.max(reached, ...passed);
  lowest = Math.max(lowest, Math.floor(percent));
  return passed;
}
