/* A real browser before the sites of a scenario. */
import { after, before, test } from "node:test";
import puppeteer, { type Browser, type BrowserContext, type Page } from "puppeteer-core";
import { Place, RUN, type Stored } from "./sites";

export { type Stored, until } from "./sites";

/** `chrome` or `firefox`. */
export const ENGINE = (process.env["ENGINE"] ?? "chrome") as "chrome" | "firefox";
const PROGRAMS = { chrome: "/usr/bin/chromium", firefox: "/usr/bin/firefox-esr" };
/** Hosts as the world has them, which only this browser finds, on this machine: unlike those that end in `localhost`
    they are no secure context, which has less of the browser's interfaces. */
export const HOSTS = ["www", "blog", "app", "collect"].map((name) => `${name}.shop-${RUN}.example`).concat(`store-${RUN}.example`);
const ARGUMENTS = [
  "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync", `--host-resolver-rules=${HOSTS.map((host) => `MAP ${host} 127.0.0.1`).join(",")}`,
];

let browser: Browser | undefined;

/** A site with a fresh profile to visit it. */
export class Site extends Place {
  readonly errors: string[] = [];

  constructor(readonly context: BrowserContext, host?: string) {
    super(host);
  }

  /** Open a page in a new tab; an error on it fails the scenario. */
  async open(path = "/", prepare?: (page: Page) => Promise<unknown>): Promise<Page> {
    const page = await this.context.newPage();
    page.on("pageerror", (error) => {
      // Firefox tells of a request that failed in the same way.
      if (!String(error).includes("Cross-Origin Request Blocked")) this.errors.push(String(error));
    });
    await prepare?.(page);
    await page.goto(this.url(path));
    return page;
  }

  /** Take the network from a page, or give it back; where a driver cannot, the door breaks every connection. */
  async offline(page: Page, away: boolean): Promise<void> {
    if (ENGINE === "chrome") await page.setOfflineMode(away);
    else {
      this.down = away ? "reset" : null;
      if (!away) await page.evaluate("dispatchEvent(new Event('online'))");
    }
  }

  /** Everything that happened on a page until now: what comes after the mark comes after all of it. */
  async settled(page: Page): Promise<Stored[]> {
    const name = `mark_${String(Date.now())}`;
    await page.evaluate((mark) => { (window as unknown as { evothesis: (...call: unknown[]) => void }).evothesis("track", mark); }, name);
    await this.events(1, name);
    // Which window has the focus is the driver's doing, and changes when another engine starts beside it.
    return (await this.stored()).filter(({ event_type }) => !/^(mark_|visibility)/.test(event_type));
  }
}

/** A scenario, on a site of its own with a fresh profile; `only` names the engines that can show it. */
export function scenario(name: string, work: (site: Site) => Promise<void>, only = "chrome firefox"): void {
  if (!only.includes(ENGINE)) return;
  void test(`${ENGINE}: ${name}`, { timeout: 240_000 }, async () => {
    if (!browser) throw new Error("no browser");
    const context = await browser.createBrowserContext();
    const site = new Site(context);
    try {
      await work(site);
      if (site.errors.length) throw new Error(`errors on the page: ${site.errors.join("; ")}`);
    } finally {
      await context.close();
    }
  });
}

before(async () => {
  browser = await puppeteer.launch({
    browser: ENGINE,
    executablePath: PROGRAMS[ENGINE],
    headless: true,
    ...(ENGINE === "chrome" ? { args: ARGUMENTS } : { extraPrefsFirefox: { "network.dns.localDomains": HOSTS.join(",") } }),
  });
});

after(async () => {
  await browser?.close();
});
