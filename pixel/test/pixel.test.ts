import { attributes, storage, stored } from "./page";
import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { nameOf } from "../src/clicks";
import { beginScroll, pass } from "../src/scroll";
import { adopt, session, SESSION_MS, type Touch, visitorId } from "../src/session";
import { allow, forget, keys, load, save } from "../src/storage";
import { uuid } from "../src/uuid";

beforeEach(() => {
  storage.blocked = false;
  forget(true);
  stored.clear();
  allow(true);
  delete attributes["data-campaign-session"];
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
  stored.clear();
  assert.notEqual(visitorId(), id);
});

void test("a session goes on while events come within 30 minutes of one another", () => {
  const first = session(1).id;
  assert.equal(session(SESSION_MS).id, first);
  assert.equal(session(2 * SESSION_MS - 1).id, first);
  assert.notEqual(session(3 * SESSION_MS).id, first);
});

void test("a session ends after a day, however busy it was", () => {
  const first = session(1).id;
  for (let now = 1; now < 24 * 3600_000; now += SESSION_MS - 1) assert.equal(session(now).id, first);
  assert.notEqual(session(24 * 3600_000 + 1).id, first);
});

void test("what the visitor did not do lets no session go on", () => {
  const first = session(1).id;
  assert.equal(session(SESSION_MS - 1, undefined, true).id, first);
  assert.notEqual(session(SESSION_MS + 1).id, first);
});

void test("a session that another tab began is taken over", () => {
  session(1);
  adopt("v".repeat(32), "a".repeat(32), 5);
  assert.equal(session(10).id, "a".repeat(32));
});

void test("a session keeps what led to it first and last, and who comes back from a payment provider changes nothing", () => {
  const news = { referrer: "https://mail.example", query: "?utm_medium=email&utm_campaign=autumn" };
  const paid = { referrer: "https://www.google.com", query: "?gclid=abc" };
  session(1, news);
  session(2, { referrer: "https://pay.example", query: "" });
  const { first, latest } = session(3, { referrer: "", query: "" });
  assert.deepEqual([first, latest], [news, news]);
  assert.deepEqual(session(4, paid).latest, paid);
  assert.deepEqual(session(5).first, news);
});

void test("another campaign begins another session only where the page says so", () => {
  const campaign = (name: string): Touch => ({ referrer: "", query: `?utm_campaign=${name}` });
  const first = session(1, campaign("autumn")).id;
  assert.equal(session(2, campaign("winter")).id, first);
  attributes["data-campaign-session"] = "true";
  assert.equal(session(3, campaign("winter")).id, first);
  assert.notEqual(session(4, campaign("spring")).id, first);
});

void test("a route that keeps the campaign in its address is no other campaign", () => {
  const query = "?utm_campaign=autumn";
  attributes["data-campaign-session"] = "true";
  const first = session(1, { referrer: "https://mail.example", query });
  const second = session(2, { referrer: "https://shop.example", query });
  assert.deepEqual([second.id, second.latest], [first.id, first.latest]);
});

void test("a session that was kept without its times, by whoever wrote it, is none", () => {
  for (const broken of [{ id: "a".repeat(32) }, { id: "a".repeat(32), start: "x", last: 1 }, { id: "a", start: 1, last: 1 }, 7, null]) {
    stored.set("evothesis.session", encodeURIComponent(JSON.stringify(broken)));
    assert.notEqual(session(1).id, "a".repeat(32));
  }
});

void test("with storage blocked the ids live as long as the page", () => {
  storage.blocked = true;
  const id = visitorId();
  assert.equal(visitorId(), id);
  assert.equal(session(1).id, session(2).id);
});

void test("nothing is kept before it may be, and what was held back is kept then", () => {
  allow(false);
  const id = visitorId();
  assert.equal(stored.size, 0);
  allow(true);
  assert.equal(stored.get("evothesis.visitor"), id);
});

void test("forgetting leaves nothing", () => {
  visitorId();
  save("queue.1", "[]");
  stored.set("evothesis.queue.2", "[]");
  stored.set("other", "1");
  forget(true);
  assert.deepEqual([...stored.keys()], ["other"]);
  assert.deepEqual([load("visitor"), keys()], [undefined, []]);
});

void test("an event's name is made one that the collector takes", () => {
  const cases = { Signup: "signup", "Add to Cart": "add_to_cart", addToCart: "add_to_cart", "2nd": "nd", "": "custom", "日本": "custom", "a--b": "a_b" };
  for (const [name, made] of Object.entries(cases)) assert.equal(nameOf(name), made);
});

void test("each scroll milestone is passed once, and those in between with it", () => {
  beginScroll();
  assert.deepEqual(pass(200, 1000), []);
  assert.deepEqual(pass(600, 1000), [25, 50]);
  assert.deepEqual(pass(100, 1000), []);
  assert.deepEqual(pass(999.5, 1000), [75, 100]);
  assert.deepEqual(pass(1000, 1000), []);
});
