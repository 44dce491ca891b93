import assert from "node:assert/strict";
import { beforeEach, mock, test } from "node:test";
import { Outbox } from "../src/outbox";

interface Sent {
  body: string;
  keepalive: boolean;
}

let fetched: Sent[] = [];
let beacons: string[] = [];
let status = 202;

beforeEach(() => {
  mock.timers.reset();
  mock.timers.enable({ apis: ["setTimeout", "Date"], now: Date.UTC(2026, 10, 24) });
  fetched = [];
  beacons = [];
  status = 202;
  const page: Record<string, unknown> = {
    window: { setTimeout: (work: () => void, ms: number) => setTimeout(work, ms), localStorage: undefined },
    location: { href: "https://a.example/" },
    document: { referrer: "", title: "A page" },
    fetch: (_url: string, sent: Sent) => {
      // As browsers do: what outlives its page may weigh 64 KiB.
      if (sent.keepalive && new TextEncoder().encode(sent.body).length > 65536) throw new TypeError("Failed to fetch");
      fetched.push(sent);
      return Promise.resolve({ status, headers: { get: () => null } });
    },
  };
  for (const [name, value] of Object.entries(page)) {
    Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
  }
  Object.defineProperty(globalThis, "navigator", {
    value: { sendBeacon: (_url: string, body: string) => beacons.push(body) > 0 },
    configurable: true,
  });
});

async function pass(ms: number): Promise<void> {
  for (let passed = 0; passed < ms; passed += 100) {
    mock.timers.tick(100);
    for (let turn = 0; turn < 10; turn++) await Promise.resolve();
  }
}

function types(bodies: string[]): string[] {
  return bodies.flatMap((body) =>
    (JSON.parse(body) as { events: { event_type: string }[] }).events.map((event) => event.event_type),
  );
}

const bodies = (): string[] => fetched.map((sent) => sent.body);

void test("events of one moment travel in one request, within a second", async () => {
  const outbox = new Outbox("/collect");
  outbox.add("page_view", {});
  outbox.add("click", {});
  await pass(1000);
  assert.equal(fetched.length, 1);
  assert.deepEqual(types(bodies()), ["page_view", "click"]);
});

void test("what the collector could not take is sent again until it can", async () => {
  const outbox = new Outbox("/collect");
  status = 503;
  outbox.add("page_view", {});
  await pass(1000);
  status = 202;
  await pass(5000);
  const ids = bodies().map((body) => (JSON.parse(body) as { events: { event_id: string }[] }).events[0]?.event_id);
  assert.ok(ids.length >= 2);
  assert.equal(new Set(ids).size, 1);
  const count = fetched.length;
  await pass(60_000);
  assert.equal(fetched.length, count);
});

void test("what an exit sent is sent once more when the page comes back, for a beacon has no answer", async () => {
  const outbox = new Outbox("/collect");
  outbox.add("page_view", {});
  outbox.flushAtExit();
  outbox.flushAtExit();
  assert.deepEqual(types(beacons), ["page_view"]);
  outbox.comeBack();
  await pass(1000);
  assert.deepEqual(types(bodies()), ["page_view"]);
});

void test("a page of wide letters and many clicks goes through the browser's limit", async () => {
  const outbox = new Outbox("/collect");
  Object.assign(document, { title: "\u6f22".repeat(70_000) });
  for (let click = 0; click < 60; click++) outbox.add("click", { text: "\u5b57".repeat(100) });
  await pass(10_000);
  assert.equal(types(bodies()).length, 60);
});

void test("one event that is large by itself holds up nothing", async () => {
  const outbox = new Outbox("/collect");
  outbox.add("custom", { text: "x".repeat(100_000) });
  outbox.add("click", {});
  await pass(5000);
  assert.deepEqual(types(bodies()), ["custom", "click"]);
});
