/** A handler whose failure is nobody's but ours: whatever fails in here must not show on the page. */
export function safely<A extends unknown[]>(handler: (...args: A) => void): (...args: A) => void {
  return (...args) => {
    try {
      handler(...args);
    } catch {
      // Nothing is worth a page's error.
    }
  };
}

/** Hear an event of the page before anybody else can keep it to himself; never hold up a scroll. */
export function hear(target: EventTarget, names: string, handler: (event: never) => void): void {
  const safe = safely(handler as (event: Event) => void);
  for (const name of names.split(" ")) target.addEventListener(name, safe, { capture: true, passive: true });
}
