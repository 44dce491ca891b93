/* Sites on this machine, a door before the real collector that can be told to fail, and a real browser in front of both.

   What a scenario asserts are the events that PostgreSQL holds, asked of the product's own API. */
import http, { type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { after, before, test } from "node:test";
import puppeteer, { type Browser, type BrowserContext, type Page } from "puppeteer-core";

const COLLECTOR = process.env["EVOTHESIS_URL"] ?? "http://127.0.0.1:8000";
const TOKEN = process.env["EVOTHESIS_ADMIN_TOKEN"] ?? "";
/** `chrome` or `firefox`. */
export const ENGINE = (process.env["ENGINE"] ?? "chrome") as "chrome" | "firefox";

const PROGRAMS = { chrome: "/usr/bin/chromium", firefox: "/usr/bin/firefox-esr" };
const PATIENCE_MS = 15_000;
/** So that no two runs share a site, not even those of two engines that begin at once. */
const RUN = ENGINE.slice(0, 1) + Date.now().toString(36);
/** Hosts as the world has them, which only this browser finds, on this machine: unlike those that end in `localhost`
    they are no secure context, which has less of the browser's interfaces. */
export const HOSTS = ["www", "blog", "app", "collect"].map((name) => `${name}.shop-${RUN}.example`).concat(`store-${RUN}.example`);
const ARGUMENTS = [
  "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync", `--host-resolver-rules=${HOSTS.map((host) => `MAP ${host} 127.0.0.1`).join(",")}`,
];

/** An event as it is stored. */
export interface Stored {
  event_type: string;
  session_id: string;
  visitor_id: string;
  url: string;
  raw_event_data: {
    event_id: string; page_view_id: string; tab_id: string; referrer: string; title: string; seq: number;
    timestamp: string; data: Record<string, unknown>;
  };
}

/** A request as it came to the collector's door. */
export interface Request {
  method: string;
  url: string;
  headers: http.IncomingHttpHeaders;
  body: string;
  at: number;
}

/** What the door answers instead of the collector: a status, nothing at all, or a broken connection. */
export type Failure = number | { status: number; headers: Record<string, string> } | "reset";

let browser: Browser | undefined;
let pages: http.Server | undefined;
let door: http.Server | undefined;
let sites = 0;
const content = new Map<string, string>();
const byHost = new Map<string, Site>();
const requests: Request[] = [];

export async function until<T>(look: () => T | Promise<T>, what: string, ms = PATIENCE_MS): Promise<NonNullable<T>> {
  const ends = Date.now() + ms;
  for (;;) {
    const found = await look();
    if (found) return found;
    if (Date.now() > ends) throw new Error(`waited in vain for ${what}`);
    await new Promise((go) => setTimeout(go, 50));
  }
}

function port(server: http.Server | undefined): number {
  return (server?.address() as AddressInfo).port;
}

/** One site of a scenario: a host of its own, with its pages and a fresh profile to visit them. */
export class Site {
  readonly host: string;
  readonly errors: string[] = [];
  /** What the door answers to beacons of this site, one after another, before it lets them through again. */
  failures: Failure[] = [];
  down: Failure | null = null;

  constructor(readonly context: BrowserContext, host?: string) {
    this.host = host ?? `s${String(++sites)}-${RUN}.localhost`;
    byHost.set(this.host, this);
  }

  url(path = "/"): string {
    return `http://${this.host}:${String(port(pages))}${path}`;
  }

  /** The script's element, with options. */
  script(options = "", name = "tracking", collector = "collector.localhost"): string {
    return `<script src="http://${collector}:${String(port(door))}/js/${name}.js" ${options}></script>`;
  }

  /** Serve a page. */
  serve(path: string, body: string): this {
    content.set(this.host + path, body.includes("<html") ? body : `<!doctype html><html><head><title>${path}</title></head><body>${body}</body></html>`);
    return this;
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

  /** What of this site is stored, in the order in which it happened. */
  async stored(): Promise<Stored[]> {
    const answer = await fetch(`${COLLECTOR}/events/recent?limit=1000&site_id=${this.host.replace(/^www\./, "")}`, {
      headers: { authorization: `Bearer ${TOKEN}` },
    });
    const { events } = (await answer.json()) as { events: Stored[] };
    return events.sort((a, b) => a.raw_event_data.timestamp.localeCompare(b.raw_event_data.timestamp) || a.raw_event_data.seq - b.raw_event_data.seq);
  }

  /** How many events of a kind are stored. */
  async count(type: string): Promise<number> {
    return (await this.stored()).filter(({ event_type }) => event_type === type).length;
  }

  /** Wait for so many events of a kind, or of any. */
  async events(count: number, type?: string): Promise<Stored[]> {
    let seen: Stored[] = [];
    await until(async () => {
      seen = (await this.stored()).filter((event) => !type || event.event_type === type);
      return seen.length >= count;
    }, `${String(count)} ${type ?? "events"}`).catch((error: unknown) => {
      throw new Error(`${String(error)}; there are ${String(seen.length)}: ${JSON.stringify(seen.slice(0, 20).map((event) => [event.event_type, event.url]))}`);
    });
    return seen;
  }

  /** Everything that happened on a page until now: what comes after the mark comes after all of it. */
  async settled(page: Page): Promise<Stored[]> {
    const name = `mark_${String(Date.now())}`;
    await page.evaluate((mark) => { (window as unknown as { evothesis: (...call: unknown[]) => void }).evothesis("track", mark); }, name);
    await this.events(1, name);
    return (await this.stored()).filter((event) => !event.event_type.startsWith("mark_"));
  }

  /** The requests that this site's pages made of the collector, but for the script. */
  requests(): Request[] {
    return requests.filter(({ headers, url }) => {
      const from = headers.origin ?? headers.referer;
      return !url.startsWith("/js/") && !!from && new URL(from).hostname === this.host;
    });
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

async function forward(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  const body = Buffer.concat(chunks);
  const { method = "GET", url = "/", headers } = request;
  requests.push({ method, url, headers, body: body.toString(), at: Date.now() });
  const from = headers.origin ?? headers.referer;
  const site = from ? byHost.get(new URL(from).hostname) : undefined;
  const failure = url.startsWith("/js/") || method === "OPTIONS" ? undefined : (site?.failures.shift() ?? site?.down);
  if (failure === "reset") {
    request.socket.destroy();
    return;
  }
  if (failure) {
    const { status, headers: more } = typeof failure === "number" ? { status: failure, headers: {} } : failure;
    response.writeHead(status, { "access-control-allow-origin": "*", "access-control-expose-headers": "retry-after", ...more });
    response.end();
    return;
  }
  const passed = Object.fromEntries(
    Object.entries(headers).filter(([name]) => !["host", "connection", "content-length", "transfer-encoding"].includes(name)),
  ) as Record<string, string>;
  const answer = await fetch(COLLECTOR + url, { method, headers: passed, ...(body.length ? { body } : {}) });
  response.writeHead(answer.status, Object.fromEntries(Array.from(answer.headers as unknown as Iterable<[string, string]>).filter(([name]) => !/^(content-encoding|transfer-encoding|connection|content-length)$/.test(name))));
  response.end(Buffer.from(await answer.arrayBuffer()));
}

before(async () => {
  pages = http.createServer((request, response) => {
    const host = (request.headers.host ?? "").split(":")[0] ?? "";
    const path = (request.url ?? "/").split("?")[0] ?? "/";
    const found = content.get(host + path) ?? content.get(`${host}/*`);
    response.writeHead(found === undefined ? 404 : 200, {
      "content-type": /\.(pdf|zip|PDF)$/.test(path) ? "application/pdf" : "text/html; charset=utf-8",
      ...(/\.(pdf|zip)$/i.test(path) ? { "content-disposition": "attachment" } : {}),
      ...(path.includes("csp") ? { "content-security-policy": `default-src 'self'; script-src http://collector.localhost:${String(port(door))}; connect-src http://collector.localhost:${String(port(door))}; require-trusted-types-for 'script'` } : {}),
    });
    response.end(found ?? "");
  });
  door = http.createServer((request, response) => {
    forward(request, response).catch(() => { response.destroy(); });
  });
  for (const server of [pages, door]) {
    await new Promise<void>((ready) => { server.listen(0, "127.0.0.1", ready); });
  }
  browser = await puppeteer.launch({
    browser: ENGINE,
    executablePath: PROGRAMS[ENGINE],
    headless: true,
    ...(ENGINE === "chrome" ? { args: ARGUMENTS } : { extraPrefsFirefox: { "network.dns.localDomains": HOSTS.join(",") } }),
  });
});

after(async () => {
  await browser?.close();
  for (const server of [pages, door]) {
    server?.closeAllConnections();
    server?.close();
  }
});
