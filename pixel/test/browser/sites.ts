/* Sites on this machine, and a door before the real collector that can be told to fail.

   What a scenario asserts are the events that PostgreSQL holds, asked of the product's own API. */
import http, { type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { after, before } from "node:test";

/** Where the product answers. */
export const COLLECTOR = process.env["EVOTHESIS_URL"] ?? "http://127.0.0.1:8000";
const TOKEN = process.env["EVOTHESIS_ADMIN_TOKEN"] ?? "";

const PATIENCE_MS = 15_000;
/** So that no two runs share a site, not even those of two engines that begin at once. */
export const RUN = (process.env["ENGINE"] ?? "").slice(0, 1) + Date.now().toString(36);

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

let pages: http.Server | undefined;
let door: http.Server | undefined;
let sites = 0;
const content = new Map<string, string>();
const byHost = new Map<string, Place>();
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

/** One site of a scenario: a host of its own, with its pages. */
export class Place {
  readonly host: string;
  /** What the door answers to beacons of this site, one after another, before it lets them through again. */
  failures: Failure[] = [];
  down: Failure | null = null;

  /** `id`: what its pages say that their site is called; otherwise the collector goes by the host. */
  constructor(host?: string, private readonly id?: string) {
    this.host = host ?? `s${String(++sites)}-${RUN}.localhost`;
    byHost.set(this.host, this);
  }

  url(path = "/"): string {
    return `http://${this.host}:${String(port(pages))}${path}`;
  }

  /** The script's element, with options. */
  script(options = "", name = "tracking", collector = "collector.localhost"): string {
    return this.scriptAt(`/js/${name}.js`, options, collector);
  }

  /** The same under a path of the collector's. */
  scriptAt(path: string, options = "", collector = "collector.localhost"): string {
    return `<script src="http://${collector}:${String(port(door))}${path}" ${options}></script>`;
  }

  /** Serve a page. */
  serve(path: string, body: string): this {
    content.set(this.host + path, body.includes("<html") ? body : `<!doctype html><html><head><title>${path}</title></head><body>${body}</body></html>`);
    return this;
  }

  /** What of this site is stored, in the order in which it happened. */
  async stored(): Promise<Stored[]> {
    const answer = await fetch(`${COLLECTOR}/events/recent?limit=1000&site_id=${this.id ?? this.host.replace(/^www\./, "")}`, {
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

  /** The requests that this site's pages made of the collector, but for the script. */
  requests(): Request[] {
    return requests.filter(({ headers, url, body }) => {
      const from = headers.origin ?? headers.referer;
      return !url.startsWith("/js/") && !!from && new URL(from).hostname === this.host && body.includes(this.id ?? "");
    });
  }
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
});

after(() => {
  for (const server of [pages, door]) {
    server?.closeAllConnections();
    server?.close();
  }
});
