/* The little of a browser that the pure parts of the pixel touch; imported before them. */

export const stored = new Map<string, string>();
export const storage = { blocked: false };
export const attributes: Record<string, string> = {};

const methods = {
  getItem(key: string): string | null {
    if (storage.blocked) throw new Error("SecurityError");
    return stored.get(key) ?? null;
  },
  setItem(key: string, value: string): void {
    if (storage.blocked) throw new Error("SecurityError");
    stored.set(key, value);
  },
  removeItem(key: string): void {
    if (storage.blocked) throw new Error("SecurityError");
    stored.delete(key);
  },
};

/** As in a browser, `Object.keys` of a storage are what is kept. */
const localStorage = new Proxy(methods, {
  ownKeys: () => [...stored.keys()],
  getOwnPropertyDescriptor: () => ({ enumerable: true, configurable: true }),
});

class HTMLScriptElement {
  readonly src = "https://c.example/js/tracking.js";
  getAttribute(name: string): string | null {
    return attributes[name] ?? null;
  }
}

for (const [name, value] of Object.entries({
  window: {},
  localStorage,
  sessionStorage: localStorage,
  location: new URL("https://shop.example/"),
  document: { currentScript: new HTMLScriptElement(), cookie: "" },
  HTMLScriptElement,
})) {
  Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
}
