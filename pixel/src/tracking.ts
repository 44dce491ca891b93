import { nameOf, watchClicks } from "./clicks";
import { consent, decide } from "./consent";
import { arrive } from "./domains";
import { watchEngagement } from "./engagement";
import { watchForms } from "./forms";
import { words } from "./options";
import { add, type Data, drop, resume, retry } from "./outbox";
import { viewPage, watchPageViews } from "./page_views";
import { hear, safely } from "./safely";
import { watchScroll } from "./scroll";
import { watchSelection } from "./selection";
import { objects } from "./signals";

interface Consent {
  /** Null: somebody is going to ask. */
  analytics?: boolean | null;
  source?: string;
}
type Call = [command: string, ...rest: unknown[]];
interface Api {
  (...call: Call): void;
  /** What was called before this script was there. */
  q?: ArrayLike<unknown>[];
  /** That it is there. */
  on?: boolean;
  consent?: (said: Consent) => void;
}

/** Calls that came before the page was counted. */
let early: Call[] | null = [];
let watching = false;

const COMMANDS: Record<string, (...rest: never[]) => void> = {
  // What the browser measured or stumbled over is nothing that the visitor did.
  track: (name: string, data?: Data) => { add(nameOf(name), data || {}, Date.now(), /^(web_vitals|js_error)$/.test(name)); },
  page: (data?: Data) => { viewPage(data || {}); },
  consent: ({ analytics, source }: Consent) => { tell(analytics === null ? null : analytics === true, source || "api"); },
};

/** Watch this page, unless the visitor objects or it is being watched already. */
function start(): void {
  const page = window as unknown as { evothesis?: Api };
  const before = page.evothesis;
  if (before?.on) return;
  const deaf = objects();
  const api: Api = (...call) => { safely(run)(call); };
  api.on = true;
  api.consent = (said) => { api("consent", said); };
  page.evothesis = api;
  // Before any storage is touched.
  if (deaf) {
    early = null;
    return;
  }
  for (const call of before?.q || []) early?.push(Array.from(call) as Call);
  // A decision that waits in the queue comes before everything else.
  for (const call of early || []) if (call[0] === "consent") run(call);
  seen(watch);
}

/** Do something as soon as the page is in sight: a page that is drawn ahead, or behind, may never be. */
function seen(then: () => void): void {
  const ahead = (): boolean => (document as { prerendering?: boolean }).prerendering === true;
  const look = safely(() => {
    if (!ahead() && document.visibilityState !== "hidden" && !watching) {
      watching = true;
      then();
    }
  });
  hear(document, "prerenderingchange visibilitychange", look);
  look();
}

function watch(): void {
  if (consent()) resume();
  arrive();
  watchEngagement();
  watchPageViews();
  for (const [name, begin] of Object.entries({
    clicks: watchClicks,
    forms: watchForms,
    scroll: watchScroll,
    selection: watchSelection,
  })) {
    if (!words("exclude").includes(name)) begin();
  }
  hear(window, "online", retry);
  const calls = early || [];
  early = null;
  for (const call of calls) if (call[0] !== "consent") run(call);
}

function run(call: Call): void {
  const [command, ...rest] = call;
  if (objects()) return;
  if (!watching && command !== "consent") early?.push(call);
  else COMMANDS[command]?.(...(rest as never[]));
}

function tell(granted: boolean | null, source: string): void {
  if (!decide(granted, source)) return;
  if (!granted) {
    drop();
    return;
  }
  add("consent", { analytics: true, source });
  resume();
}

safely(start)();
