import { ENDPOINT } from "./options";
import { add } from "./outbox";
import { hear } from "./safely";
import { cut } from "./text";

const MOST = 10;
const MESSAGE_CHARACTERS = 300;

const seen: Record<string, boolean> = {};
let count = 0;

/** Watch the errors of the page's scripts, each once. */
export function watchErrors(): void {
  hear(window, "error", (event: ErrorEvent) => {
    // Without a message it is a file that did not load.
    if (event.message) report("error", event.message, event.filename, event.lineno, event.colno);
  });
  hear(window, "unhandledrejection", (event: PromiseRejectionEvent) => {
    const reason: unknown = event.reason;
    report("rejection", reason instanceof Error ? `${reason.name}: ${reason.message}` : String(reason));
  });
}

function report(kind: string, message: string, source = "", line = 0, column = 0): void {
  const key = message + source + String(line);
  // Of a script from elsewhere a browser says nothing; the other is no error at all.
  if (seen[key] || /^Script error|ResizeObserver loop/.test(message) || message.includes(ENDPOINT) || ++count > MOST) return;
  seen[key] = true;
  add("js_error", { kind, message: cut(message, MESSAGE_CHARACTERS), source: cut(source, MESSAGE_CHARACTERS), line, column }, Date.now(), true);
}
