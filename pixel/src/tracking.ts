// In this order like stands beside like in the bundle, which is then compressed a little better.
import { objects } from "./signals";
import { hear, later, safely } from "./safely";
import { viewPage, watchPageViews } from "./page_views";
import { watchForms } from "./forms";
import { watchScroll } from "./scroll";
import { add, type Data, drop, resume, watchNetwork } from "./outbox";
import type { Evothesis, EvothesisConsent } from "../evothesis";
import { visible, watchEngagement } from "./engagement";
import { words } from "./options";
import { adopt } from "./session";
import { watchSelection } from "./selection";
import { nameOf, watchClicks } from "./clicks";
import { consent, decide } from "./consent";

type Call = [command: string, ...rest: unknown[]];
interface Api {
  (...call: Call): void;
  q?: Evothesis["q"];
  /** That the script is there. */
  on?: boolean;
  consent?: (said: EvothesisConsent) => void;
}

const PARTS: [name: string, watch: () => void][] = [
  ["clicks", watchClicks],
  ["forms", watchForms],
  ["scroll", watchScroll],
  ["selection", watchSelection],
];

/** Calls that came before the page was counted. */
const early: Call[] = [];
let watching = false;

/** Watch this page, unless the visitor objects or it is being watched already. */
function start(): void {
  const page = window as unknown as { evothesis?: Api };
  const before = page.evothesis;
  if (before && before.on) return;
  const api: Api = (...call) => { safely(run)(call); };
  api.on = true;
  api.consent = (said) => { api("consent", said); };
  page.evothesis = api;
  // Before any storage is touched.
  if (objects()) return;
  // A decision that waits in the queue comes before everything else.
  for (const call of (before && before.q) || []) api(...(call as Call));
  // Not at once: the browser goes on with the page first. Who leaves before that has seen it too.
  hear("visibilitychange prerenderingchange pagehide", watch);
  later(watch, 0);
}

/** Begin as soon as the page is in sight: one that is drawn ahead, or behind, may never be. */
function watch(): void {
  if (watching || !visible() || (document as { prerendering?: boolean }).prerendering) return;
  watching = true;
  if (consent()) resume();
  watchEngagement();
  watchPageViews();
  for (const [name, begin] of PARTS) if (!words("exclude").includes(name)) begin();
  watchNetwork();
  for (const call of early) safely(run)(call);
}

function run(call: Call): void {
  const [command, first, second, third] = call;
  if (objects()) return;
  if (command === "consent") tell(first as EvothesisConsent);
  else if (command === "adopt") {
    if (consent()) adopt(first as string, second as string, third as number);
  } else if (!watching) early.push(call);
  else if (command === "track") add(nameOf(first as string), (second || {}) as Data, third as boolean);
  else if (command === "page") viewPage(first as Data);
}

function tell({ analytics, source = "api" }: EvothesisConsent): void {
  const granted = analytics === null ? null : (analytics as unknown) === true;
  if (!decide(granted, source)) return;
  if (granted) {
    run(["track", "consent", { source, analytics: granted }]);
    resume();
  } else drop();
}

safely(start)();
