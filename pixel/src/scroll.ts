import { add } from "./outbox";
import { hear, safely } from "./safely";

const MILESTONES = [25, 50, 75, 100];

let lowest = 0;

/** Watch how far the page is scrolled. */
export function watchScroll(): void {
  let pending = false;
  const look = safely(() => {
    pending = false;
    const height = document.documentElement.scrollHeight;
    // A page that fits the window was never scrolled.
    if (height > innerHeight) for (const percent of pass(scrollY + innerHeight, height)) add("scroll_depth", { percent });
  });
  hear("scroll", () => {
    // Sizes are read in the frame that draws them anyway, so that reading them costs no layout.
    if (!pending) requestAnimationFrame(look);
    pending = true;
  });
}

/** Begin anew on a new page. */
export function beginScroll(): void {
  lowest = 0;
}

/** How far the page was scrolled, in percent of its height at the time. */
export function deepest(): number {
  return lowest;
}

/** The milestones that are new when the lower edge of the window is `bottom` pixels down a page of `height`. */
export function pass(bottom: number, height: number): number[] {
  // A pixel is given away: zoomed pages end at a fraction of one.
  const percent = Math.min(100, Math.floor(((bottom + 1) / height) * 100));
  const passed = MILESTONES.filter((milestone) => milestone > lowest && milestone <= percent);
  lowest = Math.max(lowest, percent);
  return passed;
}
