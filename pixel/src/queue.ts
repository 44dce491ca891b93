type Api = ((...call: unknown[]) => void) & { q?: unknown[] };

/** Say something to the pixel, whichever of the two scripts is there first. */
export function say(...call: unknown[]): void {
  const page = window as unknown as { evothesis?: Api };
  const queue: unknown[] = [];
  const early: Api = (...later) => { queue.push(later); };
  page.evothesis = page.evothesis ?? Object.assign(early, { q: queue });
  page.evothesis(...call);
}
