/* An optional file of its own: the errors of the page's scripts, each once. */
import { hear, safely } from "./safely";
import { cut } from "./text";

interface Page {
  evothesis?: (command: "track", name: string, data: Record<string, unknown>, idle: boolean) => void;
}

const MOST = 10;
const MESSAGE_CHARACTERS = 300;

const seen: Record<string, boolean> = {};
let count = 0;

/** Watch for errors. */
function watchErrors(): void {
  hear("error", (event: ErrorEvent) => {
    // Without a message it is a file that did not load.
    if (event.message) report("error", event.message, event.filename, event.lineno, event.colno);
  });
  hear("unhandledrejection", (event: PromiseRejectionEvent) => {
    const reason: unknown = event.reason;
    report("rejection", reason instanceof Error ? `${reason.name}: ${reason.message}` : String(reason));
  });
}

function report(kind: string, message: string, source = "", line = 0, column = 0): void {
  const key = message + source + String(line);
  // Of a script from elsewhere a browser says nothing; the other is no error at all.
  if (seen[key] || /^Script error|ResizeObserver loop/.test(message) || ++count > MOST) return;
  seen[key] = true;
  (window as unknown as Page).evothesis?.("track", "js_error", {
    kind,
    message: begin(message),
    source: begin(source),
    line,
    column,
    // What somebody stumbled over is nothing that he did.
  }, true);
}

/** The beginning of a text; not of a word or a number, which would not be known for what it is. */
function begin(text: string): string {
  return text.length > MESSAGE_CHARACTERS ? cut(text, MESSAGE_CHARACTERS).replace(/[\d\W]*\S*$/, "") : text;
}

safely(watchErrors)();
