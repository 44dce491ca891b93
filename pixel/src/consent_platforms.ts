/* An optional file of its own: tells the pixel what the page's consent management platform says. Each platform is read
   in its own words, and heard when the visitor changes his mind. */
import { safely } from "./safely";

type Api = ((command: "consent", said: { analytics: boolean | null; source: string }) => void) & { q?: unknown[] };
/** Granted, refused, not yet decided (null), or not there (undefined). */
type State = boolean | null | undefined;

interface Tcf {
  eventStatus?: string;
  gdprApplies?: boolean;
  purpose?: { consents?: Record<string, boolean> };
}

interface Page {
  evothesis?: Api;
  __tcfapi?: (command: string, version: number, listener: (data: Tcf, ok: boolean) => void) => void;
  dataLayer?: ArrayLike<unknown> & { push: (...entries: unknown[]) => number };
  OneTrust?: { IsAlertBoxClosed?: () => boolean };
  OnetrustActiveGroups?: string;
  Cookiebot?: { hasResponse?: boolean; consent?: { statistics?: boolean } };
  UC_UI?: { isInitialized: () => boolean; getServicesBaseInfo: () => { name: string; consent: { status: boolean } }[] };
  klaro?: { getManager: () => { confirmed: boolean; consents: Record<string, boolean>; watch: (watcher: object) => void } };
}

const EVENTS =
  "OneTrustGroupsUpdated CookiebotOnAccept CookiebotOnDecline CookiebotOnConsentReady UC_UI_INITIALIZED UC_UI_CMP_EVENT";
/** Platforms load late; after that only those that were seen are heard. */
const LOOKS = 60;
const LOOK_MS = 500;
/** Store and access information; measure content performance (IAB TCF 2.2). */
const PURPOSES = ["1", "8"];

/** Tell the pixel what the page's platform says, whenever that changes. */
function hearPlatforms(): void {
  const page = window as unknown as Page;
  // What the pixel is called in the lists of Usercentrics and Klaro.
  const service = document.currentScript?.getAttribute("data-service") ?? "Evothesis";
  let tcf: State;
  let mode: State;
  let read = 0;
  let watched: unknown;
  let heard = "";

  const platforms: [string, () => State][] = [
    ["tcf", () => tcf],
    [
      "onetrust",
      () =>
        page.OnetrustActiveGroups === undefined
          ? undefined
          : page.OnetrustActiveGroups.includes("C0002") || (page.OneTrust?.IsAlertBoxClosed?.() ? false : null),
    ],
    ["cookiebot", () => page.Cookiebot && (page.Cookiebot.hasResponse ? !!page.Cookiebot.consent?.statistics : null)],
    [
      "usercentrics",
      () =>
        page.UC_UI?.isInitialized()
          ? page.UC_UI.getServicesBaseInfo().find(({ name }) => name === service)?.consent.status
          : undefined,
    ],
    [
      "klaro",
      () => {
        const manager = page.klaro?.getManager();
        return manager && (manager.confirmed ? !!manager.consents[service.toLowerCase()] : null);
      },
    ],
    ["consent-mode", () => mode],
  ];

  const listen = (): void => {
    if (page.__tcfapi && watched !== page.__tcfapi) {
      watched = page.__tcfapi;
      page.__tcfapi("addEventListener", 2, (data, ok) => {
        if (!ok) return;
        if (data.gdprApplies === false) tcf = true;
        // Before the visitor has chosen, all of it is false and means nothing.
        else if (/^(tcloaded|useractioncomplete)$/.test(data.eventStatus ?? "")) {
          tcf = PURPOSES.every((purpose) => data.purpose?.consents?.[purpose]);
        } else tcf = tcf ?? null;
        look();
      });
    }
    const layer = page.dataLayer;
    if (layer) {
      for (; read < layer.length; read++) {
        const [command, kind, said] = Array.from(Object(layer[read]) as ArrayLike<unknown>);
        const state = command === "consent" ? (said as Record<string, unknown>)["analytics_storage"] : undefined;
        // A default may still change; and one for some regions says nothing of this one.
        if (state && !(said as Record<string, unknown>)["region"]) mode = state === "granted" || (kind === "update" ? false : null);
      }
    }
  };

  const look = (): void => {
    try {
      listen();
      for (const [source, state] of platforms) {
        const now = state();
        if (now === undefined) continue;
        if (heard !== source + String(now)) {
          heard = source + String(now);
          tell(now, source);
        }
        return;
      }
    } catch {
      // A platform in a state that nobody foresaw has said nothing.
    }
  };

  const hook = (): void => {
    const layer = page.dataLayer;
    if (layer && !(layer as { evothesis?: boolean }).evothesis) {
      const push = layer.push;
      layer.push = function (...entries: unknown[]) {
        const length = push.apply(this, entries);
        look();
        return length;
      };
      Object.defineProperty(layer, "evothesis", { value: true });
    }
    const klaro = page.klaro?.getManager();
    if (klaro && watched !== klaro) {
      watched = klaro;
      klaro.watch({ update: look });
    }
  };

  const tell = (analytics: boolean | null, source: string): void => {
    const queue: unknown[] = [];
    const early: Api = (...call) => { queue.push(call); };
    // Whichever of the two scripts is there first.
    if (!page.evothesis) page.evothesis = Object.assign(early, { q: queue });
    page.evothesis("consent", { analytics, source });
  };

  let looks = 0;
  const lookAgain = (): void => {
    try {
      hook();
    } catch {
      // As above.
    }
    look();
    if (++looks < LOOKS) setTimeout(lookAgain, LOOK_MS);
  };
  for (const event of EVENTS.split(" ")) addEventListener(event, look);
  lookAgain();
}

safely(hearPlatforms)();
