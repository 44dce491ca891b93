import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { pageView } from "../src/page_view";
import { ScrollDepth } from "../src/scroll";
import { SESSION_MS, sessionId, visitorId } from "../src/session";
import { uuid } from "../src/uuid";

const stored = new Map<string, string>();
let blocked = false;

Object.assign(globalThis, {
  window: {
    localStorage: {
      getItem(key: string): string | null {
        if (blocked) throw new Error("SecurityError");
        return stored.get(key) ?? null;
      },
      setItem(key: string, value: string): void {
        if (blocked) throw new Error("SecurityError");
        stored.set(key, value);
      },
    },
  },
});

beforeEach(() => {
  stored.clear();
  blocked = false;
});

void test("an event id is a UUIDv7 that begins with its time", () => {
  const now = Date.UTC(2026, 10, 24);
  const id = uuid(now);
  assert.match(id, /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  assert.equal(parseInt(id.replace(/-/g, "").slice(0, 12), 16), now);
});

void test("a visitor keeps one random id", () => {
  const id = visitorId();
  assert.match(id, /^[0-9a-f]{32}$/);
  assert.equal(visitorId(), id);
});

void test("a session goes on while events come within 30 minutes of one another", () => {
  const first = sessionId(0);
  assert.equal(sessionId(SESSION_MS - 1), first);
  assert.equal(sessionId(2 * SESSION_MS - 2), first);
  assert.notEqual(sessionId(3 * SESSION_MS), first);
});

void test("a session that another tab began is taken over", () => {
  sessionId(0);
  stored.set("evothesis.session", `${"a".repeat(32)}.5`);
  assert.equal(sessionId(10), "a".repeat(32));
});

void test("with storage blocked the ids live as long as the page", () => {
  blocked = true;
  const id = visitorId();
  assert.equal(visitorId(), id);
  assert.equal(sessionId(1), sessionId(2));
});

void test("a page view carries its campaign, and nothing when there is none", () => {
  assert.deepEqual(pageView("https://a.example/?utm_source=news&utm_campaign=x%20y&utm_source=second&q=1"), {
    utm: { source: "news", campaign: "x y" },
  });
  assert.deepEqual(pageView("https://a.example/?utm_medium="), {});
});

void test("each scroll milestone is passed once, and those in between with it", () => {
  const depth = new ScrollDepth();
  assert.deepEqual(depth.pass(200, 1000), []);
  assert.deepEqual(depth.pass(600, 1000), [25, 50]);
  assert.deepEqual(depth.pass(100, 1000), []);
  assert.deepEqual(depth.pass(999.5, 1000), [75, 100]);
  assert.deepEqual(depth.pass(1000, 1000), []);
});
