/* An optional file of its own: tells the pixel what the page's consent management platform says. Each platform is read
   in its own words, and heard when the visitor changes his mind. */
import { say } from "./queue";
import { attempt, safely } from "./safely";

/** Granted, refused, not yet decided (null), or not there (undefined). */
type State = boolean | null | undefined;

interface Tcf {
  eventStatus?: string;
  gdprApplies?: boolean;
  cmpId?: number;
  cmpVersion?: number;
  purpose?: { consents?: Record<string, boolean> };
}

interface Page {
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
  /** Which platform speaks TCF, and in which version: whoever has to prove a consent is asked for both. */
  let speaker = "";
  let mode: State;
  let asked: unknown;
  let watched: unknown;
  let layer: unknown;
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
        const { confirmed, consents = {} } = manager ?? {};
        return manager && (confirmed ? !!(consents[service] ?? consents[service.toLowerCase()]) : null);
      },
    ],
    ["consent-mode", () => mode],
  ];

  const listen = (): void => {
    if (page.__tcfapi && asked !== page.__tcfapi) {
      asked = page.__tcfapi;
      page.__tcfapi("addEventListener", 2, (data, ok) => {
        if (!ok) return;
        if (data.cmpId) speaker = ` ${data.cmpId}.${data.cmpVersion ?? 0}`;
        if (data.gdprApplies === false) tcf = true;
        // Before the visitor has chosen, all of it is false and means nothing.
        else if (/^(tcloaded|useractioncomplete)$/.test(data.eventStatus ?? "")) {
          tcf = PURPOSES.every((purpose) => data.purpose?.consents?.[purpose]);
        } else tcf = tcf ?? null;
        look();
      });
    }
  };

  /** An entry of Google's layer, if it speaks of consent; any script of the page may have put in anything. */
  const read = safely((entry: unknown): void => {
    const { 0: command, 1: kind, 2: said } = entry as Record<number, unknown>;
    if (command !== "consent") return;
    const { analytics_storage: state, region } = said as Record<string, unknown>;
    // A default may still change; and one for some regions says nothing of this one.
    if (state && !region) mode = state === "granted" || (kind === "update" ? false : null);
  });

  const look = (): void => {
    attempt(listen);
    for (const [name, state] of platforms) {
      // A platform in a state that nobody foresaw has said nothing.
      const now = attempt(state);
      if (now === undefined) continue;
      const source = name === "tcf" ? name + speaker : name;
      if (heard !== source + String(now)) {
        heard = source + String(now);
        say("consent", { analytics: now, source });
      }
      return;
    }
  };

  const hook = (): void => {
    const now = page.dataLayer;
    // A tag manager shortens it, and may begin another one; what is pushed is read as it comes.
    if (now && now !== layer) {
      layer = now;
      for (let place = 0; place < now.length; place++) read(now[place]);
      const push = now.push;
      now.push = function (...entries: unknown[]) {
        const length = push.apply(this, entries);
        entries.forEach((entry) => { read(entry); });
        look();
        return length;
      };
    }
    const klaro = page.klaro?.getManager();
    if (klaro && watched !== klaro) {
      watched = klaro;
      klaro.watch({ update: look });
    }
  };

  let looks = 0;
  const lookAgain = (): void => {
    attempt(hook);
    look();
    if (++looks < LOOKS) setTimeout(lookAgain, LOOK_MS);
  };
  for (const event of EVENTS.split(" ")) addEventListener(event, look);
  lookAgain();
}

safely(hearPlatforms)();
