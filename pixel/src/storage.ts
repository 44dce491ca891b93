/* Storage that may be blocked, full, or taken away: then memory serves for as long as the page lives. */

const memory: Record<string, string> = {};

/** What is stored under a key, or null. */
export function load(key: string): string | null {
  try {
    const stored = window.localStorage.getItem(key);
    if (stored !== null) return stored;
  } catch {
    // Blocked by the browser; memory has it, if anything does.
  }
  return memory[key] ?? null;
}

/** Store a value for every page and tab of this origin, or at least for this page. */
export function save(key: string, value: string): void {
  memory[key] = value;
  try {
    window.localStorage.setItem(key, value);
  } catch {
    // Blocked or full.
  }
}
