/** What a piece of work gives, or nothing where it fails: whatever fails in here must not show on the page. */
export function attempt<T>(work: () => T): T | undefined {
  try {
    return work();
  } catch {
    return undefined;
  }
}

/** A handler whose failure is nobody's but ours. */
export function safely<A extends unknown[]>(handler: (...args: A) => void): (...args: A) => void {
  return (...args) => {
    attempt(() => { handler(...args); });
  };
}

/** Hear an event of the page before anybody else can keep it to himself; never hold up a scroll. */
export function hear(names: string, handler: (event: never) => void, target: EventTarget = window): void {
  const safe = safely(handler as (event: Event) => void);
  for (const name of names.split(" ")) target.addEventListener(name, safe, { capture: true, passive: true });
}

/** Do something later, and nothing that fails. */
export function later(work: () => void, ms: number): number {
  return setTimeout(safely(work), ms) as unknown as number;
}

/** Hear of each call of a method, before it and, as `after`, when it is done; whoever wraps it after us finds it on the prototype. */
export function hearCalls<T extends object>(prototype: T, name: keyof T, handler: (self: never) => void, after?: boolean): void {
  const original = prototype[name] as (...args: unknown[]) => unknown;
  const safe = safely(handler as (self: T) => void);
  // A page may have frozen it.
  attempt(() => {
    prototype[name] = function (this: T, ...args: unknown[]) {
      safe(this);
      const given = original.apply(this, args);
      if (after) safe(this);
      return given;
    } as T[typeof name];
  });
}
